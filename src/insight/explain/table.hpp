// Tables that a run of many machines gives, and the ones that `cbit table` makes.
//
// Every cell comes from bytes, keys and counters of a machine of its own; nothing is looked up. The same seed
// gives the same table. docs/tables holds a copy of each, which a test compares with a fresh one.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "cbit/kernel_config.hpp"
#include "cbit/platform.hpp"

namespace cbit::explain {

struct Table {
  std::vector<std::string> columns;
  std::vector<std::vector<std::string>> rows;  // as long as `columns`
  std::vector<std::string> notes;              // sentences below it
};

enum class TableFormat : std::uint8_t { text, json, markdown };

// Text: a blank line where the first column changes; within `columns` of a terminal where they are given.
// JSON: an object per row, keyed by the columns.
[[nodiscard]] std::string render(const Table& table, TableFormat format,
                                 std::optional<std::size_t> columns = std::nullopt);

// What of a table is asked for; nothing given: all of it.
struct TableRequest {
  std::uint64_t seed = 1;
  std::optional<Platform> platform;
  std::optional<KernelVersion> version;

  [[nodiscard]] bool wants(Platform of) const { return platform.value_or(of) == of; }
  [[nodiscard]] bool wants(KernelVersion of) const { return version.value_or(of) == of; }
};

struct TableSpec {
  std::string_view name;                // argument of `cbit table`
  std::string_view title;               // what question it answers, one sentence
  std::vector<Platform> platforms;      // that it has rows or columns about, each once
  std::vector<KernelVersion> versions;  // that it compares; empty: none
  OrError<Table> (*make)(const TableRequest& request);
};

// One per file of explain/tables.
[[nodiscard]] std::span<const TableSpec> tables();

// Runs only what is asked for. Error (usage): the table has nothing about it.
[[nodiscard]] OrError<Table> make_table(const TableSpec& table, const TableRequest& request);

}  // namespace cbit::explain
