#include "bus/message_interrupt.hpp"

#include <algorithm>

#include "spec/apic.hpp"

namespace cbit::bus {

Result<void> MessageInterruptWindow::read(std::uint64_t, ByteSpan to) {
  std::ranges::fill(to, std::byte{0xff});
  return {};
}

Result<void> MessageInterruptWindow::write(std::uint64_t offset, ConstByteSpan from) {
  if (from.size() == sizeof(std::uint32_t) && offset % sizeof(std::uint32_t) == 0)
    sink_->deliver({spec::msi_window + offset, load<std::uint32_t>(from), {}});
  return {};
}

}  // namespace cbit::bus
