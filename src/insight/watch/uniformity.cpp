#include "watch/uniformity.hpp"

#include <bit>
#include <cmath>
#include <vector>

namespace cbit::watch {
namespace {

constexpr double page_bits = 8.0 * page_size;

struct Test {
  double Uniformity::* statistic;
  std::string_view name;
  double freedom;
  double above;  // quantile at false_alarm
  double below;  // quantile at 1e-9; 0: there is no "too even"
};
constexpr Test tests[] = {
    {&Uniformity::bytes, "byte frequencies", 255, 385.100, 141.927},
    {&Uniformity::balance, "bit balance", 1, 26.602, 0},
    {&Uniformity::patterns4, "4-bit patterns", 8, 45.885, 0},
    {&Uniformity::patterns8, "8-bit patterns", 128, 225.160, 53.974},
};

// How often each 8-bit window of the ring of bits occurs; the windows at byte boundaries are the bytes.
ByteCounts count_windows(PageBytes page, const ByteCounts& bytes) {
  std::array<std::array<std::uint16_t, 256>, 7> shifted{};  // one each: no store waits for the one before
  unsigned next = std::to_integer<unsigned>(page[0]);
  for (std::size_t i = page_size; i-- != 0;) {
    const unsigned two = std::to_integer<unsigned>(page[i]) | next << 8;
    for (unsigned shift = 1; shift < 8; ++shift) ++shifted[shift - 1][(two >> shift) & 0xff];
    next = two & 0xff;
  }
  ByteCounts sum = bytes;
  for (const auto& counts : shifted)
    for (std::size_t value = 0; value < sum.size(); ++value) sum[value] += counts[value];
  return sum;
}

// The serial test's psi-square of `bits`-bit patterns (SP 800-22, 2.11.4), from the 8-bit windows: a shorter
// pattern is a window's low bits.
double psi_square(const ByteCounts& windows, unsigned bits) {
  ByteCounts counts{};
  const std::size_t patterns = std::size_t{1} << bits;
  for (std::size_t value = 0; value < windows.size(); ++value)
    counts[value & (patterns - 1)] += windows[value];
  double squares = 0;
  for (std::size_t pattern = 0; pattern < patterns; ++pattern)
    squares += static_cast<double>(counts[pattern]) * counts[pattern];
  return squares * static_cast<double>(patterns) / page_bits - page_bits;
}

}  // namespace

ByteCounts count_bytes(PageBytes page) {
  std::array<ByteCounts, 4> counts{};
  for (std::size_t i = 0; i < page_size; i += 4)
    for (std::size_t k = 0; k < 4; ++k) ++counts[k][std::to_integer<std::size_t>(page[i + k])];
  for (std::size_t value = 0; value < counts[0].size(); ++value)
    counts[0][value] += counts[1][value] + counts[2][value] + counts[3][value];
  return counts[0];
}

double entropy(const ByteCounts& counts) {
  static const std::vector<double> n_log_n = [] {
    std::vector<double> table(page_size + 1);
    for (std::size_t n = 1; n < table.size(); ++n)
      table[n] = static_cast<double>(n) * std::log2(static_cast<double>(n));
    return table;
  }();
  double sum = 0, total = 0;
  for (const std::uint32_t count : counts) {
    sum += n_log_n[count];
    total += count;
  }
  return total == 0 ? 0 : std::log2(total) - sum / total;
}

double byte_chi_square(const ByteCounts& counts) {
  double squares = 0;
  for (const std::uint32_t count : counts) squares += static_cast<double>(count) * count;
  return squares * 256 / page_size - page_size;
}

Uniformity Uniformity::of(PageBytes page, const ByteCounts& counts) {
  const ByteCounts windows = count_windows(page, counts);
  return {.bytes = byte_chi_square(counts),
          .balance = psi_square(windows, 1),
          .patterns4 = psi_square(windows, 4) - psi_square(windows, 3),
          .patterns8 = psi_square(windows, 8) - psi_square(windows, 7)};
}

std::string_view Uniformity::refused_by() const {
  for (const Test& test : tests) {
    const double value = this->*test.statistic;
    if (value > test.above || value < test.below) return test.name;
  }
  return {};
}

void PooledUniformity::add(const Uniformity& page) {
  ++pages_;
  for (const Test& test : tests) sums_.*test.statistic += page.*test.statistic;
}

bool PooledUniformity::refused() const {
  constexpr double deviations = 6;
  for (const Test& test : tests) {
    const double freedom = test.freedom * static_cast<double>(pages_);
    const double spread = 2 / (9 * freedom);
    const double z = (std::cbrt(sums_.*test.statistic / freedom) - (1 - spread)) / std::sqrt(spread);
    if (pages_ != 0 && z > deviations) return true;
  }
  return false;
}

}  // namespace cbit::watch
