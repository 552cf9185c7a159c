// Graphics buffers. Part of base/events.hpp.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/ids.hpp"
#include "base/result.hpp"
#include "cbit/addr.hpp"
#include "cbit/dma_types.hpp"

namespace cbit {

// ttm_tt_populate(): a buffer object got system pages.
struct TtPopulated {
  static constexpr std::string_view name = "ttm_populate";
  NameId device = 0;
  std::uint64_t pages = 0;
  std::string_view caching;  // "cached", "write-combined", "uncached"
  bool dma_alloc = false;    // from dma_alloc_attrs(), not from the page allocator and dma_map_page()
  bool decrypted = false;    // TTM_TT_FLAG_DECRYPTED
  void visit(auto&& v) const {
    v("device", device);
    v("pages", pages);
    v("caching", caching);
    v("dma_alloc", dma_alloc);
    v("decrypted", decrypted);
  }
};

// A buffer object moved between placements: "system", "tt", "vram".
struct BoMoved {
  static constexpr std::string_view name = "ttm_move";
  NameId device = 0;
  std::uint64_t bytes = 0;
  std::string_view from;
  std::string_view to;
  void visit(auto&& v) const {
    v("device", device);
    v("bytes", bytes);
    v("from", from);
    v("to", to);
  }
};

}  // namespace cbit
