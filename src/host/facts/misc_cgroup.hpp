// The misc controller of cgroup v2: how many encrypted guests (ASIDs) there may be, and how many there are.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "facts/host_tree.hpp"

namespace cbit::facts {

// Lines "sev 410" of misc.capacity and misc.current.
using MiscCounts = std::map<std::string, std::uint64_t, std::less<>>;
[[nodiscard]] MiscCounts parse_misc(std::string_view text);

struct MiscCgroup {
  Read<MiscCounts> capacity = tl::unexpected{Unread::absent};
  Read<MiscCounts> current = tl::unexpected{Unread::absent};

  // nullopt: the files do not tell.
  [[nodiscard]] std::optional<std::uint64_t> capacity_of(std::string_view resource) const;
  [[nodiscard]] std::optional<std::uint64_t> free_of(std::string_view resource) const;
};
// Of the root cgroup.
[[nodiscard]] MiscCgroup read_misc_cgroup(const HostTree& tree);

}  // namespace cbit::facts
