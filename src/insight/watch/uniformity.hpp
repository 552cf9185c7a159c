// Are 4096 bytes uniformly random, as a page of ciphertext is to whoever lacks the key?
//
// Four statistics, each chi-square distributed when they are (Knuth, TAOCP vol. 2, 3.3.1; NIST SP 800-22,
// 2.1 and 2.11), with these degrees of freedom:
//
//   bytes      255   Pearson's chi-square of the 256 byte values
//   balance      1   ones against zeros
//   patterns4    8   overlapping 4-bit patterns, the serial test's first difference
//   patterns8  128   overlapping 8-bit patterns, likewise
//
// Bits are taken from the least significant on, as DEFLATE and Zstandard write them, and the page is a ring.
// The overlapping tests see prefix codes, which do not respect bytes. The thresholds are the quantiles at
// `false_alarm` each; `bytes` and `patterns8` are also refused when they are too even, at 1e-9.
//
// Neighbouring pages can be judged together: sums of chi-square are chi-square. A deviation that one page
// hides shows over many.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/bytes.hpp"
#include "cbit/addr.hpp"

namespace cbit::watch {

using PageBytes = std::span<const std::byte, page_size>;

// How often each byte value occurs in a page.
using ByteCounts = std::array<std::uint32_t, 256>;
[[nodiscard]] ByteCounts count_bytes(PageBytes page);

// Shannon's, of order 0, in bits per byte: 0 to 8. Of at most a page; a random one has 7.95.
[[nodiscard]] double entropy(const ByteCounts& counts);

struct Uniformity {
  static constexpr double false_alarm = 2.5e-7;  // of each test, on a random page

  double bytes = 0;
  double balance = 0;
  double patterns4 = 0;
  double patterns8 = 0;

  // Of a page whose bytes have been counted.
  static Uniformity of(PageBytes page, const ByteCounts& counts);

  // The first test that refuses: "byte frequencies", "bit balance", "4-bit patterns", "8-bit patterns"; empty
  // if all accept.
  [[nodiscard]] std::string_view refused_by() const;
};

// Pearson's chi-square of the byte values alone, which is cheap.
[[nodiscard]] double byte_chi_square(const ByteCounts& counts);

// The sums over several pages.
class PooledUniformity {
 public:
  void add(const Uniformity& page);
  [[nodiscard]] std::uint64_t pages() const { return pages_; }
  // Whether a sum is beyond 6 standard deviations (about 1e-9), by Wilson and Hilferty's approximation.
  [[nodiscard]] bool refused() const;

 private:
  std::uint64_t pages_ = 0;
  Uniformity sums_;
};

}  // namespace cbit::watch
