#include "facts/memory.hpp"

#include <algorithm>

#include "base/text.hpp"

namespace cbit::facts {
namespace {

constexpr std::string_view system_ram = "System RAM";

// "start", "end" and "type" of one entry, each a file.
std::optional<MemoryRange> read_firmware_entry(const HostTree& tree, const std::string& folder) {
  const auto first = tree.read(folder + "/start"), last = tree.read(folder + "/end"),
             type = tree.read(folder + "/type");
  if (!first || !last || !type) return std::nullopt;
  const auto from = hexadecimal(trimmed(*first)), to = hexadecimal(trimmed(*last));
  if (!from || !to || *to < *from) return std::nullopt;
  return MemoryRange{*from, *to, printable(*type)};
}

std::vector<MemoryRange> read_firmware_map(const HostTree& tree) {
  std::vector<MemoryRange> ranges;
  const auto entries = tree.list("/sys/firmware/memmap");
  for (const std::string& entry : entries.value_or(std::vector<std::string>{}))
    if (auto range = read_firmware_entry(tree, "/sys/firmware/memmap/" + entry))
      ranges.push_back(std::move(*range));
  return ranges;
}

}  // namespace

std::optional<std::uint64_t> parse_meminfo(std::string_view text) {
  for (const std::string_view line : lines_of(text)) {
    const auto words = words_of(line);
    if (words.size() < 2 || words[0] != "MemTotal:") continue;
    const auto kib = decimal(words[1]);
    if (!kib || *kib > ~std::uint64_t{0} >> 10) return std::nullopt;
    return *kib << 10;
  }
  return std::nullopt;
}

std::vector<MemoryRange> parse_iomem(std::string_view text) {
  std::vector<MemoryRange> ranges;
  for (const std::string_view line : lines_of(text)) {
    if (line.starts_with(' ')) continue;
    const std::size_t dash = line.find('-'), colon = line.find(" : ");
    if (dash == std::string_view::npos || colon == std::string_view::npos || colon < dash) continue;
    const auto first = hexadecimal(line.substr(0, dash));
    const auto last = hexadecimal(line.substr(dash + 1, colon - dash - 1));
    if (!first || !last || *last <= *first) continue;
    ranges.push_back({*first, *last, printable(line.substr(colon + 3))});
  }
  return ranges;
}

std::optional<std::uint64_t> MemoryFacts::ram() const {
  std::uint64_t bytes = 0;
  if (ranges)
    for (const MemoryRange& range : *ranges)
      if (range.kind == system_ram) bytes += range.last - range.first + 1;
  return bytes != 0 ? std::optional{bytes} : total;
}

std::optional<bool> MemoryFacts::above_4g() const {
  if (ranges)
    return std::ranges::any_of(
        *ranges, [](const MemoryRange& range) { return range.kind == system_ram && range.last >> 32 != 0; });
  // Below 4 GiB some of the addresses are devices'.
  if (total && *total >= std::uint64_t{4} << 30) return true;
  return std::nullopt;
}

MemoryFacts read_memory(const HostTree& tree) {
  MemoryFacts memory;
  if (const auto text = tree.read("/proc/meminfo")) memory.total = parse_meminfo(*text);
  memory.ranges_path = "/proc/iomem";
  memory.ranges = tree.read("/proc/iomem").map(parse_iomem);
  if (!memory.ranges || memory.ranges->empty()) {
    if (auto map = read_firmware_map(tree); !map.empty()) {
      memory.ranges_path = "/sys/firmware/memmap";
      memory.ranges = std::move(map);
    } else if (memory.ranges) {
      memory.ranges = tl::unexpected{Unread::denied};
    }
  }
  memory.nvdimms = tree.list("/sys/bus/nd/devices").value_or(std::vector<std::string>{});
  return memory;
}

}  // namespace cbit::facts
