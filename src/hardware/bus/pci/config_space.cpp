#include "bus/pci/config_space.hpp"

#include <algorithm>

#include "base/assert.hpp"
#include "cbit/addr.hpp"

namespace cbit::bus {
namespace {

constexpr std::uint32_t next_pointer = 1;  // offset in a capability

}  // namespace

std::uint32_t PciConfigSpace::add_capability(std::uint8_t id, std::uint32_t bytes) {
  const std::uint32_t at = end_;
  end_ = static_cast<std::uint32_t>(align_up(at + bytes, 4));
  CBIT_ASSERT(end_ <= spec::pci_config_bytes);
  define(at, id);
  const std::uint32_t link =
      last_capability_ == 0 ? spec::pci_register::capabilities : last_capability_ + next_pointer;
  define(link, static_cast<std::uint8_t>(at));
  const spec::PciStatus status{{load<std::uint16_t>(at_reset_, spec::pci_register::status)}};
  define(spec::pci_register::status, status.with<spec::PciStatus::CapabilitiesList>(true).raw);
  last_capability_ = at;
  return at;
}

void PciConfigSpace::read(std::uint32_t offset, ByteSpan to) const {
  std::ranges::copy(ConstByteSpan{bytes_}.subspan(offset, to.size()), to.begin());
}

void PciConfigSpace::write(std::uint32_t offset, ConstByteSpan from) {
  for (const std::byte value : from) {
    std::byte& byte = bytes_[offset];
    byte = (byte & ~settable_[offset]) | (value & settable_[offset]);
    ++offset;
  }
}

}  // namespace cbit::bus
