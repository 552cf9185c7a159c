// What a step `expect` can check, as a table: one row and one function per key.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "lab/experiment/names.hpp"
#include "lab/experiment/run.hpp"

namespace cbit::lab {

// What the checks of one step are about.
struct Subject {
  std::optional<std::size_t> mapping;
  std::vector<Part> mapped;  // all that the mapping covers
  std::optional<std::size_t> device;
  std::vector<Part> parts;  // the bytes looked at; of a mapping that is a scatterlist, several
  Range range;              // the same, within the mapping or buffer
  Run::Lens lens;           // how the CPU reaches the first part's buffer
};

// nullopt: as expected.
using Check = std::function<std::optional<Mismatch>(Run&)>;

// What a check needs to be told by the subject's keys.
enum class Needs : std::uint8_t { nothing, bytes, mapping, device, disk };

struct ExpectKey {
  std::string_view key;
  Needs needs{};
  OrError<Check> (*parse)(const StepParser& step, const Subject& subject, std::string_view key);
};

inline constexpr std::string_view subject_keys[] = {"mapping", "buffer", "through", "device",
                                                    "offset",  "length", "cpu"};

[[nodiscard]] std::span<const ExpectKey> byte_checks();   // who sees what
[[nodiscard]] std::span<const ExpectKey> state_checks();  // mappings, devices, kernel, explainer
[[nodiscard]] std::span<const ExpectKey> gpu_checks();    // buffer objects

// nullopt if the two words are equal.
[[nodiscard]] std::optional<Mismatch> compare(std::string_view what, std::string expected, std::string found);

// "offset  expected  found", 16 bytes a row: rows that differ, with their neighbours left out. `offset` is
// that of the first byte.
[[nodiscard]] std::string hex_diff(ConstByteSpan expected, ConstByteSpan found, std::uint64_t offset);

}  // namespace cbit::lab
