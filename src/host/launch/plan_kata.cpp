// Kata Containers' configuration.toml: src/runtime/config/configuration-qemu.toml.in of its repository.
#include <fmt/format.h>
#include <toml++/toml.h>

#include <filesystem>
#include <sstream>

#include "base/text.hpp"
#include "launch/plan_render.hpp"
#include "launch/plan_strings.hpp"

namespace cbit::launch {
namespace {

template <class T>
std::string value_text(T value) {
  std::ostringstream out;
  const toml::value held{std::move(value)};
  out << toml::toml_formatter{held, toml::format_flags::none};  // "..." and not '...', as Kata's own files
  return out.str();
}

class Configuration {
 public:
  explicit Configuration(bool explain) : explain_{explain} {}

  void section(std::string_view name) { text_ += fmt::format("{}[{}]\n", text_.empty() ? "" : "\n", name); }
  template <class T>
  void set(std::string_view key, T value, std::string_view why) {
    if (explain_) text_ += fmt::format("# {}\n", why);
    text_ += fmt::format("{} = {}\n", key, value_text(std::move(value)));
  }
  [[nodiscard]] std::string text() && { return std::move(text_); }

 private:
  bool explain_;
  std::string text_;
};

void set_protection(const LaunchPlan& plan, Configuration& toml) {
  const bool encrypted = plan.protection != Protection::none;
  toml.set(
      "confidential_guest", encrypted,
      encrypted
          ? "The runtime asks the host for SEV-SNP or TDX and passes QEMU's objects; no hotplug, no nvdimm."
          : "The memory is in clear; the rest of the guest is as if it were not.");
  toml.set("sev_snp_guest", plan.protection == Protection::sev_snp,
           "SEV-SNP, where the host has SEV and SEV-SNP.");
  const AttestationRequest& wish = plan.request.attestation;
  if (plan.protection == Protection::sev_snp)
    toml.set("snp_guest_policy", static_cast<std::int64_t>(plan.policy), "The policy of the guest's owner.");
  if (!wish.id_block.empty())
    toml.set("snp_id_block", wish.id_block, "What the owner expects; the firmware starts no other guest.");
  if (!wish.id_auth.empty()) toml.set("snp_id_auth", wish.id_auth, "The owner's signature of the ID block.");
  if (!wish.quote_socket.empty())
    toml.set("tdx_quote_generation_service_socket_port",
             static_cast<std::int64_t>(
                 decimal(std::string_view{wish.quote_socket}.substr(wish.quote_socket.rfind(':') + 1))
                     .value_or(0)),
             "Where the Quote Generation Service of the host listens (vsock).");
}

void set_image(const LaunchPlan& plan, Configuration& toml) {
  const LaunchRequest& request = plan.request;
  toml.set("kernel", request.kernel,
           "The guest's kernel; it needs the drivers of an encrypted guest built in.");
  if (!request.initrd.empty())
    toml.set("initrd", request.initrd, "The agent's root file system, copied into the guest's memory.");
  else
    toml.set("image", request.disks.front().file, "The agent's root file system, as a virtio disk.");
  toml.set("machine_type", std::string{"q35"}, "Modern virtio devices.");
  toml.set("kernel_params", plan.append, "Appended to the runtime's own.");
  if (plan.firmware) {
    toml.set("firmware", plan.firmware->path, "OVMF that was built for the protection.");
    toml.set("firmware_volume", std::string{}, "No variables: they would not be measured.");
  }
}

void set_devices(Configuration& toml) {
  toml.set("disable_image_nvdimm", true, "An nvdimm is read in place (DAX), and encryption needs a copy.");
  toml.set("block_device_driver", std::string{"virtio-blk"}, "Requests are copied into the guest.");
  toml.set("enable_iommu", false, "An IOMMU of the guest's is not needed to offer the flag.");
  toml.set("enable_iommu_platform", true, "VIRTIO_F_ACCESS_PLATFORM on every virtio device: drivers bounce.");
  toml.set("shared_fs", std::string{"none"},
           "A shared file system would show the host the container's files.");
  toml.set("enable_virtio_mem", false, "Memory that is plugged in was not encrypted at launch.");
}

void set_size(const LaunchPlan& plan, Configuration& toml) {
  // The runtime names the model itself; features follow it.
  if (const auto comma = plan.cpu_model.find(','); comma != std::string::npos)
    toml.set("cpu_features", plan.cpu_model.substr(comma + 1), "As asked for.");
  const auto cpus = static_cast<std::int64_t>(plan.request.cpus);
  toml.set("default_vcpus", cpus, "All CPUs are there from the start.");
  toml.set("default_maxvcpus", cpus, "No CPU can be added: its first state is measured at launch.");
  toml.set("default_memory", static_cast<std::int64_t>(plan.request.memory_bytes >> 20), "MiB.");
  toml.set("enable_mem_prealloc", false, "Taken when it is touched.");
}

// src/runtime/virtcontainers/qemu_amd64.go: enableProtection(), appendProtectionDevice().
OrError<void> check_protection(const LaunchPlan& plan) {
  if (plan.protection == Protection::sev || plan.protection == Protection::sev_es)
    return bad_input(
        fmt::format(
            "no configuration of Kata Containers gives {}: its runtime knows SEV-SNP and TDX, and ends on "
            "other hosts with \"This system doesn't support Confidential Computing\"",
            to_string(plan.protection)),
        "use a host with SEV-SNP or TDX (--protection sev-snp, --host), or --no-encryption");
  const AttestationRequest& wish = plan.request.attestation;
  if (!wish.host_data.empty() || wish.no_vcek || !wish.mr_config_id.empty() || !wish.mr_owner.empty() ||
      !wish.mr_owner_config.empty())
    return usage_error("Kata Containers takes an ID block with its authentication, and a quote socket's port",
                       "its runtime sets host data and MRCONFIGID itself, from the initdata");
  if (wish.id_block.empty() != wish.id_auth.empty())
    return usage_error("Kata Containers wants --id-block and --id-auth, or neither", "give both");
  if (wish.quote_socket.starts_with("unix:"))
    return usage_error("Kata Containers reaches the Quote Generation Service over vsock",
                       "write --quote-socket vsock:2:4050");
  return {};
}

OrError<void> check(const LaunchPlan& plan) {
  CBIT_TRY(check_protection(plan));
  const LaunchRequest& request = plan.request;
  if (request.kernel.empty())
    return usage_error("Kata Containers boots a kernel, and none is given", "add --kernel");
  if (request.initrd.empty() == request.disks.empty())
    return usage_error("Kata Containers wants an initrd or one disk with the agent, and not both",
                       "give --initrd or --disk");
  if (request.disks.size() > 1)
    return usage_error("Kata Containers boots of one disk",
                       "the container's disks are the runtime's business");
  if (!request.disks.empty() && request.disks.front().format != "raw")
    return usage_error("Kata Containers' image is a raw one", "convert it with qemu-img convert -O raw");
  if (!request.nets.empty() || request.vsock_cid || !request.extra.empty() || !request.name.empty() ||
      !request.passed_through.empty() || !request.igvm.empty())
    return usage_error(
        "network, devices, IGVM files, name and other options of QEMU are the business of Kata's runtime",
        "leave them out");
  return check_text(plan, "TOML");
}

}  // namespace

OrError<std::string> to_kata(const LaunchPlan& plan, bool explain) {
  CBIT_TRY(check(plan));
  Configuration toml{explain};
  toml.section("hypervisor.qemu");
  toml.set("path", plan.program, "QEMU; the runtime wants an absolute path.");
  set_protection(plan, toml);
  set_image(plan, toml);
  set_devices(toml);
  set_size(plan, toml);
  toml.section("runtime");
  toml.set("static_sandbox_resource_mgmt", true, "The guest has its CPUs and memory from the start.");
  return std::move(toml).text();
}

}  // namespace cbit::launch
