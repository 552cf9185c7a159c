#include "launch/kata_config.hpp"

#include <toml++/toml.h>

#include <algorithm>

#include "base/format.hpp"
#include "base/safe_text.hpp"
#include "base/text.hpp"
#include "base/toml_bounds.hpp"

namespace cbit::launch {
namespace {

constexpr const char* section = "hypervisor.qemu";

tl::unexpected<Error> bad_toml(std::size_t line, std::string_view what, std::string hint) {
  return bad_input(fmt::format("line {} of Kata's configuration: {}", line, safe_line(what)),
                   std::move(hint));
}

OrError<toml::table> table_of(std::string_view text) {
  // The library calls itself for every part of a key and every value within a value.
  if (const auto deep = find_too_deep(text))
    return bad_toml(deep->line, deep->what, "Kata's own files have neither");
  try {
    return toml::parse(text);
  } catch (const toml::parse_error& error) {
    return bad_toml(error.source().begin.line, error.description(),
                    "give the file that the runtime reads; @NAME@ of a template must be replaced");
  }
}

class KataReader {
 public:
  explicit KataReader(const toml::table& file) : file_{file} {}

  OrError<GuestConfig> read() {
    const toml::table* const qemu = file_["hypervisor"]["qemu"].as_table();
    if (qemu == nullptr)
      return bad_input("Kata's configuration has no [hypervisor.qemu]",
                       "cbit knows Kata with QEMU: configuration-qemu-snp.toml, configuration-qemu-tdx.toml");
    qemu_ = qemu;
    config_.language = GuestLanguage::kata;
    const std::string path = CBIT_TRY(text("path"));
    config_.command.program = path.empty() ? "qemu-system-x86_64" : path;
    CBIT_TRY(read_facts());
    CBIT_TRY(read_machine());
    if (kata_.confidential) CBIT_TRY(read_protection());
    CBIT_TRY(read_boot());
    CBIT_TRY(read_size());
    CBIT_TRY(read_devices());
    config_.kata = kata_;
    return std::move(config_);
  }

 private:
  template <class T>
  OrError<T> value(const toml::table& table, std::string_view key, T fallback, std::string_view type) const {
    const toml::node* const node = table.get(key);
    if (node == nullptr) return fallback;
    if (const auto found = node->value_exact<T>()) return *found;
    return bad_toml(node->source().begin.line, fmt::format("{} is no {}", key, type),
                    "see Kata's configuration-qemu.toml");
  }
  OrError<bool> flag(std::string_view key) const { return value(*qemu_, key, false, "boolean"); }
  OrError<std::string> text(std::string_view key) const { return value(*qemu_, key, std::string{}, "text"); }
  OrError<std::int64_t> number(std::string_view key) const {
    return value(*qemu_, key, std::int64_t{0}, "whole number");
  }

  void add(std::string_view key, std::string name, std::vector<QemuProperty> properties) {
    config_.places.push_back(fmt::format("{}.{}", section, key));
    config_.command.options.push_back({std::move(name), std::move(properties), {}});
  }
  void add_text(std::string_view key, std::string name, std::string argument) {
    config_.places.push_back(fmt::format("{}.{}", section, key));
    config_.command.options.push_back({std::move(name), {}, std::move(argument)});
  }
  void add_device(std::string_view key, std::string driver) {
    add(key, "device", {{"driver", std::move(driver)}});
  }

  OrError<void> read_facts() {
    kata_.confidential = CBIT_TRY(flag("confidential_guest"));
    kata_.snp = CBIT_TRY(flag("sev_snp_guest"));
    kata_.image = !CBIT_TRY(text("image")).empty();
    kata_.initrd = !CBIT_TRY(text("initrd")).empty();
    const toml::table none;
    const toml::table* const runtime = file_["runtime"].as_table();
    kata_.size_is_fixed = CBIT_TRY(
        value(runtime != nullptr ? *runtime : none, "static_sandbox_resource_mgmt", false, "boolean"));
    const toml::table* const factory = file_["factory"].as_table();
    kata_.from_template =
        CBIT_TRY(value(factory != nullptr ? *factory : none, "enable_template", false, "boolean"));
    return {};
  }

  // qemu_amd64.go: newQemuArch(), enableProtection().
  OrError<void> read_machine() {
    add("path", "accel", {{"accel", "kvm"}});
    const std::string type = CBIT_TRY(text("machine_type"));
    std::vector<QemuProperty> machine{{"type", type.empty() ? "q35" : type}};
    if (kata_.confidential) machine.push_back({"kernel-irqchip", "split"});
    add("machine_type", "machine", std::move(machine));
    const std::string more = CBIT_TRY(text("machine_accelerators"));
    if (more.empty()) return {};
    const std::vector<std::string> words{"qemu-system-x86_64", "-machine", more};
    auto parsed = parse_qemu_command(words);
    if (!parsed) return bad_input("machine_accelerators: " + parsed.error().message, parsed.error().hint);
    add("machine_accelerators", "machine", std::move(parsed->options.front().properties));
    return {};
  }

