// DmaPort: the only way from a device to memory.
//
//   bus address ── address lines ── IOMMU (if there is one) ── key bits ── MMIO or memory
//
// It decides under which key the access is made: the IOMMU entry's C-bit, or else the key bits of the bus address as
// the machine decodes them. On an SME host an address without the bit is an unencrypted access. A guest's device
// is a part of the host: for it the guest's key bits are just address bits that decode to nothing.
//
// Every access is one DeviceAccess event per contiguous piece, every refusal a DeviceFault event.
// Threading: one thread per port; ports may run in parallel.
#pragma once

#include <cstdint>
#include <string>

#include "base/addr.hpp"
#include "base/bytes.hpp"
#include "base/result.hpp"
#include "bus/system_bus.hpp"

namespace cbit {

struct DmaPortConfig {
  std::string device;         // name in events
  RequesterId requester = 0;  // bus/device/function
  unsigned address_bits = 64; // address lines the device drives; higher bits of an address are lost
  bool bypass_iommu = false;  // virtio without ACCESS_PLATFORM: the device addresses memory directly
};

class DmaPort {
 public:
  DmaPort(SystemBus& bus, DmaPortConfig config);

  // Faults: address_width when the address does not fit the device's address lines, the IOMMU's faults,
  // no_memory, rmp_violation, private_mmio. The part before the fault has been transferred.
  Result<void> read(DmaAddr from, ByteSpan to);
  Result<void> write(DmaAddr to, ConstByteSpan from);

  template <class T>
  Result<T> load(DmaAddr from) {
    std::array<std::byte, sizeof(T)> raw;
    CBIT_TRY(read(from, raw));
    return cbit::load<T>(raw);
  }
  template <class T>
  Result<void> store(DmaAddr to, const T& value) {
    return write(to, bytes_of(value));
  }

  // What a read would return, without doing it: no event, no history.
  Result<void> peek(DmaAddr from, ByteSpan to) const;

  [[nodiscard]] const DmaPortConfig& config() const { return config_; }
  [[nodiscard]] NameId name() const { return name_; }
  [[nodiscard]] SystemBus& bus() { return *bus_; }

 private:
  SystemBus* bus_;
  DmaPortConfig config_;
  NameId name_;
};

}  // namespace cbit
