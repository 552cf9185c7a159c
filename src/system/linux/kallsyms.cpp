#include "linux/kallsyms.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <functional>
#include <string>

#include "linux/parts.hpp"

namespace cbit::linux {
namespace {

constexpr std::size_t tokens = 256;
constexpr std::size_t names_per_marker = 256;
constexpr std::size_t name_chars_max = 1024;  // KSYM_NAME_LEN is 512, and 128 in old kernels
constexpr std::size_t names_max = 1 << 24;    // seqs_of_names has 3 bytes for an index
// Bytes between two markers: at least a length, a type and a letter each; at most long names.
constexpr std::uint32_t marker_step_min = 3 * names_per_marker;
constexpr std::uint32_t marker_step_max = 600 * names_per_marker;
// Hostile files may be all candidates: so many are tried before the search gives up.
constexpr std::uint64_t places_tried_max = 1 << 24;
constexpr std::uint64_t entries_walked_max = 1 << 26;

std::uint32_t u32_at(ConstByteSpan bytes, std::size_t at) { return load<std::uint32_t>(bytes, at); }

// ---- tokens ----------------------------------------------------------------------------------------------

// kallsyms_token_table: 256 texts; kallsyms_token_index: where each begins.
struct Tokens {
  std::size_t start = 0;
  std::size_t index = 0;
  std::array<std::string_view, tokens> texts;
};

std::size_t align_in(std::size_t at, std::size_t alignment) {
  return (at + alignment - 1) / alignment * alignment;
}

std::optional<Tokens> tokens_at(ConstByteSpan segment, std::size_t start) {
  Tokens found{.start = start};
  std::array<std::uint16_t, tokens> offsets{};
  std::size_t at = start;
  for (std::size_t i = 0; i < tokens; ++i) {
    if (at - start > 0xffff) return std::nullopt;
    const auto text = text_at(segment, at);
    if (!text || text->empty() || text->size() > name_chars_max) return std::nullopt;
    found.texts[i] = *text;
    offsets[i] = static_cast<std::uint16_t>(at - start);
    at += text->size() + 1;
  }
  const std::string_view wanted = as_text(std::as_bytes(std::span{offsets}));
  for (found.index = align_in(at, 4); found.index < at + 64; found.index += 4) {
    const auto there = part(segment, found.index, wanted.size());
    if (there && as_text(*there) == wanted) return found;
  }
  return std::nullopt;
}

// From the token "0" back to the first. What precedes the table is no text, so that only its alignment tells
// where token 0 begins.
std::optional<Tokens> tokens_around(ConstByteSpan segment, std::size_t digit_zero) {
  const std::string_view text = as_text(segment);
  std::size_t first = digit_zero;  // of token 1, after the loop
  for (unsigned i = '0'; i > 1; --i) {
    if (first < 2) return std::nullopt;
    const std::size_t before = text.rfind('\0', first - 2);
    if (before == text.npos || first - before > name_chars_max) return std::nullopt;
    first = before + 1;
  }
  const std::size_t end = first - 1;  // of token 0
  if (end == 0) return std::nullopt;
  for (std::size_t start = (end - 1) / 4 * 4; end - start <= name_chars_max; start -= 4) {
    if (text.substr(start, end - start).find('\0') != text.npos) break;
    if (auto found = tokens_at(segment, start)) return found;
    if (start == 0) break;
  }
  return std::nullopt;
}

// ---- names -----------------------------------------------------------------------------------------------

struct NameList {
  std::size_t count = 0;
  std::size_t start = 0;     // kallsyms_names
  std::size_t count_at = 0;  // kallsyms_num_syms
};

struct Budget {
  std::uint64_t places = places_tried_max;
  std::uint64_t entries = entries_walked_max;
};

// One entry: its tokens, and where the next begins. A length of 128 and more takes two bytes.
struct NameEntry {
  ConstByteSpan tokens;
  std::size_t next = 0;
};

std::optional<NameEntry> name_entry(ConstByteSpan segment, std::size_t at) {
  const auto low = load_part<std::uint8_t>(segment, at);
  if (!low) return std::nullopt;
  std::size_t length = *low, head = 1;
  if (*low >= 0x80) {
    const auto high = load_part<std::uint8_t>(segment, at + 1);
    if (!high) return std::nullopt;
    length = (*low & 0x7fu) | std::size_t{*high} << 7;
    head = 2;
  }
  const auto bytes = part(segment, at + head, length);
  if (!bytes || length == 0) return std::nullopt;
  return NameEntry{*bytes, at + head + length};
}

bool names_agree(ConstByteSpan segment, const NameList& list, std::size_t markers, Budget& budget) {
  std::size_t at = list.start;
  for (std::size_t i = 0; i < list.count; ++i) {
    if (i % names_per_marker == 0 && u32_at(segment, markers + i / names_per_marker * 4) != at - list.start)
      return false;
    if (budget.entries-- == 0) return false;
    const auto entry = name_entry(segment, at);
    if (!entry || entry->next > markers) return false;
    at = entry->next;
  }
  return true;
}

// How many words from `at` on rise as markers do, beginning with 0.
std::size_t markers_from(ConstByteSpan segment, std::size_t at, std::size_t end) {
  std::size_t count = 1;
  for (std::uint32_t last = 0; at + count * 4 + 4 <= end; ++count) {
    const std::uint32_t next = u32_at(segment, at + count * 4);
    if (next < last + std::uint64_t{marker_step_min} || next - last > marker_step_max) break;
    last = next;
  }
  return count;
}

// The count of names, which is a word of its own or, padded, of eight bytes right before them.
std::optional<NameList> list_before(ConstByteSpan segment, std::size_t start, std::size_t markers_max) {
  for (const std::size_t distance : {4, 8}) {
    if (start < distance) continue;
    const NameList list{u32_at(segment, start - distance), start, start - distance};
    if (distance == 8 && u32_at(segment, start - 4) != 0) continue;
    const std::size_t wanted = (list.count + names_per_marker - 1) / names_per_marker;
    if (list.count > 0 && list.count < names_max && wanted + 2 >= markers_max && wanted <= markers_max)
      return list;
  }
  return std::nullopt;
}

// The names that these markers mark: they end right before them, so that the last marker says about where
// they begin. Chance may have added a word or two to the markers.
std::optional<NameList> names_before(ConstByteSpan segment, std::size_t markers, std::size_t count,
                                     Budget& budget) {
  const std::size_t last_max = u32_at(segment, markers + (count - 1) * 4);
  const std::size_t last_min = u32_at(segment, markers + (count - std::min<std::size_t>(count, 3)) * 4);
  const std::size_t slack = names_per_marker * name_chars_max;
  if (markers < last_min) return std::nullopt;
  const std::size_t highest = (markers - last_min) / 4 * 4;
  const std::size_t lowest = markers > last_max + slack ? markers - last_max - slack : 0;
  for (std::size_t start = highest; start > lowest; start -= 4) {
    if (budget.places-- == 0) return std::nullopt;
    const auto list = list_before(segment, start, count);
    if (list && names_agree(segment, *list, markers, budget)) return list;
  }
  return std::nullopt;
}

std::optional<NameList> find_names(ConstByteSpan segment, std::size_t tokens_start, Budget& budget) {
  for (std::size_t at = tokens_start / 4 * 4; at >= 4 && budget.places > 0 && budget.entries > 0; at -= 4) {
    if (u32_at(segment, at - 4) != 0) continue;
    const std::size_t count = markers_from(segment, at - 4, tokens_start);
    if (count < 2) continue;
    if (auto list = names_before(segment, at - 4, count, budget)) return list;
  }
  return std::nullopt;
}

// ---- addresses -------------------------------------------------------------------------------------------

bool in_kernel_map(VirtAddr at) { return at >= kernel_map_start && at - kernel_map_start < kernel_map_bytes; }

// Offsets to a base that stands beside them. Up to 6.14, where symbols of per-CPU data have small absolute
// addresses, negative ones are relative, and the others are addresses.
std::optional<std::vector<VirtAddr>> relative_to_base(ConstByteSpan offsets,
                                                      std::optional<std::uint64_t> base, bool with_absolute) {
  if (!base || !in_kernel_map(VirtAddr{*base})) return std::nullopt;
  std::vector<VirtAddr> addresses;
  for (std::size_t at = 0; at < offsets.size(); at += 4) {
    const auto offset = load<std::int32_t>(offsets, at);
    const std::uint64_t apart =
        with_absolute ? -1 - std::int64_t{offset} : static_cast<std::uint32_t>(offset);
    const bool absolute = with_absolute && offset >= 0;
    addresses.emplace_back(absolute ? static_cast<std::uint64_t>(offset) : *base + apart);
    if (!absolute && !in_kernel_map(addresses.back())) return std::nullopt;
  }
  if (addresses.empty() || !in_kernel_map(addresses.back())) return std::nullopt;
  return std::ranges::is_sorted(addresses) ? std::optional{std::move(addresses)} : std::nullopt;
}

// 7.x: each offset counts from its own place.
std::optional<std::vector<VirtAddr>> relative_to_place(ConstByteSpan offsets, VirtAddr place) {
  std::vector<VirtAddr> addresses;
  for (std::size_t at = 0; at < offsets.size(); at += 4) {
    const auto offset = static_cast<std::uint64_t>(std::int64_t{load<std::int32_t>(offsets, at)});
    addresses.push_back(place + at + offset);
    if (!in_kernel_map(addresses.back())) return std::nullopt;
  }
  return std::ranges::is_sorted(addresses) ? std::optional{std::move(addresses)} : std::nullopt;
}

// 6.1: offsets, base, count, names …; 6.4: … token index, offsets, base; 7.x: … token index, offsets.
std::optional<std::vector<VirtAddr>> find_addresses(ConstByteSpan segment, VirtAddr segment_at,
                                                    const NameList& names, const Tokens& found) {
  const std::size_t bytes = names.count * 4;
  const std::size_t behind = found.index + tokens * sizeof(std::uint16_t);
  for (const bool with_absolute : {true, false}) {
    const std::size_t after = align_in(behind, 8);
    if (const auto offsets = part(segment, after, bytes))
      if (auto addresses = relative_to_base(
              *offsets, load_part<std::uint64_t>(segment, align_in(after + bytes, 8)), with_absolute))
        return addresses;
    const std::size_t base_at = names.count_at - sizeof(std::uint64_t);
    if (names.count_at >= sizeof(std::uint64_t) && base_at >= align_in(bytes, 8))
      if (auto addresses = relative_to_base(segment.subspan(base_at - align_in(bytes, 8), bytes),
                                            load_part<std::uint64_t>(segment, base_at), with_absolute))
        return addresses;
  }
  const std::size_t here = align_in(behind, 4);
  const auto offsets = part(segment, here, bytes);
  return offsets ? relative_to_place(*offsets, segment_at + here) : std::nullopt;
}

// ---- the table -------------------------------------------------------------------------------------------

std::optional<SymbolTable> expand(ConstByteSpan segment, const NameList& names, const Tokens& found,
                                  const std::vector<VirtAddr>& addresses) {
  SymbolTable table;
  table.reserve(names.count, names.count * 32);
  std::size_t at = names.start;
  std::string text;
  for (const VirtAddr address : addresses) {
    const auto entry = name_entry(segment, at);
    if (!entry) return std::nullopt;
    text.clear();
    for (const std::byte token : entry->tokens) {
      text += found.texts[std::to_integer<std::size_t>(token)];
      if (text.size() > name_chars_max) return std::nullopt;
    }
    table.add(address, text.front(), std::string_view{text}.substr(1));
    at = entry->next;
  }
  table.finish();
  return table;
}

}  // namespace

std::optional<SymbolTable> find_kallsyms(ConstByteSpan segment, VirtAddr at) {
  using namespace std::string_view_literals;
  constexpr std::string_view digits = "\0000\0001\0002\0003\0004\0005\0006\0007\0008\0009\0"sv;
  const std::string_view text = as_text(segment);
  // Looks at few of a segment's bytes, most of which are zeros, as the first of these is.
  const std::boyer_moore_horspool_searcher searcher{digits.begin(), digits.end()};
  Budget budget;
  for (auto hit = std::search(text.begin(), text.end(), searcher); hit != text.end();
       hit = std::search(hit + 1, text.end(), searcher)) {
    const auto found = tokens_around(segment, static_cast<std::size_t>(hit - text.begin()) + 1);
    if (!found) continue;
    const auto names = find_names(segment, found->start, budget);
    if (!names) continue;
    const auto addresses = find_addresses(segment, at, *names, *found);
    if (!addresses) continue;
    if (auto table = expand(segment, *names, *found, *addresses)) return table;
  }
  return std::nullopt;
}

OrError<SymbolTable> read_kallsyms(const KernelImage& image, std::string_view name) {
  for (const ElfPart& segment : image.elf().segments())
    if (auto table = find_kallsyms(segment.bytes, segment.at)) return *std::move(table);
  return bad_input(fmt::format("{} has no table of symbols", name),
                   "build it with CONFIG_KALLSYMS and CONFIG_KALLSYMS_ALL, or take Debian's kernel");
}

}  // namespace cbit::linux
