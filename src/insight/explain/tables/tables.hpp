// The tables, one per file of this folder.
#pragma once

#include <algorithm>
#include <functional>
#include <type_traits>
#include <vector>

#include "explain/table.hpp"

namespace cbit::explain {

[[nodiscard]] TableSpec rdma_table();
[[nodiscard]] TableSpec ttm_table();
[[nodiscard]] TableSpec mktme_table();
[[nodiscard]] TableSpec virtio_table();
[[nodiscard]] TableSpec attacks_table();
[[nodiscard]] TableSpec linux_versions_table();

// What a table's rows have in a member, each once, in their order: its platforms, or its versions.
template <class Rows, class Member>
[[nodiscard]] auto each_once(const Rows& rows, Member member) {
  std::vector<std::remove_cvref_t<decltype(std::invoke(member, *std::begin(rows)))>> values;
  for (const auto& row : rows)
    if (const auto& value = std::invoke(member, row); std::ranges::find(values, value) == values.end())
      values.push_back(value);
  return values;
}

}  // namespace cbit::explain
