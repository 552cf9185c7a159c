// What a page of memory looks like to somebody who has its 4096 bytes and nothing else: no key, no history.
//
// A guess with known error rates (docs/peek-process.md has them, and the program that measures them), unlike
// lab/views.hpp, which compares with what was written.
//
//   zeros       4096 zero bytes
//   fill        one 8-byte word over and over: poison, a cleared frame buffer
//   text        at least 90 % of the non-zero bytes are runs of 8 or more characters, ASCII or UTF-8
//   ciphertext  uniformly random by every test: encrypted, or random, or compressed so well that one page
//               cannot tell (LZMA)
//   compressed  entropy of at least `compressed_entropy`, but a test of uniformity refuses; or uniform with a
//               compressed format's marks
//   data        the rest: structures, code, numbers; also what is random with something else inside
//
// A random page is taken for something else with a probability of 1.2e-6: four tests of 2.5e-7, and the marks
// and repetitions that a random page shows by chance (2e-7).
//
// Pure; threads need no care.
#pragma once

#include <cstdint>
#include <string_view>

#include "watch/uniformity.hpp"

namespace cbit::watch {

enum class PageLooks : std::uint8_t {
  ciphertext,
  compressed,
  text,
  data,
  fill,
  zeros,
  absent,      // by the reader of a process: not in its page table, so there was nothing to read
  unreadable,  // by the reader: it is there, and cannot be read
};
inline constexpr std::size_t page_looks_count = 8;

// "ciphertext".
[[nodiscard]] std::string_view to_string(PageLooks looks);

struct PageLook {
  PageLooks looks = PageLooks::unreadable;
  double entropy = 0;     // bits per byte
  std::string_view why;   // the test that decided: "8-bit patterns", "xz magic"; empty where the name says it
  Uniformity uniformity;  // of ciphertext and compressed pages; zero for others
};

// Pages with less entropy are not called compressed.
inline constexpr double compressed_entropy = 7.5;

[[nodiscard]] PageLook look_at(PageBytes page);

}  // namespace cbit::watch
