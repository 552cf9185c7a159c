// Intel MKTME's KeyIDs. Part of base/events.hpp.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/ids.hpp"
#include "base/result.hpp"
#include "cbit/addr.hpp"
#include "cbit/dma_types.hpp"

namespace cbit {

// PCONFIG.MKTME_KEY_PROGRAM. `result` is RAX afterwards.
struct KeyProgrammed {
  static constexpr std::string_view name = "pconfig";
  std::uint16_t key_id = 0;
  std::string_view command;  // "set-key-direct", ...
  std::uint32_t result = 0;
  void visit(auto&& v) const {
    v("key_id", key_id);
    v("command", command);
    v("result", result);
  }
};

// encrypt_mprotect() on one VMA.
struct VmaKeyChanged {
  static constexpr std::string_view name = "encrypt_mprotect";
  VirtAddr first;
  std::uint64_t bytes = 0;
  std::uint16_t from = 0;
  std::uint16_t to = 0;
  std::uint64_t pages_zapped = 0;  // that had contents, which are lost
  void visit(auto&& v) const {
    v("first", first);
    v("bytes", bytes);
    v("from", from);
    v("to", to);
    v("pages_zapped", pages_zapped);
  }
};

// A page was given to another KeyID, with the flushes that this takes.
struct PageKeyChanged {
  static constexpr std::string_view name = "page_key";
  PhysAddr page;
  std::uint16_t from = 0;
  std::uint16_t to = 0;
  SiteId site = 0;
  void visit(auto&& v) const {
    v("page", page);
    v("from", from);
    v("to", to);
    v("site", site);
  }
};

// A system call about keys or encrypted memory was refused. `reason` is a stable word.
struct KeyRequestRefused {
  static constexpr std::string_view name = "key_refused";
  std::string_view call;    // "add_key", "encrypt_mprotect", ...
  std::uint32_t error = 0;  // errno
  std::string_view reason;
  void visit(auto&& v) const {
    v("call", call);
    v("error", error);
    v("reason", reason);
  }
};

}  // namespace cbit
