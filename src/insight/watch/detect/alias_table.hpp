// What is mapped besides the direct map, page by page: every vmap, ioremap and process mapping that is alive.
// Threading: one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string_view>

#include "base/events.hpp"

namespace cbit::watch {

// A page's mapping, and who made it when.
struct Alias {
  std::string_view kind;  // "vmap", "ioremap", "user"
  VirtAddr at;
  bool encrypted = false;
  SiteId site = 0;
  Agent agent;
  std::uint64_t time_ns = 0;
};

class AliasTable {
 public:
  void add(const MappingAdded& mapping, Agent agent, std::uint64_t time_ns);
  // Processes use the same addresses: of several mappings of a page at one address the newest goes.
  void remove(const MappingRemoved& mapping);

  // The first page of [first, first + pages) with a mapping that has, or has not, the encryption bit.
  struct Found {
    PhysAddr page;
    Alias alias;
  };
  [[nodiscard]] std::optional<Found> find(PhysAddr first, std::uint64_t pages, bool encrypted) const;

 private:
  std::multimap<std::uint64_t, Alias> by_page_;  // of one page in the order in which they were made
};

}  // namespace cbit::watch