  // qemu_amd64.go: appendProtectionDevice(). The runtime reads the C-bit's position from the processor.
  OrError<void> read_protection() {
    std::vector<QemuProperty> object{{"qom-type", kata_.snp ? "sev-snp-guest" : "tdx-guest"},
                                     {"id", "kata0"}};
    if (kata_.snp) {
      if (const std::int64_t policy = CBIT_TRY(number("snp_guest_policy")); policy != 0)
        object.push_back({"policy", std::to_string(policy)});
      for (const auto& [key, property] : {std::pair{"snp_id_block", "id-block"}, {"snp_id_auth", "id-auth"}})
        if (std::string blob = CBIT_TRY(text(key)); !blob.empty())
          object.push_back({property, std::move(blob)});
    } else if (const std::int64_t port = CBIT_TRY(number("tdx_quote_generation_service_socket_port"));
               port != 0) {
      object.push_back({"quote-generation-socket.type", "vsock"});
      object.push_back({"quote-generation-socket.cid", "2"});
      object.push_back({"quote-generation-socket.port", std::to_string(port)});
    }
    add("confidential_guest", "object", std::move(object));
    add("confidential_guest", "machine", {{"confidential-guest-support", "kata0"}});
    return {};
  }

  OrError<void> read_boot() {
    if (std::string file = CBIT_TRY(text("firmware")); !file.empty())
      add_text("firmware", "bios", std::move(file));
    if (std::string file = CBIT_TRY(text("firmware_volume")); !file.empty())
      add("firmware_volume", "drive", {{"if", "pflash"}, {"unit", "1"}, {"file", std::move(file)}});
    if (const toml::array* const flashes = (*qemu_)["pflashes"].as_array())
      for (const toml::node& flash : *flashes)
        if (const auto file = flash.value_exact<std::string>())
          add("pflashes", "drive", {{"if", "pflash"}, {"file", *file}});
    for (const char* const key : {"kernel", "initrd"})
      if (std::string file = CBIT_TRY(text(key)); !file.empty()) add_text(key, key, std::move(file));
    add_text("kernel_params", "append", CBIT_TRY(text("kernel_params")));
    add_text("path", "no-reboot", {});
    return {};
  }

  // qemu_amd64.go: cpuModel(). hypervisor.go: a confidential guest gets no processors later.
  OrError<void> read_size() {
    std::string model{kata_.snp ? "EPYC-v4" : "host"};
    if (const std::string features = CBIT_TRY(text("cpu_features")); !features.empty())
      model += ',' + features;
    const std::vector<std::string> words{"qemu-system-x86_64", "-cpu", model};
    auto cpu = parse_qemu_command(words);
    if (!cpu) return bad_input("cpu_features: " + cpu.error().message, cpu.error().hint);
    add("cpu_features", "cpu", std::move(cpu->options.front().properties));
    const std::int64_t mib = CBIT_TRY(number("default_memory"));
    constexpr std::int64_t usual_mib = 2048, mib_max = std::int64_t{1} << 32;
    if (mib < 0 || mib > mib_max)
      return bad_input(fmt::format("default_memory = {} is no size in MiB", mib), "write such as 2048");
    add("default_memory", "m", {{"size", fmt::format("{}M", mib == 0 ? usual_mib : mib)}});
    if (CBIT_TRY(flag("enable_mem_prealloc"))) add_text("enable_mem_prealloc", "mem-prealloc", {});
    return {};
  }

  OrError<void> read_devices() {
    const std::string block = CBIT_TRY(text("block_device_driver"));
    if (block == "nvdimm") add_device("block_device_driver", "nvdimm");
    if (kata_.image) add_device("image", "virtio-blk-pci");
    if (CBIT_TRY(flag("enable_virtio_mem"))) add_device("enable_virtio_mem", "virtio-mem-pci");
    if (CBIT_TRY(flag("enable_iommu"))) add_device("enable_iommu", "intel-iommu");
    if (CBIT_TRY(flag("reclaim_guest_freed_memory")))
      add_device("reclaim_guest_freed_memory", "virtio-balloon-pci");
    const bool shared_memory = add_shared_folder(CBIT_TRY(text("shared_fs")));
    const bool vhost_user = CBIT_TRY(flag("enable_vhost_user_store"));
    if (vhost_user) add_device("enable_vhost_user_store", "vhost-user-blk-pci");
    if (!shared_memory && !(vhost_user && CBIT_TRY(flag("enable_hugepages")))) return {};
    add("shared_fs", "object",
        {{"qom-type", "memory-backend-file"}, {"id", "dimm1"}, {"mem-path", "/dev/shm"}, {"share", "on"}});
    add("shared_fs", "machine", {{"memory-backend", "dimm1"}});
    return {};
  }

  // config.go: virtio-fs is the default. It comes with memory in /dev/shm.
  bool add_shared_folder(const std::string& kind) {
    const bool virtiofs = kind.empty() || kind.starts_with("virtio-fs");
    if (virtiofs)
      add_device(kind.empty() ? "shared_fs (virtio-fs unless given)" : "shared_fs", "vhost-user-fs-pci");
    if (kind == "virtio-9p") add_device("shared_fs", "virtio-9p-pci");
    return virtiofs;
  }

  const toml::table& file_;
  const toml::table* qemu_ = nullptr;
  GuestConfig config_;
  KataFacts kata_;
};

}  // namespace

bool looks_like_kata(std::string_view text) {
  return std::ranges::any_of(lines_of(text),
                             [](std::string_view line) { return trimmed(line).starts_with("[hypervisor"); });
}

OrError<GuestConfig> parse_kata_config(std::string_view text) {
  const toml::table file = CBIT_TRY(table_of(text));
  return KataReader{file}.read();
}

}  // namespace cbit::launch
