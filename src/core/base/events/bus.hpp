// What devices put on the bus, and what an IOMMU makes of it. Part of base/events.hpp.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/ids.hpp"
#include "base/result.hpp"
#include "cbit/addr.hpp"
#include "cbit/dma_types.hpp"

namespace cbit {

// A device read or wrote memory. One event per physically contiguous piece.
struct DeviceAccess {
  static constexpr std::string_view name = "device_access";
  NameId device = 0;
  RequesterId requester = 0;
  DmaAddr bus_address;
  PhysAddr phys;
  std::uint64_t bytes = 0;
  bool write = false;
  bool through_iommu = false;
  KeyId key = no_key;
  KeyId page_key = no_key;  // key under which the page had been written last, before this access
  void visit(auto&& v) const {
    v("device", device);
    v("requester", requester);
    v("bus_address", bus_address);
    v("phys", phys);
    v("bytes", bytes);
    v("write", write);
    v("through_iommu", through_iommu);
    v("key", key);
    v("page_key", page_key);
  }
};

struct DeviceFault {
  static constexpr std::string_view name = "device_fault";
  NameId device = 0;
  RequesterId requester = 0;
  DmaAddr bus_address;
  Fault fault;
  void visit(auto&& v) const {
    v("device", device);
    v("requester", requester);
    v("bus_address", bus_address);
    v("fault", fault);
  }
};

struct IommuMapped {
  static constexpr std::string_view name = "iommu_map";
  std::uint16_t domain = 0;
  DmaAddr iova;
  PhysAddr phys;
  std::uint64_t bytes = 0;
  bool encrypted = false;
  void visit(auto&& v) const {
    v("domain", domain);
    v("iova", iova);
    v("phys", phys);
    v("bytes", bytes);
    v("encrypted", encrypted);
  }
};

struct IommuUnmapped {
  static constexpr std::string_view name = "iommu_unmap";
  std::uint16_t domain = 0;
  DmaAddr iova;
  std::uint64_t bytes = 0;
  void visit(auto&& v) const {
    v("domain", domain);
    v("iova", iova);
    v("bytes", bytes);
  }
};

}  // namespace cbit
