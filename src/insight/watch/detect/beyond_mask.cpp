#include "watch/detect/beyond_mask.hpp"

#include "watch/cause_table.hpp"

namespace cbit::watch {

const CauseInfo& why_beyond_mask(const ExplainerContext& platform, PhysAddr last, DmaAddr address,
                                 std::uint64_t mask) {
  if (platform.is_guest) return cause("noforce-in-guest");
  if (platform.is_mktme && (address.value() & platform.layout.mask()) != 0)
    return cause("dma-mask-below-key-id");
  const bool only_the_bit = platform.is_sme && last.value() <= mask && mask < platform.layout.mask();
  return only_the_bit ? cause("dma-mask-below-c-bit") : cause("buffer-beyond-mask");
}

}  // namespace cbit::watch
