// Why a streaming mapping that is not bounced lies beyond its device's mask ("DMA addr ... overflow").
#pragma once

#include "base/bytes.hpp"
#include "cbit/addr.hpp"
#include "watch/causes.hpp"
#include "watch/facts.hpp"

namespace cbit::watch {

// `last`: the buffer's last byte. Encrypted guests bounce everything, so that only the pool's absence lets a
// mapping get that far.
[[nodiscard]] const CauseInfo& why_beyond_mask(const ExplainerContext& platform, PhysAddr last,
                                               DmaAddr address, std::uint64_t mask);

}  // namespace cbit::watch
