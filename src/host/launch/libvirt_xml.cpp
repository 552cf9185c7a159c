#include "launch/libvirt_xml.hpp"

#include <algorithm>
#include <iterator>
#include <pugixml.hpp>

#include "base/format.hpp"
#include "base/text.hpp"
#include "launch/libvirt_devices.hpp"
#include "launch/rules/case.hpp"

namespace cbit::launch {
namespace {

using pugi::xml_node;

constexpr std::size_t bytes_max = 4u << 20;

std::string_view text_of(const xml_node& node) { return trimmed(node.text().get()); }

std::string_view attribute_of(const xml_node& node, const char* name) { return node.attribute(name).value(); }

// libvirt: virScaleInteger(); the default unit is KiB.
std::optional<std::uint64_t> bytes_of(const xml_node& node) {
  std::string_view unit = attribute_of(node, "unit");
  if (unit.empty()) unit = "KiB";
  constexpr std::pair<std::string_view, std::uint64_t> units[] = {{"b", 1},
                                                                  {"bytes", 1},
                                                                  {"KB", 1000},
                                                                  {"k", 1ull << 10},
                                                                  {"KiB", 1ull << 10},
                                                                  {"K", 1ull << 10},
                                                                  {"MB", 1000'000},
                                                                  {"M", 1ull << 20},
                                                                  {"MiB", 1ull << 20},
                                                                  {"GB", 1000'000'000},
                                                                  {"G", 1ull << 30},
                                                                  {"GiB", 1ull << 30},
                                                                  {"TB", 1000'000'000'000},
                                                                  {"T", 1ull << 40},
                                                                  {"TiB", 1ull << 40}};
  const auto number = parse_qemu_number(text_of(node));
  const auto* const found =
      std::ranges::find(units, unit, &std::pair<std::string_view, std::uint64_t>::first);
  if (!number || found == std::end(units) || *number > ~0ull / found->second) return std::nullopt;
  return *number * found->second;
}

class DomainReader {
 public:
  explicit DomainReader(const xml_node& domain) : domain_{domain} {
    config_.language = GuestLanguage::libvirt;
  }

  OrError<GuestConfig> read() {
    CBIT_TRY(read_os());
    read_launch_security();
    read_firmware();
    CBIT_TRY(read_memory());
    read_backing();
    read_processors();
    read_features();
    for (LibvirtDevice& device : libvirt_devices(domain_.child("devices")))
      add(std::move(device.place), std::move(device.option));
    CBIT_TRY(read_commandline());
    return std::move(config_);
  }

 private:
  void add(std::string place, QemuOption option) {
    config_.places.push_back(std::move(place));
    config_.command.options.push_back(std::move(option));
  }
  void add(std::string place, std::string name, std::vector<QemuProperty> properties) {
    add(std::move(place), {std::move(name), std::move(properties), {}});
  }
  void add_text(std::string place, std::string name, std::string_view text) {
    add(std::move(place), {std::move(name), {}, std::string{text}});
  }
  void machine(std::string place, std::string key, std::string_view value) {
    add(std::move(place), "machine", {{std::move(key), std::string{value}}});
  }

  OrError<void> read_os() {
    const xml_node type = domain_.child("os").child("type");
    const std::string_view arch = attribute_of(type, "arch");
    if (!arch.empty() && arch != "x86_64" && arch != "i686")
      return bad_input(fmt::format("the domain is for {}", arch), "cbit knows x86 guests (arch='x86_64')");
    const std::string_view emulator = text_of(domain_.child("devices").child("emulator"));
    config_.command.program = emulator.empty() ? "qemu-system-x86_64" : emulator;
    add("domain", "accel", {{"accel", attribute_of(domain_, "type") == "kvm" ? "kvm" : "tcg"}});
    const std::string_view machine_type = attribute_of(type, "machine");
    machine("os/type", "type", machine_type.empty() ? "pc" : machine_type);
    for (const char* const name : {"kernel", "initrd"})
      if (const xml_node node = domain_.child("os").child(name))
        add_text(fmt::format("os/{}", name), name, text_of(node));
    if (const xml_node node = domain_.child("os").child("cmdline"))
      add_text("os/cmdline", "append", text_of(node));
    if (text_of(domain_.child("on_reboot")) == "destroy") add_text("on_reboot", "no-reboot", {});
    return {};
  }

  // src/qemu/qemu_command.c: qemuBuildSEVCommandLine() and its neighbours.
  void read_launch_security() {
    const xml_node node = domain_.child("launchSecurity");
    if (!node) return;
    const std::string_view type = attribute_of(node, "type");
    std::vector<QemuProperty> object{
        {"qom-type", type == "sev" ? "sev-guest" : fmt::format("{}-guest", type)}, {"id", "lsec0"}};
    // qemuBuildSEVCommandLine(), qemuBuildSEVSNPCommandLine(), qemuBuildTDXCommandLine().
    constexpr std::pair<const char*, const char*> elements[] = {
        {"cbitpos", "cbitpos"},    {"reducedPhysBits", "reduced-phys-bits"},
        {"policy", "policy"},      {"guestVisibleWorkarounds", "guest-visible-workarounds"},
        {"idBlock", "id-block"},   {"idAuth", "id-auth"},
        {"hostData", "host-data"}, {"mrConfigId", "mrconfigid"},
        {"mrOwner", "mrowner"},    {"mrOwnerConfig", "mrownerconfig"}};
    for (const auto& [element, property] : elements)
      if (const xml_node child = node.child(element)) {
        const std::string_view value = text_of(child);
        // libvirt reads a policy as hexadecimal, with 0x or without.
        const bool bare = std::string_view{element} == "policy" && !value.starts_with("0x");
        const bool attributes = type == "tdx" && std::string_view{element} == "policy";
        object.push_back(
            {attributes ? "attributes" : property, fmt::format("{}{}", bare ? "0x" : "", value)});
      }
    if (const xml_node service = node.child("quoteGenerationService")) {
      constexpr const char* usual = "/var/run/tdx-qgs/qgs.socket";
      const std::string_view path = attribute_of(service, "path");
      object.push_back({"quote-generation-socket.type", "unix"});
      object.push_back({"quote-generation-socket.path", path.empty() ? usual : std::string{path}});
    }
    if (const auto key = attribute_of(node, "authorKey"); !key.empty())
      object.push_back({"author-key-enabled", key == "yes" ? "on" : "off"});
    if (const auto vcek = attribute_of(node, "vcek"); !vcek.empty())
      object.push_back({"vcek-disabled", vcek == "no" ? "on" : "off"});
    if (const auto hashes = attribute_of(node, "kernelHashes"); !hashes.empty())
      object.push_back({"kernel-hashes", hashes == "yes" ? "on" : "off"});
    has_private_memory_ = type == "sev-snp" || type == "tdx";
    add("launchSecurity", "object", std::move(object));
    machine("launchSecurity", "confidential-guest-support", "lsec0");
  }

  void read_firmware() {
    const xml_node os = domain_.child("os"), loader = os.child("loader");
    const bool automatic = attribute_of(os, "firmware") == "efi";
    const bool flash =
        loader && !automatic ? attribute_of(loader, "type") == "pflash" : automatic && !has_private_memory_;
    if (flash) {
      add(loader ? "os/loader" : "os", "drive",
          {{"if", "pflash"}, {"format", "raw"}, {"unit", "0"}, {"file", std::string{text_of(loader)}}});
    } else if (loader || automatic) {
      add_text(loader ? "os/loader" : "os", "bios", text_of(loader));
    }
    if (const xml_node nvram = os.child("nvram"))
      add("os/nvram", "drive",
          {{"if", "pflash"}, {"format", "raw"}, {"unit", "1"}, {"file", std::string{text_of(nvram)}}});
    if (attribute_of(loader, "secure") == "yes") machine("os/loader", "smm", "on");
  }

  OrError<void> read_memory() {
    const auto size = [](const xml_node& node, const char* name) -> OrError<std::uint64_t> {
      if (const auto bytes = bytes_of(node)) return *bytes;
      return bad_input(fmt::format("<{}> of the domain is no size", name),
                       fmt::format("write <{} unit='GiB'>4</{}>", name, name));
    };
    if (const xml_node memory = domain_.child("memory")) {
      memory_bytes_ = CBIT_TRY(size(memory, "memory"));
      add("memory", "m", {{"size", fmt::format("{}K", memory_bytes_ >> 10)}});
    }
    if (const xml_node maximum = domain_.child("maxMemory"))
      add("maxMemory", "m",
          {{"slots", std::string{attribute_of(maximum, "slots")}},
           {"maxmem", fmt::format("{}K", CBIT_TRY(size(maximum, "maxMemory")) >> 10)}});
    if (const xml_node limit = domain_.child("memtune").child("hard_limit"))
      config_.hard_limit_bytes = CBIT_TRY(size(limit, "hard_limit"));
    return {};
  }

  void read_backing() {
    const xml_node backing = domain_.child("memoryBacking");
    std::string_view source = attribute_of(backing.child("source"), "type");
    const bool shared =
        attribute_of(backing.child("access"), "mode") == "shared" ||
        attribute_of(domain_.child("cpu").child("numa").child("cell"), "memAccess") == "shared";
    const bool huge = static_cast<bool>(backing.child("hugepages"));
    if (backing.child("nosharepages")) machine("memoryBacking/nosharepages", "mem-merge", "off");
    if (backing.child("locked")) add("memoryBacking/locked", "overcommit", {{"mem-lock", "on"}});
    const bool prealloc = attribute_of(backing.child("allocation"), "mode") == "immediate";
    if (source.empty() && !shared && !huge && !prealloc) return;
    std::vector<QemuProperty> object{{"qom-type", "memory-backend-ram"},
                                     {"id", "pc.ram"},
                                     {"size", fmt::format("{}K", memory_bytes_ >> 10)},
                                     {"share", shared ? "on" : "off"}};
    if (source == "memfd") object[0].value = "memory-backend-memfd";
    if (source == "file" || huge) {
      object[0].value = "memory-backend-file";
      object.push_back({"mem-path", huge ? "/dev/hugepages" : "/var/lib/libvirt/qemu/ram"});
    }
    if (prealloc) object.push_back({"prealloc", "on"});
    add("memoryBacking", "object", std::move(object));
    machine("memoryBacking", "memory-backend", "pc.ram");
  }

  void read_processors() {
    if (const xml_node vcpu = domain_.child("vcpu")) {
      const std::string_view current = attribute_of(vcpu, "current");
      std::vector<QemuProperty> smp{{"cpus", std::string{current.empty() ? text_of(vcpu) : current}}};
      if (!current.empty()) smp.push_back({"maxcpus", std::string{text_of(vcpu)}});
      add("vcpu", "smp", std::move(smp));
    }
    const xml_node cpu = domain_.child("cpu");
    const std::string_view mode = attribute_of(cpu, "mode"), model = text_of(cpu.child("model"));
    std::vector<QemuProperty> properties{{"model", model.empty() ? "qemu64" : std::string{model}}};
    if (mode.starts_with("host-")) properties[0].value = "host";
    if (mode == "maximum") properties[0].value = "max";
    for (const xml_node feature : cpu.children("feature")) {
      const std::string_view policy = attribute_of(feature, "policy");
      const bool off = policy == "disable" || policy == "forbid";
      properties.push_back({std::string{attribute_of(feature, "name")}, off ? "off" : "on"});
    }
    if (const xml_node bits = cpu.child("maxphysaddr"); attribute_of(bits, "mode") == "emulate")
      properties.push_back({"phys-bits", std::string{attribute_of(bits, "bits")}});
    add("cpu", "cpu", std::move(properties));
  }

  void read_features() {
    const xml_node features = domain_.child("features");
    if (const xml_node smm = features.child("smm"))
      machine("features/smm", "smm", attribute_of(smm, "state") == "off" ? "off" : "on");
    if (const std::string_view driver = attribute_of(features.child("ioapic"), "driver"); !driver.empty())
      machine("features/ioapic", "kernel-irqchip", driver == "qemu" ? "split" : "on");
  }

  OrError<void> read_commandline() {
    std::vector<std::string> words{"qemu-system-x86_64"};
    for (const xml_node argument : domain_.child("qemu:commandline").children("qemu:arg"))
      words.emplace_back(attribute_of(argument, "value"));
    auto command = parse_qemu_command(words);
    if (!command)
      return bad_input("<qemu:commandline>: " + command.error().message, std::move(command.error().hint));
    for (QemuOption& option : command->options) add("qemu:commandline", std::move(option));
    return {};
  }

  xml_node domain_;
  GuestConfig config_;
  std::uint64_t memory_bytes_ = 0;
  bool has_private_memory_ = false;
};

}  // namespace

bool looks_like_xml(std::string_view text) {
  const std::string_view content = trimmed(text);
  return content.starts_with('<') || content.starts_with("\xef\xbb\xbf<");
}

OrError<GuestConfig> parse_libvirt_domain(std::string_view xml) {
  constexpr const char* hint = "give what `virsh dumpxml NAME` prints";
  if (xml.size() > bytes_max) return bad_input("the domain's XML is longer than 4 MiB", hint);
  if (xml.find("<!DOCTYPE") != std::string_view::npos)
    return bad_input("the domain's XML has a document type", "libvirt's has none; entities are not expanded");
  pugi::xml_document document;
  const auto parsed = document.load_buffer(xml.data(), xml.size(), pugi::parse_default, pugi::encoding_utf8);
  if (!parsed)
    return bad_input(
        fmt::format("the domain's XML is malformed at byte {}: {}", parsed.offset, parsed.description()),
        hint);
  xml_node domain = document.document_element();
  if (domain.name() == std::string_view{"domstatus"}) domain = domain.child("domain");
  if (domain.name() != std::string_view{"domain"})
    return bad_input(fmt::format("the XML is a <{}>, not a <domain>", document.document_element().name()),
                     hint);
  return DomainReader{domain}.read();
}

}  // namespace cbit::launch
