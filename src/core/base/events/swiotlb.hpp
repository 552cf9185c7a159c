// Bounce buffers. Part of base/events.hpp.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/ids.hpp"
#include "base/result.hpp"
#include "cbit/addr.hpp"
#include "cbit/dma_types.hpp"

namespace cbit {

// include/trace/events/swiotlb.h: `dev_addr` is the address of the original buffer, not of the bounce.
struct SwiotlbBounced {
  static constexpr std::string_view name = "swiotlb_bounced";
  NameId device = 0;
  std::uint64_t dma_mask = 0;
  DmaAddr dev_addr;
  std::uint64_t size = 0;
  bool force = false;
  void visit(auto&& v) const {
    v("dev_name", device);
    v("dma_mask", dma_mask);
    v("dev_addr", dev_addr);
    v("size", size);
    v("force", force);
  }
};

struct SwiotlbAllocated {
  static constexpr std::string_view name = "swiotlb_alloc";
  NameId device = 0;
  std::uint64_t slot = 0;
  std::uint64_t slots = 0;
  unsigned area = 0;
  PhysAddr bounce;
  PhysAddr orig;
  void visit(auto&& v) const {
    v("device", device);
    v("slot", slot);
    v("slots", slots);
    v("area", area);
    v("bounce", bounce);
    v("orig", orig);
  }
};

struct SwiotlbReleased {
  static constexpr std::string_view name = "swiotlb_release";
  std::uint64_t slot = 0;
  std::uint64_t slots = 0;
  void visit(auto&& v) const {
    v("slot", slot);
    v("slots", slots);
  }
};

// One bounce copy: this is where data is encrypted or decrypted.
struct SwiotlbCopied {
  static constexpr std::string_view name = "swiotlb_bounce";
  PhysAddr orig;
  PhysAddr bounce;
  std::uint64_t bytes = 0;
  bool to_pool = false;
  void visit(auto&& v) const {
    v("orig", orig);
    v("bounce", bounce);
    v("bytes", bytes);
    v("to_pool", to_pool);
  }
};

// A bounce that the kernel drops with a WARN (6.1: negative offset of a partial sync; wrong offset).
struct SwiotlbDropped {
  static constexpr std::string_view name = "swiotlb_dropped";
  PhysAddr bounce;
  std::uint64_t bytes = 0;
  bool negative_offset = false;
  void visit(auto&& v) const {
    v("bounce", bounce);
    v("bytes", bytes);
    v("negative_offset", negative_offset);
  }
};

// iommu-dma zeroed a bounce buffer of an untrusted device after the original had been copied into it (6.1,
// where the data flows from the device): what the device does not write comes back as zeros.
struct SwiotlbCleared {
  static constexpr std::string_view name = "swiotlb_cleared";
  NameId device = 0;
  PhysAddr orig;
  PhysAddr bounce;
  std::uint64_t bytes = 0;
  void visit(auto&& v) const {
    v("device", device);
    v("orig", orig);
    v("bounce", bounce);
    v("bytes", bytes);
  }
};

// "swiotlb buffer is full", with the facts that tell its different reasons apart.
struct SwiotlbFull {
  static constexpr std::string_view name = "swiotlb_full";
  NameId device = 0;
  std::uint64_t bytes = 0;          // requested, as the kernel prints it
  std::uint64_t slots_wanted = 0;   // including offset and padding
  std::uint64_t segment_slots = 0;  // the longest run that can ever be given: 128
  std::uint64_t slots_total = 0;    // 0: not told, and neither is what follows
  std::uint64_t slots_used = 0;
  std::uint64_t longest_run = 0;  // longest free run now, over all areas; 0 with free slots: not told
  std::uint64_t align_mask = 0;   // alignment that was asked for
  bool growth_possible = false;   // dynamic pools are on and allowed to grow
  bool growth_failed = false;     // growth was tried for this request
  bool endless_search = false;    // 6.1 does not even fail: its search steps over its end and spins
  void visit(auto&& v) const {
    v("device", device);
    v("bytes", bytes);
    v("slots_wanted", slots_wanted);
    v("segment_slots", segment_slots);
    v("slots_total", slots_total);
    v("slots_used", slots_used);
    v("longest_run", longest_run);
    v("align_mask", align_mask);
    v("growth_possible", growth_possible);
    v("growth_failed", growth_failed);
    v("endless_search", endless_search);
  }
};

}  // namespace cbit
