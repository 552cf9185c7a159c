#include "watch/import/trace_line.hpp"

#include <algorithm>
#include <limits>

#include "base/clock.hpp"
#include "base/text.hpp"
#include "watch/import/log_line.hpp"

namespace cbit::watch {
namespace {

// "%16s-%-5d [" is the shorter of the two beginnings: a task's name ends before.
constexpr std::size_t task_columns = 16 + 1 + 5 + 1;

bool is_name_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

// "12345.678901", in any number of decimals up to nine.
std::optional<std::uint64_t> nanoseconds(std::string_view stamp) {
  const std::size_t point = stamp.find('.');
  if (point == std::string_view::npos) return std::nullopt;
  const std::string_view decimals = stamp.substr(point + 1);
  constexpr std::size_t digits = 9;
  const auto seconds = decimal(stamp.substr(0, point));
  const auto fraction = decimal(decimals);
  if (!seconds || !fraction || decimals.size() > digits) return std::nullopt;
  if (*seconds >= std::numeric_limits<std::uint64_t>::max() / ns_per_second) return std::nullopt;
  std::uint64_t ns = *fraction;
  for (std::size_t i = decimals.size(); i < digits; ++i) ns *= 10;
  return *seconds * ns_per_second + ns;
}

// "swiotlb:swiotlb_bounced", of perf, too.
std::string_view without_system(std::string_view event) { return event.substr(event.rfind(':') + 1); }

// "[003] d.h1. 12345.678901: dma_map_page: ..."
std::optional<TraceLine> from_cpu(std::string_view text) {
  LogScanner scan{text};
  if (!scan.skip("[")) return std::nullopt;
  const auto cpu = scan.number();
  if (!cpu || *cpu > 0xffff || !scan.skip("]")) return std::nullopt;
  scan = LogScanner{trimmed(scan.rest())};
  std::string_view stamp = scan.word();
  if (!stamp.ends_with(':')) {  // the flags of trace_print_lat_fmt()
    scan = LogScanner{trimmed(scan.rest())};
    stamp = scan.word();
  }
  if (!stamp.ends_with(':')) return std::nullopt;
  stamp.remove_suffix(1);
  const auto time_ns = nanoseconds(stamp);
  scan = LogScanner{trimmed(scan.rest())};
  std::string_view event = scan.word();
  if (!time_ns || event.size() < 2 || !event.ends_with(':')) return std::nullopt;
  event.remove_suffix(1);
  return TraceLine{static_cast<unsigned>(*cpu), *time_ns, without_system(event), trimmed(scan.rest())};
}

// Where the next " word=" begins, or the end.
std::size_t end_of_value(std::string_view text) {
  for (std::size_t blank = text.find(' '); blank != std::string_view::npos;) {
    std::size_t end = blank + 1;
    while (end < text.size() && is_name_letter(text[end])) ++end;
    if (end > blank + 1 && end < text.size() && text[end] == '=') return blank;
    blank = text.find(' ', end);
  }
  return text.size();
}

}  // namespace

std::optional<TraceLine> parse_trace_line(std::string_view line) {
  constexpr std::size_t columns_max = 128;
  const std::string_view beginning = line.substr(0, columns_max);
  for (const std::size_t first : {task_columns - 1, std::size_t{0}})
    for (std::size_t at = beginning.find('[', first); at != line.npos; at = beginning.find('[', at + 1))
      if (const auto found = from_cpu(line.substr(at))) return found;
  return std::nullopt;
}

std::optional<std::uint64_t> parse_lost_events(std::string_view line) {
  LogScanner scan{trimmed(line)};
  if (!scan.skip("CPU:") || !scan.number() || !scan.skip(" [")) return std::nullopt;
  const bool of_kernel = scan.skip("LOST ");
  const std::uint64_t count = scan.number().value_or(0);
  if (count != 0) scan.skip(" ");
  return scan.rest() == (of_kernel ? "EVENTS]" : "EVENTS DROPPED]") ? std::optional{count} : std::nullopt;
}

std::optional<std::string_view> trace_field(std::string_view text, std::string_view name) {
  for (std::size_t at = text.find(name); at != std::string_view::npos; at = text.find(name, at + 1)) {
    const std::size_t end = at + name.size();
    if ((at != 0 && text[at - 1] != ' ') || end >= text.size() || text[end] != '=') continue;
    const std::string_view rest = text.substr(end + 1);
    return rest.substr(0, end_of_value(rest));
  }
  return std::nullopt;
}

std::optional<std::vector<std::uint64_t>> trace_array(std::string_view value) {
  const bool of_kernel = value.starts_with('{');
  if (of_kernel) {
    if (!value.ends_with('}')) return std::nullopt;
    value = value.substr(1, value.size() - 2);
  }
  std::vector<std::uint64_t> elements;
  while (!value.empty()) {
    const std::size_t end = std::min(value.find(of_kernel ? ',' : ' '), value.size());
    const std::string_view word = value.substr(0, end);
    const auto number = of_kernel ? hexadecimal(word) : decimal(word);
    if (!number) return std::nullopt;
    elements.push_back(*number);
    value.remove_prefix(std::min(end + 1, value.size()));
  }
  return elements;
}

}  // namespace cbit::watch
