// /proc/PID/maps from anywhere, and a range that a user names in it: both are understood or refused, and what
// is understood keeps its promises. The first line is the user's word, the rest the file.
#include <cstdlib>
#include <string_view>

#include "fuzz_input.hpp"
#include "process/access.hpp"
#include "process/range_words.hpp"
#include "process/survey.hpp"

namespace cbit {
namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

void require_sound(std::span<const process::Mapping> mappings) {
  VirtAddr end{0};
  for (const process::Mapping& mapping : mappings) {
    require(mapping.range.start >= end && mapping.range.start < mapping.range.end);
    require(mapping.range.start.is_aligned(page_size) && mapping.range.end.is_aligned(page_size));
    require(mapping.permissions().size() == 4);
    end = mapping.range.end;
  }
  for (const process::Segment& segment : process::default_segments(mappings))
    require(segment.mapping->writable);
}

void try_range(std::string_view word, std::span<const process::Mapping> mappings) {
  const auto ranges = process::resolve_range(word, mappings);
  if (!ranges) return require(ranges.error().code == ExitCode::usage && !ranges.error().hint.empty());
  for (const process::VirtRange& range : *ranges) {
    const process::VirtRange whole = process::whole_pages(range);
    require(whole.start <= range.start && range.start < range.end && range.end <= whole.end);
    VirtAddr at = whole.start;
    for (const process::Segment& segment : process::split_by_mapping(whole, mappings)) {
      require(segment.range.start == at && segment.range.end > at);
      at = segment.range.end;
    }
    require(at == whole.end);
  }
}

}  // namespace
}  // namespace cbit

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text{reinterpret_cast<const char*>(data), size};
  const std::string_view word = text.substr(0, text.find('\n'));
  text.remove_prefix(std::min(word.size() + 1, text.size()));
  static_cast<void>(cbit::process::status_field(text, word));
  const auto mappings = cbit::process::parse_maps(text);
  if (!mappings) {
    cbit::require(mappings.error().message.starts_with("line ") && !mappings.error().hint.empty());
    cbit::try_range(word, {});
    return 0;
  }
  cbit::require_sound(*mappings);
  cbit::try_range(word, *mappings);
  return 0;
}
