#include "isa/table.hpp"

#include <unordered_map>

#include "base/assert.hpp"
#include "isa/decode.hpp"

namespace cbit::isa {
namespace {

// Rows of a mnemonic stand together: [first, first + count).
struct Span {
  std::uint16_t first = 0;
  std::uint16_t count = 0;
};

struct Index {
  std::vector<Row> rows;
  std::vector<Span> by_mnemonic;
};

std::vector<Row> gather() {
  std::vector<Row> rows;
  for (const auto part : {arithmetic_rows(), shift_rows(), move_rows(), branch_rows(), string_rows(),
                          system_rows(), sse_rows(), x87_rows()})
    rows.insert(rows.end(), part.begin(), part.end());
  return rows;
}

Index build() {
  std::unordered_map<std::string_view, std::uint16_t> numbers;
  for (std::uint16_t number = 0; number < mnemonic_count(); ++number)
    numbers.emplace(mnemonic_name(number), number);

  std::vector<std::vector<Row>> sorted(mnemonic_count());
  for (const Row& row : gather()) {
    const auto number = numbers.find(row.mnemonic);
    CBIT_ASSERT(number != numbers.end());
    sorted[number->second].push_back(row);
  }
  Index index;
  for (const auto& rows : sorted) {
    index.by_mnemonic.push_back(
        {static_cast<std::uint16_t>(index.rows.size()), static_cast<std::uint16_t>(rows.size())});
    index.rows.insert(index.rows.end(), rows.begin(), rows.end());
  }
  return index;
}

const Index& the_index() {
  static const Index index = build();
  return index;
}

}  // namespace

std::span<const Row> table() { return the_index().rows; }

// Where a mnemonic has one row, there is nothing to choose: CVTTSS2SI has no vector register where its source
// is memory, and is the one that has.
const Row* find_row(const Instruction& instruction) {
  const Index& index = the_index();
  const Span span = index.by_mnemonic[instruction.mnemonic];
  if (span.count == 1) return &index.rows[span.first];
  for (std::uint16_t i = span.first; i < span.first + span.count; ++i)
    if (index.rows[i].form == Form::any || index.rows[i].form == instruction.form) return &index.rows[i];
  return nullptr;
}

Coverage coverage(const FeatureSet& features) {
  Coverage result;
  for (const Row& row : table()) {
    if (!features.has(row.feature))
      result.absent.push_back(&row);
    else
      (row.lower != nullptr ? result.there : result.missing).push_back(&row);
  }
  return result;
}

}  // namespace cbit::isa
