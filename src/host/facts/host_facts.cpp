#include "facts/host_facts.hpp"

#include "base/text.hpp"

namespace cbit::facts {
namespace {

std::vector<RdmaDeviceFacts> read_rdma(const HostTree& tree) {
  std::vector<RdmaDeviceFacts> devices;
  for (const std::string& name : tree.list("/sys/class/infiniband").value_or(std::vector<std::string>{}))
    devices.push_back(
        {printable(name, 40),
         printable(tree.link("/sys/class/infiniband/" + name + "/device").value_or(std::string{}), 40)});
  return devices;
}

std::string read_product(const HostTree& tree) {
  const auto word = [&](const char* name) {
    return printable(tree.read(std::string{"/sys/class/dmi/id/"} + name).value_or(std::string{}), 60);
  };
  const std::string vendor = word("sys_vendor"), product = word("product_name");
  return vendor.empty() || product.empty() ? vendor + product : vendor + " " + product;
}

bool is_one(const HostTree& tree, std::string_view path) {
  return trimmed(tree.read(path).value_or(std::string{})) == "1";
}

void read_other_architectures(const HostTree& tree, HostFacts& host) {
  host.ultravisor_guest = is_one(tree, "/sys/devices/system/cpu/svm");
  host.secure_execution_guest = is_one(tree, "/sys/firmware/uv/prot_virt_guest");
  host.secure_execution_host = is_one(tree, "/sys/firmware/uv/prot_virt_host");
  host.realm = tree.list("/sys/devices/platform/arm-cca-dev").has_value();
}

// drivers/crypto/ccp/sp-pci.c: the attribute of the functions that are a secure processor.
std::optional<bool> read_tsme(const HostTree& tree, const std::vector<PciDevice>& pci) {
  for (const PciDevice& device : pci)
    if (device.driver == "ccp")
      if (const auto status = tree.read("/sys/bus/pci/devices/" + device.address + "/tsme_status"))
        return trimmed(*status) == "1";
  return std::nullopt;
}

// Where /proc tells nothing.
void take_from_log(const watch::KernelLog& log, KernelFacts& kernel) {
  if (!kernel.release_text && !log.version.empty()) {
    kernel.release_text = log.version;
    kernel.release = spec::parse_release(log.version);
  }
  if (!kernel.command_line && log.command_line) kernel.command_line = KernelCommandLine{*log.command_line};
}

}  // namespace

const watch::KernelLog& HostFacts::kernel_log() const {
  static const watch::KernelLog none;
  return log ? *log : none;
}

HostFacts read_host(const HostTree& tree) {
  HostFacts host;
  host.cpu = read_cpu(tree);
  host.kernel = read_kernel(tree);
  host.memory = read_memory(tree);
  host.iommu = read_iommu(tree);
  host.misc = read_misc_cgroup(tree);
  host.memlock = read_memlock(tree);
  host.pool = read_pool(tree);
  host.pci = read_pci(tree);
  host.virtio = read_virtio(tree);
  host.rdma = read_rdma(tree);
  host.kvm = tree.device("/dev/kvm");
  host.sev = tree.device("/dev/sev");
  host.sev_guest = tree.device("/dev/sev-guest");
  host.tdx_guest = tree.device("/dev/tdx_guest");
  host.product = read_product(tree);
  if (host.cpu.info && !host.cpu.info->x86) read_other_architectures(tree, host);
  host.tsme = read_tsme(tree, host.pci);
  host.only_log = tree.only_log();
  host.log = tree.kernel_log().map([](const std::string& text) { return watch::parse_kernel_log(text); });
  if (host.log) take_from_log(*host.log, host.kernel);
  host.support = guest_support({.cpu = host.cpu,
                                .kernel = host.kernel,
                                .iommu = host.iommu,
                                .misc = host.misc,
                                .kvm = host.kvm,
                                .sev = host.sev,
                                .memory_bytes = host.memory.total,
                                .memlock = host.memlock});
  return host;
}

}  // namespace cbit::facts
