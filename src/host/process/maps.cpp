#include "process/maps.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

namespace cbit::process {
namespace {

// The fields of one line, from left to right; every take fails once one has failed.
class Fields {
 public:
  explicit Fields(std::string_view line) : rest_{line} {}

  template <class T>
  T number(int base, char end) {
    T value{};
    const auto [stop, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value, base);
    good_ = good_ && error == std::errc{};
    rest_.remove_prefix(static_cast<std::size_t>(stop - rest_.data()));
    expect(end);
    return value;
  }
  std::string_view word(char end) {
    const std::string_view found = rest_.substr(0, rest_.find(end));
    good_ = good_ && !found.empty();
    rest_.remove_prefix(found.size());
    expect(end);
    return found;
  }
  bool flag(char set, char clear) {
    const char c = rest_.empty() ? '\0' : rest_.front();
    good_ = good_ && (c == set || c == clear);
    rest_.remove_prefix(rest_.empty() ? 0 : 1);
    return c == set;
  }
  void expect(char c) {
    good_ = good_ && rest_.starts_with(c);
    rest_.remove_prefix(rest_.empty() ? 0 : 1);
  }
  // The inode is the last field of a mapping without a name; blanks may follow it.
  std::uint64_t inode() {
    std::uint64_t value = 0;
    const auto [stop, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value);
    good_ = good_ && error == std::errc{};
    rest_.remove_prefix(static_cast<std::size_t>(stop - rest_.data()));
    good_ = good_ && (rest_.empty() || rest_.front() == ' ');
    return value;
  }
  std::string_view name() {
    rest_.remove_prefix(std::min(rest_.find_first_not_of(' '), rest_.size()));
    return rest_;
  }
  [[nodiscard]] bool good() const { return good_; }

 private:
  std::string_view rest_;
  bool good_ = true;
};

std::optional<Mapping> parse_line(std::string_view line) {
  Fields fields{line};
  Mapping mapping;
  mapping.range.start = VirtAddr{fields.number<std::uint64_t>(16, '-')};
  mapping.range.end = VirtAddr{fields.number<std::uint64_t>(16, ' ')};
  mapping.readable = fields.flag('r', '-');
  mapping.writable = fields.flag('w', '-');
  mapping.executable = fields.flag('x', '-');
  mapping.shared = fields.flag('s', 'p');
  fields.expect(' ');
  mapping.file_offset = fields.number<std::uint64_t>(16, ' ');
  mapping.device = fields.word(' ');
  mapping.inode = fields.inode();
  mapping.name = fields.name();
  const bool sound = fields.good() && mapping.range.start < mapping.range.end &&
                     mapping.range.start.is_aligned(page_size) && mapping.range.end.is_aligned(page_size);
  return sound ? std::optional{std::move(mapping)} : std::nullopt;
}

bool begins_with_any(std::string_view text, std::initializer_list<std::string_view> starts) {
  return std::ranges::any_of(starts, [&](std::string_view start) { return text.starts_with(start); });
}

}  // namespace

MappingKind Mapping::kind() const {
  if (name.empty() || begins_with_any(name, {"[heap]", "[stack", "[anon"})) return MappingKind::anonymous;
  if (name.front() == '[') return MappingKind::special;
  if (begins_with_any(
          name, {"/memfd:", "/dev/shm/", "/dev/zero (deleted)", "/dev/hugepages", "/SYSV", "/anon_hugepage"}))
    return MappingKind::shared_memory;
  // UIO and VFIO map BARs; so does sysfs (PCI's resourceN). Their pages can be registers.
  if (begins_with_any(name, {"/dev/", "/sys/", "/proc/", "anon_inode:[vfio"})) return MappingKind::device;
  return MappingKind::file;
}

std::string Mapping::permissions() const {
  return {readable ? 'r' : '-', writable ? 'w' : '-', executable ? 'x' : '-', shared ? 's' : 'p'};
}

OrError<std::vector<Mapping>> parse_maps(std::string_view text) {
  std::vector<Mapping> mappings;
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    auto mapping = parse_line(line);
    const bool ascends = mapping && (mappings.empty() || mappings.back().range.end <= mapping->range.start);
    if (!ascends)
      return bad_input(fmt::format("line {} of the process's maps is not of the format of proc(5)", number),
                       "the kernel writes \"start-end rwxp offset major:minor inode name\", in order");
    mappings.push_back(*std::move(mapping));
  }
  return mappings;
}

std::vector<Segment> split_by_mapping(const VirtRange& range, std::span<const Mapping> mappings) {
  std::vector<Segment> segments;
  VirtAddr at = range.start;
  const auto cut = [&](VirtAddr end, const Mapping* mapping) {
    if (at < end) segments.push_back({{at, end}, mapping});
    at = std::max(at, end);
  };
  for (const Mapping& mapping : mappings) {
    if (mapping.range.end <= at) continue;
    if (mapping.range.start >= range.end) break;
    cut(std::min(mapping.range.start, range.end), nullptr);
    cut(std::min(mapping.range.end, range.end), &mapping);
  }
  cut(range.end, nullptr);
  return segments;
}

const Mapping* largest_memory(std::span<const Mapping> mappings) {
  const Mapping* largest = nullptr;
  for (const Mapping& mapping : mappings) {
    const MappingKind kind = mapping.kind();
    const bool memory = kind == MappingKind::anonymous || kind == MappingKind::shared_memory;
    if (!memory || !mapping.writable || mapping.executable) continue;
    if (largest == nullptr || mapping.range.bytes() > largest->range.bytes()) largest = &mapping;
  }
  return largest;
}

}  // namespace cbit::process
