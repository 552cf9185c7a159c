// A page from one place to another. What is read and written next comes from the caches meanwhile, which the
// C library's copy leaves to the processor: that one does not look beyond a page, and begins anew in each.
// Threading: any.
#pragma once

#include <cstddef>
#include <cstring>

#include "cbit/addr.hpp"

namespace cbit::mem {

// Both are page_size bytes, and do not overlap.
inline void copy_page(std::byte* to, const std::byte* from) {
  constexpr std::size_t line = 64, ahead = 8 * line;
  for (std::size_t at = 0; at < page_size; at += line) {
    __builtin_prefetch(from + at + ahead);
    __builtin_prefetch(to + at + ahead, 1);
    std::memcpy(to + at, from + at, line);
  }
}

}  // namespace cbit::mem
