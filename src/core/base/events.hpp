// What happens in the machine, as typed events. Rooms emit them through a Tracer (base/trace.hpp); `watch`
// turns them into causes, page maps and trace files. No room prints.
//
// Every event names itself (`name`, the word in trace files) and lists its fields once, in `visit`, so that
// an exporter needs no code per event. Names of code and devices are interned (NameId): see Tracer.
#pragma once

#include <cstdint>
#include <utility>
#include <variant>

#include "base/events/bus.hpp"
#include "base/events/dma.hpp"
#include "base/events/graphics.hpp"
#include "base/events/host.hpp"
#include "base/events/memory.hpp"
#include "base/events/mktme.hpp"
#include "base/events/rdma.hpp"
#include "base/events/swiotlb.hpp"
#include "base/events/virtio.hpp"
#include "base/ids.hpp"

namespace cbit {

using EventPayload =
    std::variant<OwnerChanged, KeyMismatch, ForeignWrite, CacheAliasHazard, Flush, PageConversion,
                 AccessFault, DeviceAccess, DeviceFault, IommuMapped, IommuUnmapped, StepTaken, KernelMessage,
                 DmaMapped, DmaMapFailed, DmaUnmapped, DmaSynced, DmaDebugReport, SwiotlbBounced,
                 SwiotlbAllocated, SwiotlbReleased, SwiotlbCopied, SwiotlbDropped, SwiotlbCleared,
                 SwiotlbFull, VirtioNegotiated, VirtioRequest, VirtioBroken, MappingAdded, MappingRemoved,
                 VirtioIommuRequest, VirtioIommuFault, GuestExit, MrRegistered, MrDeregistered, MrRefused,
                 RdmaCompleted, RdmaRefused, TtPopulated, BoMoved, KeyProgrammed, VmaKeyChanged,
                 PageKeyChanged, KeyRequestRefused, SevCommand, RegionPinned, FrameCopied, PageMoveRefused,
                 PageDiscarded, PageStateRequest, MappedMemoryFreed, PrivateBytesShared, DmaPagesReturned>;

// What copies, moves and ends some fifty kinds of payload is compiled once, not in every file.
struct Event {
  Event();
  template <class Payload>
  Event(std::uint64_t begins_ns, std::uint64_t takes_ns, Agent who, Payload&& what)
      : time_ns{begins_ns}, duration_ns{takes_ns}, agent{who}, payload{std::forward<Payload>(what)} {}
  Event(const Event&);
  Event(Event&&) noexcept;
  Event& operator=(const Event&);
  Event& operator=(Event&&) noexcept;
  ~Event();

  std::uint64_t time_ns = 0;      // virtual time at which it began
  std::uint64_t duration_ns = 0;  // virtual cost
  Agent agent;                    // who did it
  EventPayload payload;
};

}  // namespace cbit
