// Everything that is read of a host, in one object.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "facts/cpu.hpp"
#include "facts/guest_support.hpp"
#include "facts/iommu.hpp"
#include "facts/kernel.hpp"
#include "facts/limits.hpp"
#include "facts/memory.hpp"
#include "facts/misc_cgroup.hpp"
#include "facts/pci.hpp"
#include "facts/pool.hpp"
#include "facts/virtio.hpp"
#include "watch/import/kernel_log.hpp"

namespace cbit::facts {

// /sys/class/infiniband.
struct RdmaDeviceFacts {
  std::string name;  // "mlx5_0"
  std::string pci;   // its function; empty: software such as rxe and siw, which has none
};

struct HostFacts {
  CpuFacts cpu;
  KernelFacts kernel;
  MemoryFacts memory;
  IommuFacts iommu;
  MiscCgroup misc;
  Read<MemlockLimit> memlock = tl::unexpected{Unread::absent};
  PoolCounters pool;
  std::vector<PciDevice> pci;
  std::vector<VirtioDeviceFacts> virtio;
  std::vector<RdmaDeviceFacts> rdma;
  DeviceState kvm = DeviceState::absent;        // /dev/kvm
  DeviceState sev = DeviceState::absent;        // /dev/sev
  DeviceState sev_guest = DeviceState::absent;  // /dev/sev-guest
  DeviceState tdx_guest = DeviceState::absent;  // /dev/tdx_guest
  std::string product;                          // DMI: vendor and product; empty: not known
  bool ultravisor_guest = false;                // POWER: /sys/devices/system/cpu/svm is 1
  bool secure_execution_guest = false;          // s390: /sys/firmware/uv/prot_virt_guest is 1
  bool secure_execution_host = false;           // s390: /sys/firmware/uv/prot_virt_host is 1
  bool realm = false;                           // arm64: there is /sys/devices/platform/arm-cca-dev
  std::optional<bool> tsme;                     // a secure processor's tsme_status; nullopt: it says nothing
  bool only_log = false;                        // nothing else of the system is known
  Read<watch::KernelLog> log = tl::unexpected{Unread::absent};
  GuestSupport support;

  // Empty where the log could not be read.
  [[nodiscard]] const watch::KernelLog& kernel_log() const;
};

[[nodiscard]] HostFacts read_host(const HostTree& tree);

}  // namespace cbit::facts
