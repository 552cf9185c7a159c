#include "chipset/test_ports.hpp"

#include "cbit/addr.hpp"

namespace cbit::chipset {

std::uint32_t TestData::read(std::uint16_t offset, unsigned) { return data_ >> 8 * offset; }

void TestData::write(std::uint16_t offset, unsigned bytes, std::uint32_t value) {
  const auto place = static_cast<std::uint32_t>(bit_mask(8 * bytes) << 8 * offset);
  data_ = (data_ & ~place) | (value << 8 * offset & place);
}

void TestIrqs::reset() {
  for (bus::IrqDriver& driver : drivers_) driver.lower();
}

std::uint32_t TestIrqs::read(std::uint16_t offset, unsigned) {
  return offset < drivers_.size() && drivers_[offset].asserted() ? 1 : 0;
}

void TestIrqs::write(std::uint16_t offset, unsigned, std::uint32_t value) {
  if (offset < drivers_.size()) drivers_[offset].set(value != 0);
}

}  // namespace cbit::chipset
