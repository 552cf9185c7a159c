// The detectors: each looks at one event in the light of the facts before it and opens the causes of its
// topic.
#pragma once

#include "base/events.hpp"
#include "watch/detect/case_book.hpp"
#include "watch/facts.hpp"

namespace cbit::watch {

struct Scene {
  const Event& event;
  const Facts& facts;
  CaseBook& book;
};

void find_access_causes(const Scene& scene);  // a device reached memory, under some key
void find_cpu_causes(const Scene& scene);     // a CPU or the host did
void find_fault_causes(const Scene& scene);   // somebody was refused
void find_api_causes(const Scene& scene);     // a driver called the DMA API
void find_swiotlb_causes(const Scene& scene);
void find_virtio_causes(const Scene& scene);
void find_rdma_causes(const Scene& scene);      // verbs, and what NICs refuse
void find_graphics_causes(const Scene& scene);  // mappings of one page, buffers of a GPU
void find_mktme_causes(const Scene& scene);     // KeyIDs, and pages that were moved
void find_host_causes(const Scene& scene);      // of encrypted guests
// Causes that show at the end: what is still mapped.
void find_lost_writes(const Facts& facts, CaseBook& book, std::uint64_t time_ns);
void find_leaks(const Facts& facts, CaseBook& book, std::uint64_t time_ns);

// A read on a host of encrypted guests, by or of a guest, that find_host_causes() explains.
[[nodiscard]] bool guests_read(const Facts& facts, const KeyMismatch& read);
// A device met encrypted memory without its key. Opens the reason if negotiation explains it: a virtio driver
// without VIRTIO_F_ACCESS_PLATFORM bypasses the DMA API. False when the reason is another.
bool explain_by_virtio_flag(const Scene& scene, NameId device, const Evidence& evidence);
// Why a device and the CPU disagree about the key of what the device accessed; `mapping` is the one that
// allowed the access, nullptr if none did.
void explain_wrong_key(const Scene& scene, const DeviceAccess& access, const Mapping* mapping);
// A page's bytes are of the view that the page no longer has.
void explain_stale_contents(const Scene& scene, NameId device, PhysAddr page, const Evidence& evidence);
// A streaming mapping should have been bounced, but there is no pool.
void explain_missing_pool(const Scene& scene, NameId device, const CauseRange& where,
                          const Evidence& evidence);

}  // namespace cbit::watch
