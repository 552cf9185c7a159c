// What a hypervisor and its secure processor do with a guest. Part of base/events.hpp.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/ids.hpp"
#include "base/result.hpp"
#include "cbit/addr.hpp"
#include "cbit/dma_types.hpp"

namespace cbit {

// A guest asked its hypervisor to make pages shared or private: the second witness of their state, beside the
// kernel's mappings (PageConversion). `call` is the request's name: "KVM_HC_MAP_GPA_RANGE", "PSC", "MapGPA",
// "UV_SHARE_PAGE", ...
struct PageStateRequest {
  static constexpr std::string_view name = "page_state_request";
  std::string_view call;
  PhysAddr first;
  std::uint64_t pages = 0;
  bool encrypted = false;
  SiteId site = 0;
  void visit(auto&& v) const {
    v("call", call);
    v("first", first);
    v("pages", pages);
    v("encrypted", encrypted);
    v("site", site);
  }
};

// A command to the AMD secure processor. `status` is the firmware's (0: success).
struct SevCommand {
  static constexpr std::string_view name = "sev_command";
  std::string_view command;  // "LAUNCH_START", ...
  std::uint32_t handle = 0;
  std::uint32_t asid = 0;
  std::uint32_t status = 0;
  void visit(auto&& v) const {
    v("command", command);
    v("handle", handle);
    v("asid", asid);
    v("status", status);
  }
};

// KVM_MEMORY_ENCRYPT_REG_REGION and UNREG_REGION. `error` is the errno; 0: done.
struct RegionPinned {
  static constexpr std::string_view name = "sev_region";
  VirtAddr first;  // of the VMM's mapping
  std::uint64_t pages = 0;
  std::uint64_t pinned = 0;  // all pages of the process that are pinned now
  bool registered = false;
  std::uint32_t error = 0;
  void visit(auto&& v) const {
    v("first", first);
    v("pages", pages);
    v("pinned", pinned);
    v("registered", registered);
    v("error", error);
  }
};

// The host's software moved what a frame holds, without its owner's key.
struct FrameCopied {
  static constexpr std::string_view name = "frame_copied";
  PhysAddr from;
  PhysAddr to;
  std::uint64_t bytes = 0;
  std::string_view reason;  // "swap-in", "migration", "replay", ...
  void visit(auto&& v) const {
    v("from", from);
    v("to", to);
    v("bytes", bytes);
    v("reason", reason);
  }
};

// Page migration or swap-out of a page did not happen. `reason` is a stable word: "pinned", ...
struct PageMoveRefused {
  static constexpr std::string_view name = "page_move_refused";
  PhysAddr page;
  std::string_view what;  // "swap-out", "migration"
  std::string_view reason;
  void visit(auto&& v) const {
    v("page", page);
    v("what", what);
    v("reason", reason);
  }
};

// madvise(MADV_DONTNEED): a process gave up a page and kept the address. `pins`: a driver still holds it.
struct PageDiscarded {
  static constexpr std::string_view name = "page_discarded";
  VirtAddr at;
  PhysAddr page;
  std::uint64_t pins = 0;
  void visit(auto&& v) const {
    v("at", at);
    v("page", page);
    v("pins", pins);
  }
};

}  // namespace cbit
