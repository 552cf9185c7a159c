#include "base/words.hpp"

#include <charconv>
#include <limits>

#include "base/enumerators.hpp"
#include "cbit/dma_types.hpp"
#include "cbit/gpu_policy.hpp"
#include "cbit/kernel_config.hpp"
#include "cbit/platform.hpp"

namespace cbit {

// An enumerator without a word cannot be chosen.
static_assert(std::size(platform_words) == enumerators<Platform>());
static_assert(std::size(kernel_version_words) == enumerators<KernelVersion>());
static_assert(std::size(kernel_version_baselines) == enumerators<KernelVersion>());
static_assert(std::size(iommu_mode_words) == enumerators<IommuMode>());
static_assert(std::size(dma_path_words) == enumerators<DmaPath>());
static_assert(std::size(ttm_policy_words) == enumerators<TtmPolicy>());
static_assert(std::size(ttm_placement_words) == enumerators<TtmPlacement>());

std::optional<std::uint64_t> parse_number(std::string_view text) {
  int base = 10;
  if (text.starts_with("0x") || text.starts_with("0X")) {
    base = 16;
    text.remove_prefix(2);
  }
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<std::uint64_t> parse_size(std::string_view text) {
  static constexpr std::string_view suffixes = "KMGT";
  unsigned shift = 0;
  if (!text.empty()) {
    const char last = static_cast<char>(text.back() >= 'a' ? text.back() - 'a' + 'A' : text.back());
    if (const auto at = suffixes.find(last); at != std::string_view::npos && !text.starts_with("0x")) {
      shift = 10 * static_cast<unsigned>(at + 1);
      text.remove_suffix(1);
    }
  }
  const auto value = parse_number(text);
  if (!value || *value > std::numeric_limits<std::uint64_t>::max() >> shift) return std::nullopt;
  return *value << shift;
}

}  // namespace cbit
