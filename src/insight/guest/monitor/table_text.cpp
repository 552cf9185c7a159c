#include "guest/monitor/table_text.hpp"

#include <fmt/format.h>

#include <iterator>

namespace cbit::guest {
namespace {

using Mapped = Inspector::Mapped;
using paging::Pte;

std::string with_word(std::string line, std::string_view word) {
  if (!word.empty()) line += fmt::format(" {}", word);
  return line + '\n';
}

std::string_view ending(Inspector::Walked walked) {
  switch (walked) {
    case Inspector::Walked::whole: return "";
    case Inspector::Walked::stopped: return "... there is more: ask for more lines\n";
    case Inspector::Walked::too_large: return "... the tables go on, as if without end\n";
  }
  return "";
}

// Neighbours with the same rights and the same key bits.
struct Range {
  std::uint64_t first = 0;
  std::uint64_t bytes = 0;
  paging::PageFlags flags;
  mem::KeySelector selector = 0;

  [[nodiscard]] bool takes(const Mapped& page) const {
    return bytes != 0 && first + bytes == page.at.value() && flags.user == page.flags.user &&
           flags.writable == page.flags.writable && selector == page.selector;
  }
};

std::string range_line(const Inspector& inspector, const Range& range) {
  return with_word(fmt::format("{:016x}-{:016x} {:016x} {}r{}", range.first, range.first + range.bytes,
                               range.bytes, range.flags.user ? 'u' : '-', range.flags.writable ? 'w' : '-'),
                   inspector.mapping_word(range.selector));
}

std::string page_line(const Inspector& inspector, const Mapped& page) {
  struct Letter {
    std::uint64_t bit;
    char letter;
  };
  // A PTE has its PAT bit where a larger page says that it is one.
  const std::uint64_t large = page.bytes > page_size ? Pte::PageSize::mask << Pte::PageSize::shift : 0;
  const auto bit = [](auto field) { return decltype(field)::mask << decltype(field)::shift; };
  const Letter letters[] = {
      {bit(Pte::NoExecute{}), 'X'},    {bit(Pte::Global{}), 'G'},   {large, 'P'},
      {bit(Pte::Dirty{}), 'D'},        {bit(Pte::Accessed{}), 'A'}, {bit(Pte::CacheDisable{}), 'C'},
      {bit(Pte::WriteThrough{}), 'T'}, {bit(Pte::User{}), 'U'},     {bit(Pte::Writable{}), 'W'}};
  std::string flags;
  for (const auto& [mask, letter] : letters) flags += (page.entry & mask) != 0 ? letter : '-';
  return with_word(fmt::format("{:016x}: {:016x} {}", page.at.value(), page.phys.value(), flags),
                   inspector.mapping_word(page.selector));
}

}  // namespace

std::string mapped_ranges_text(const Inspector& inspector, std::size_t lines_max) {
  std::string text;
  std::size_t lines = 0;
  Range range;
  const auto walked = inspector.for_each_mapped(VirtAddr{0}, [&](const Mapped& page) {
    if (range.takes(page)) {
      range.bytes += page.bytes;
      return true;
    }
    if (range.bytes != 0) {
      text += range_line(inspector, range);
      if (++lines == lines_max) return false;
    }
    range = {page.at.value(), page.bytes, page.flags, page.selector};
    return true;
  });
  if (walked != Inspector::Walked::stopped && range.bytes != 0) text += range_line(inspector, range);
  return text + std::string{ending(walked)};
}

std::string mapped_pages_text(const Inspector& inspector, VirtAddr from, std::size_t lines_max) {
  std::string text;
  std::size_t lines = 0;
  const auto walked = inspector.for_each_mapped(from, [&](const Mapped& page) {
    if (lines++ == lines_max) return false;
    text += page_line(inspector, page);
    return true;
  });
  return text + std::string{ending(walked)};
}

}  // namespace cbit::guest
