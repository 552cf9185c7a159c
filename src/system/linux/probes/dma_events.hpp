// What a DMA call asked for, and the events that say how it went.
#pragma once

#include "linux/probes/context.hpp"

namespace cbit::linux {

struct DmaAsk {
  DmaMappingKind kind{};
  PhysAddr phys;
  std::uint64_t bytes = 0;
  DmaDirection direction = DmaDirection::bidirectional;
  DmaAttrs attrs{};
  bool is_memory = true;  // the address is one of memory or a device, not nonsense
};

// DmaMapped, and the mapping in the ledger.
void report_mapped(ProbeContext& ctx, const CallView& c, const Device& device, const DmaAsk& ask,
                   DmaAddr dma);
// DmaMapFailed, with the first reason that fits.
void report_failure(ProbeContext& ctx, const CallView& c, const Device& device, const DmaAsk& ask);
void report_unmapped(ProbeContext& ctx, const CallView& c, NameId device, DmaMappingKind kind,
                     const Notes::Segment& segment, DmaDirection direction, bool copied_back);

}  // namespace cbit::linux
