#include "linux/device.hpp"

#include <algorithm>

namespace cbit::linux {
namespace {

constexpr std::size_t device_name_bytes_max = 64;
constexpr std::size_t module_name_bytes_max = 56;

std::string text_of(const Peek& peek, std::optional<VirtAddr> at, std::size_t bytes_max) {
  if (!at) return {};
  return peek.memory().text(*at, bytes_max).value_or("");
}

void read_pci(const RunningKernel& running, const Peek& peek, Device& device) {
  const auto member = peek.fields()[Field::pci_dev_device];
  if (!member || peek.pointer(device.at, Field::device_bus) != running.address_of("pci_bus_type")) return;
  const VirtAddr pci = device.at - member->offset();
  const auto bus = peek.pointer(pci, Field::pci_dev_bus);
  const auto number = bus ? peek.value(*bus, Field::pci_bus_number) : std::nullopt;
  const auto function = peek.value(pci, Field::pci_dev_devfn);
  if (number && function) device.requester = static_cast<RequesterId>(*number << 8 | (*function & 0xff));
  device.untrusted = peek.value(pci, Field::pci_dev_untrusted).value_or(0) != 0;
}

// Whether dma_map_* goes to the IOMMU: by a flag of the device since 6.12, before by its operations.
bool uses_iommu(const RunningKernel& running, const Peek& peek, VirtAddr device) {
  if (peek.fields().has(Field::device_dma_iommu))
    return peek.value(device, Field::device_dma_iommu).value_or(0) != 0;
  const auto operations = peek.pointer(device, Field::device_dma_ops);
  return operations && operations == running.address_of("iommu_dma_ops");
}

}  // namespace

std::uint64_t Device::limit(std::uint64_t mask) const {
  if (bus_limit == 0) return mask;
  return mask == 0 ? bus_limit : std::min(mask, bus_limit);
}

std::string device_name(const Peek& peek, VirtAddr at) {
  auto name = peek.pointer(at, Field::device_name);
  if (!name) name = peek.pointer(at, Field::device_init_name);
  return text_of(peek, name, device_name_bytes_max);
}

Device read_device(const RunningKernel& running, const GuestMemory& memory, VirtAddr at) {
  const Peek peek{running.kernel().fields(), memory};
  Device found{.at = at, .name = device_name(peek, at)};
  if (const auto driver = peek.pointer(at, Field::device_driver)) {
    found.driver = text_of(peek, peek.pointer(*driver, Field::driver_name), device_name_bytes_max);
    const auto owner = peek.pointer(*driver, Field::driver_owner);
    found.module =
        text_of(peek, owner ? peek.place(*owner, Field::module_name) : std::nullopt, module_name_bytes_max);
  }
  if (const auto mask = peek.pointer(at, Field::device_dma_mask))
    found.dma_mask = memory.load<std::uint64_t>(*mask);
  found.coherent_mask = peek.value(at, Field::device_coherent_mask).value_or(0);
  found.bus_limit = peek.value(at, Field::device_bus_limit).value_or(0);
  if (const auto parms = peek.pointer(at, Field::device_dma_parms))
    found.min_align_mask = peek.value(*parms, Field::parms_min_align_mask).value_or(0);
  found.tlb = peek.pointer(at, Field::device_io_tlb_mem);
  found.iommu = uses_iommu(running, peek, at);
  read_pci(running, peek, found);
  return found;
}

}  // namespace cbit::linux
