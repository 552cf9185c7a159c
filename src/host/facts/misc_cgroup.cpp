#include "facts/misc_cgroup.hpp"

#include <algorithm>

#include "base/text.hpp"

namespace cbit::facts {

MiscCounts parse_misc(std::string_view text) {
  MiscCounts counts;
  for (const std::string_view line : lines_of(text)) {
    const auto words = words_of(line);
    const auto value = words.size() == 2 ? decimal(words[1]) : std::nullopt;
    if (value) counts.insert_or_assign(printable(words[0]), *value);
  }
  return counts;
}

std::optional<std::uint64_t> MiscCgroup::capacity_of(std::string_view resource) const {
  if (!capacity) return std::nullopt;
  const auto found = capacity->find(resource);
  return found == capacity->end() ? std::nullopt : std::optional{found->second};
}

std::optional<std::uint64_t> MiscCgroup::free_of(std::string_view resource) const {
  const auto all = capacity_of(resource);
  if (!all || !current) return std::nullopt;
  const auto used = current->find(resource);
  return used == current->end() ? std::nullopt : std::optional{*all - std::min(*all, used->second)};
}

MiscCgroup read_misc_cgroup(const HostTree& tree) {
  return {.capacity = tree.read("/sys/fs/cgroup/misc.capacity").map(parse_misc),
          .current = tree.read("/sys/fs/cgroup/misc.current").map(parse_misc)};
}

}  // namespace cbit::facts
