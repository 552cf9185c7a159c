#include "process/range_words.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/text.hpp"
#include "base/words.hpp"

namespace cbit::process {
namespace {

std::optional<std::uint64_t> parse_hex(std::string_view text) {
  if (text.starts_with("0x")) text.remove_prefix(2);
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

OrError<VirtRange> checked(std::string_view word, std::uint64_t start, std::uint64_t bytes) {
  constexpr std::uint64_t end_max = ~(page_size - 1);
  if (bytes == 0) return usage_error(fmt::format("the range {} is empty", word), "give it a length");
  if (start > end_max || bytes > end_max - start)
    return usage_error(fmt::format("the range {} ends beyond the address space", word),
                       "use a shorter length");
  return VirtRange{VirtAddr{start}, VirtAddr{start + bytes}};
}

// The path without what the kernel adds when the file is unlinked.
std::string_view path_of(const Mapping& mapping) {
  constexpr std::string_view deleted = " (deleted)";
  std::string_view path = mapping.name;
  if (path.ends_with(deleted)) path.remove_suffix(deleted.size());
  return path;
}

bool is_called(const Mapping& mapping, std::string_view word) {
  const std::string_view path = path_of(mapping);
  if (path.empty()) return false;
  return mapping.name == word || path == word || path.substr(path.rfind('/') + 1) == word;
}

tl::unexpected<Error> no_range(std::string_view word, std::span<const Mapping> mappings) {
  std::vector<std::string_view> names{"largest"};
  for (const Mapping& mapping : mappings)
    if (const std::string_view path = path_of(mapping); !path.empty()) {
      names.push_back(path);
      names.push_back(path.substr(path.rfind('/') + 1));
    }
  return usage_error(
      fmt::format("\"{}\" is neither a range nor the name of a mapping", word),
      did_you_mean(word, names,
                   "use START+LENGTH (0x7f0000000000+4K), START-END as in /proc/PID/maps, \"largest\", or "
                   "a name that --ranges lists"));
}

}  // namespace

VirtRange whole_pages(const VirtRange& range) {
  return {range.start.page(), VirtAddr{align_up(range.end.value(), page_size)}};
}

OrError<std::vector<VirtRange>> resolve_range(std::string_view word, std::span<const Mapping> mappings) {
  if (word == "largest") {
    const Mapping* const largest = largest_memory(mappings);
    if (largest == nullptr)
      return usage_error("the process has no writable memory that could be the largest", "see --ranges");
    return std::vector{largest->range};
  }
  std::vector<VirtRange> named;
  for (const Mapping& mapping : mappings)
    if (is_called(mapping, word)) named.push_back(mapping.range);
  if (!named.empty()) return named;
  if (const std::size_t plus = word.find('+'); plus != word.npos) {
    const auto start = parse_number(word.substr(0, plus));
    const auto bytes = parse_size(word.substr(plus + 1));
    if (!start || !bytes) return no_range(word, mappings);
    return std::vector{CBIT_TRY(checked(word, *start, *bytes))};
  }
  const std::size_t minus = word.find('-');
  const auto start = parse_hex(word.substr(0, minus));
  const auto end = minus == word.npos ? std::nullopt : parse_hex(word.substr(minus + 1));
  if (!start || !end) return no_range(word, mappings);
  if (*end < *start)
    return usage_error(fmt::format("the range {} ends before it starts", word), "swap the two");
  return std::vector{CBIT_TRY(checked(word, *start, *end - *start))};
}

}  // namespace cbit::process
