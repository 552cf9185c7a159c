// libvirt's domain XML: https://libvirt.org/formatdomain.html.
#include <fmt/format.h>

#include <algorithm>
#include <pugixml.hpp>
#include <sstream>

#include "launch/plan_render.hpp"
#include "launch/plan_strings.hpp"

namespace cbit::launch {
namespace {

using pugi::xml_node;

xml_node add(xml_node parent, const char* name) { return parent.append_child(name); }
xml_node add(xml_node parent, const char* name, const std::string& text) {
  xml_node node = parent.append_child(name);
  node.text().set(text.c_str());
  return node;
}
xml_node with(xml_node node, const char* name, const std::string& value) {
  node.append_attribute(name).set_value(value.c_str());
  return node;
}

class Domain {
 public:
  Domain(const LaunchPlan& plan, bool explain) : plan_{plan}, explain_{explain} {}

  std::string text() {
    root_ = with(add(document_, "domain"), "type", plan_.kvm ? "kvm" : "qemu");
    if (!plan_.request.extra.empty()) with(root_, "xmlns:qemu", "http://libvirt.org/schemas/domain/qemu/1.0");
    add(root_, "name", plan_.request.name.empty() ? "cbit" : plan_.request.name);
    memory();
    os();
    features();
    cpu();
    if (encrypted_state()) {
      say(root_, "no-reboot", "");
      add(root_, "on_reboot", "destroy");
    }
    devices();
    launch_security();
    command_line();
    std::ostringstream out;
    document_.save(out, "  ", pugi::format_indent | pugi::format_no_declaration);
    return out.str();
  }

 private:
  [[nodiscard]] bool encrypted_state() const {
    return plan_.protection != Protection::none && plan_.protection != Protection::sev;
  }

  // The plan's reason for an option (and a property of it) as a comment.
  void say(xml_node where, std::string_view option, std::string_view key, std::string_view type = {}) const {
    if (!explain_) return;
    const auto is_it = [&](const PlannedOption& planned) {
      return planned.name == option &&
             (type.empty() || (!planned.properties.empty() && planned.properties.front().value == type));
    };
    const auto planned = std::ranges::find_if(plan_.options, is_it);
    if (planned == plan_.options.end()) return;
    const Reason* reason = &planned->reason;
    for (const PlannedProperty& property : planned->properties)
      if (!key.empty() && property.key == key && !property.reason.why.empty()) reason = &property.reason;
    comment(where, reason->why);
  }
  void comment(xml_node where, std::string text) const {
    if (!explain_) return;
    // "--" must not stand in a comment.
    for (std::size_t at = text.find("--"); at != std::string::npos; at = text.find("--", at))
      text.insert(at + 1, 1, ' ');
    where.append_child(pugi::node_comment).set_value(fmt::format(" {} ", text).c_str());
  }

  void memory();
  void os();
  void features();
  void cpu();
  void devices();
  void disks(xml_node devices);
  void nets(xml_node devices);
  void passed_through(xml_node devices);
  void serial(xml_node devices);
  void launch_security();
  void command_line();

