#include "base/assert.hpp"
#include "explain/maps/map_strategy.hpp"

namespace cbit::explain {

OrError<void> DriverBuffer::allocate(const Bytes& contents) {
  const ExplainOptions& options = bench_.options;
  kernel::Mm& mm = bench_.bed.kernel().mm();
  const auto first = mm.alloc_pages(align_up(options.offset + options.size, page_size) / page_size);
  if (!first)
    return usage_error("the machine has no room for the buffer", "use more --memory or less --size");
  at_ = *first + options.offset;
  phys_ = mm.virt_to_phys(at_);
  const auto written = bench_.cpu().write(at_, contents);
  CBIT_ASSERT(written);  // the kernel's own mapping of its own buffer
  return {};
}

Bytes DriverBuffer::read() const {
  Bytes bytes(bench_.options.size);
  if (!bench_.cpu().read(at_, bytes)) bytes.clear();
  return bytes;
}

std::vector<mem::PhysRange> DriverBuffer::memory() const { return {{phys_, bench_.options.size}}; }

}  // namespace cbit::explain
