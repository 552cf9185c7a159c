#include "explain/tables/tables.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace cbit::explain {
namespace {

template <class T>
std::string list_of(const std::vector<T>& values) {
  std::vector<std::string_view> words;
  for (const T value : values) words.push_back(to_string(value));
  return fmt::format("{}", fmt::join(words, ", "));
}

template <class T>
OrError<void> check_has(const TableSpec& table, std::string_view option, std::optional<T> wanted,
                        const std::vector<T>& has) {
  if (!wanted || std::ranges::find(has, *wanted) != has.end()) return {};
  return usage_error(
      fmt::format("the table {} has nothing about {} {}", table.name, option, to_string(*wanted)),
      has.empty() ? fmt::format("leave out {}", option) : fmt::format("it is about {}", list_of(has)));
}

}  // namespace

std::span<const TableSpec> tables() {
  static const std::vector<TableSpec> all{rdma_table(),   ttm_table(),     mktme_table(),
                                          virtio_table(), attacks_table(), linux_versions_table()};
  return all;
}

OrError<Table> make_table(const TableSpec& table, const TableRequest& request) {
  CBIT_TRY(check_has(table, "--platform", request.platform, table.platforms));
  CBIT_TRY(check_has(table, "--kernel-version", request.version, table.versions));
  return table.make(request);
}

}  // namespace cbit::explain