  const LaunchPlan& plan_;
  bool explain_;
  pugi::xml_document document_;
  xml_node root_;
};

void Domain::memory() {
  say(root_, "m", "");
  with(add(root_, "memory", fmt::format("{}", plan_.request.memory_bytes >> 10)), "unit", "KiB");
  if (plan_.protection == Protection::sev || plan_.protection == Protection::sev_es) {
    xml_node backing = add(root_, "memoryBacking");
    say(backing, "object", "prealloc", "memory-backend-ram");
    add(backing, "locked");
  } else if (plan_.protection == Protection::sev_snp) {
    xml_node backing = add(root_, "memoryBacking");
    say(backing, "object", "qom-type", "memory-backend-memfd");
    with(add(backing, "source"), "type", "memfd");
    with(add(backing, "access"), "mode", "shared");
  }
  say(root_, "smp", "");
  with(add(root_, "vcpu", fmt::format("{}", plan_.request.cpus)), "placement", "static");
}

void Domain::os() {
  xml_node os = add(root_, "os");
  say(os, "machine", "type");
  with(with(add(os, "type", "hvm"), "arch", "x86_64"), "machine", "q35");
  if (plan_.firmware) {
    say(os, plan_.firmware_in_flash ? "drive" : "bios", "");
    xml_node loader = add(os, "loader", plan_.firmware->path);
    if (plan_.firmware_in_flash)
      with(with(with(loader, "readonly", "yes"), "type", "pflash"), "stateless", "yes");
    else
      with(loader, "type", "rom");
  }
  if (plan_.request.kernel.empty()) return;
  add(os, "kernel", plan_.request.kernel);
  if (!plan_.request.initrd.empty()) {
    say(os, "initrd", "");
    add(os, "initrd", plan_.request.initrd);
  }
  if (!plan_.append.empty()) add(os, "cmdline", plan_.append);
}

void Domain::features() {
  xml_node features = add(root_, "features");
  add(features, "acpi");
  add(features, "apic");
  if (!encrypted_state()) return;
  say(features, "machine", "smm");
  with(add(features, "smm"), "state", "off");
  if (plan_.protection != Protection::tdx) {
    say(features, "machine", "vmport");
    with(add(features, "vmport"), "state", "off");
  }
  say(features, "machine", "kernel-irqchip");
  with(add(features, "ioapic"), "driver", plan_.protection == Protection::tdx ? "qemu" : "kvm");
}

void Domain::cpu() {
  const auto option = std::ranges::find(plan_.options, "cpu", &PlannedOption::name);
  const std::string& model = option->properties.front().value;
  say(root_, "cpu", "");
  xml_node cpu = add(root_, "cpu");
  if (model == "host") {
    with(cpu, "mode", "host-passthrough");
  } else if (model == "max") {
    with(cpu, "mode", "maximum");
  } else {
    with(with(with(cpu, "mode", "custom"), "match", "exact"), "check", "none");
    with(add(cpu, "model", model), "fallback", "forbid");
  }
  for (std::size_t i = 1; i < option->properties.size(); ++i) {
    const PlannedProperty& feature = option->properties[i];
    with(with(add(cpu, "feature"), "policy", feature.value == "off" ? "disable" : "require"), "name",
         feature.key);
  }
}

void Domain::disks(xml_node devices) {
  for (std::size_t i = 0; i < plan_.request.disks.size(); ++i) {
    const DiskRequest& disk = plan_.request.disks[i];
    if (i == 0) say(devices, "device", "iommu_platform", "virtio-blk-pci");
    xml_node node = with(with(add(devices, "disk"), "type", "file"), "device", "disk");
    with(node, "model", "virtio-non-transitional");
    with(with(with(add(node, "driver"), "name", "qemu"), "type", disk.format), "iommu", "on");
    with(add(node, "source"), "file", disk.file);
    with(with(add(node, "target"), "dev", fmt::format("vd{}", letters(i))), "bus", "virtio");
    if (disk.read_only) add(node, "readonly");
  }
}

void Domain::nets(xml_node devices) {
  for (const NetRequest& net : plan_.request.nets) {
    const bool tap = net.kind == NetKind::tap;
    xml_node node = with(add(devices, "interface"), "type", tap ? "ethernet" : "user");
    if (!net.ifname.empty()) with(with(add(node, "target"), "dev", net.ifname), "managed", "no");
    with(add(node, "model"), "type", "virtio-non-transitional");
    with(with(add(node, "driver"), "name", net.vhost ? "vhost" : "qemu"), "iommu", "on");
    say(node, "device", "romfile", "virtio-net-pci");
    with(add(node, "rom"), "enabled", "no");
  }
}

void Domain::passed_through(xml_node devices) {
  for (const std::string& function : plan_.request.passed_through) {
    const std::string whole = function.size() == 7 ? "0000:" + function : function;
    say(devices, "device", "", "vfio-pci");
    comment(devices, "iommufd= needs a libvirt that knows it (12.1 or later).");
    xml_node device = with(with(add(devices, "hostdev"), "mode", "subsystem"), "type", "pci");
    with(with(with(device, "managed", "yes").append_child("driver"), "name", "vfio"), "iommufd", "yes");
    xml_node address = add(add(device, "source"), "address");
    with(with(address, "domain", "0x" + whole.substr(0, 4)), "bus", "0x" + whole.substr(5, 2));
    with(with(address, "slot", "0x" + whole.substr(8, 2)), "function", "0x" + whole.substr(11, 1));
  }
}

void Domain::serial(xml_node devices) {
  const std::string& where = plan_.request.console;
  if (where == "none") return;
  const bool file = where != "stdio" && where != "pty";
  if (where == "stdio") comment(devices, "The terminal of virsh console: the daemon has none of its own.");
  xml_node node = with(add(devices, "serial"), "type", file ? "file" : "pty");
  if (file) with(add(node, "source"), "path", where);
  with(add(node, "target"), "port", "0");
}

void Domain::devices() {
  xml_node devices = add(root_, "devices");
  if (plan_.program.starts_with('/')) add(devices, "emulator", plan_.program);
  disks(devices);
  nets(devices);
  passed_through(devices);
  say(devices, "device", "", "virtio-rng-pci");
  xml_node rng = with(add(devices, "rng"), "model", "virtio-non-transitional");
  with(add(rng, "backend", "/dev/urandom"), "model", "random");
  with(add(rng, "driver"), "iommu", "on");
  if (plan_.request.vsock_cid) {
    say(devices, "device", "", "vhost-vsock-pci");
    xml_node vsock = with(add(devices, "vsock"), "model", "virtio-non-transitional");
    with(with(add(vsock, "cid"), "auto", "no"), "address", fmt::format("{}", *plan_.request.vsock_cid));
    with(add(vsock, "driver"), "iommu", "on");
  }
  serial(devices);
  say(devices, "nodefaults", "");
  with(with(add(devices, "controller"), "type", "usb"), "model", "none");
  comment(devices,
          "virtio-balloon takes VIRTIO_F_ACCESS_PLATFORM back, so it never works in an encrypted guest.");
  with(add(devices, "memballoon"), "model", "none");
  with(add(add(devices, "video"), "model"), "type", "none");
}

void Domain::launch_security() {
  if (plan_.protection == Protection::none) return;
  const AttestationRequest& wish = plan_.request.attestation;
  const auto add_some = [](xml_node node, const char* name, const std::string& text) {
    if (!text.empty()) add(node, name, text);
  };
  if (plan_.protection == Protection::tdx) {
    comment(root_, "libvirt 11.6 or later.");
    xml_node security = with(add(root_, "launchSecurity"), "type", "tdx");
    add_some(security, "mrConfigId", wish.mr_config_id);
    add_some(security, "mrOwner", wish.mr_owner);
    add_some(security, "mrOwnerConfig", wish.mr_owner_config);
    if (!wish.quote_socket.empty())
      with(add(security, "quoteGenerationService"), "path", wish.quote_socket.substr(5));
    return;
  }
  const bool snp = plan_.protection == Protection::sev_snp;
  if (snp) comment(root_, "libvirt 10.5 or later.");
  xml_node security = with(add(root_, "launchSecurity"), "type", snp ? "sev-snp" : "sev");
  if (plan_.kernel_hashes) with(security, "kernelHashes", "yes");
  const char* const type = snp ? "sev-snp-guest" : "sev-guest";
  say(security, "object", "cbitpos", type);
  add(security, "cbitpos", fmt::format("{}", plan_.c_bit));
  say(security, "object", "reduced-phys-bits", type);
  add(security, "reducedPhysBits", fmt::format("{}", plan_.reduced_phys_bits));
  say(security, "object", "policy", type);
  add(security, "policy", fmt::format("{:#x}", plan_.policy));
  add_some(security, "idBlock", wish.id_block);
  add_some(security, "idAuth", wish.id_auth);
  add_some(security, "hostData", wish.host_data);
  if (wish.no_vcek) with(security, "vcek", "no");
}

void Domain::command_line() {
  if (plan_.request.extra.empty()) return;
  xml_node line = add(root_, "qemu:commandline");
  for (const QemuOption& option : plan_.request.extra)
    for (const std::string& word : to_words(option)) with(add(line, "qemu:arg"), "value", word);
}

OrError<void> check_libvirt(const LaunchPlan& plan) {
  for (const auto& [what, path] : paths_of(plan))
    if (!path.starts_with('/'))
      return usage_error(fmt::format("libvirt wants absolute paths, and {} {} is none", what, path),
                         "give the whole path");
  for (const NetRequest& net : plan.request.nets)
    if (!net.forwards.empty())
      return usage_error("libvirt's user network has no hostfwd=", "leave it out, or use --net tap");
  if (!plan.request.igvm.empty())
    return usage_error("libvirt's domain has no element for an IGVM file", "use --format command");
  if (plan.request.attestation.quote_socket.starts_with("vsock:"))
    return usage_error("libvirt's <quoteGenerationService> is a Unix socket",
                       "write --quote-socket unix:/var/run/tdx-qgs/qgs.socket");
  return check_text(plan, "XML");
}

}  // namespace

OrError<std::string> to_libvirt(const LaunchPlan& plan, bool explain) {
  CBIT_TRY(check_libvirt(plan));
  return Domain{plan, explain}.text();
}

}  // namespace cbit::launch
