// Contents in a lab file: { text = "secret" }, { pattern = "device", length = 100 }, or a list of such
// pieces.
#pragma once

#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

#include "base/bytes.hpp"
#include "lab/experiment/table_reader.hpp"
#include "testbed/views.hpp"

namespace cbit::lab {

inline constexpr std::string_view data_keys[] = {"text", "hex", "pattern", "fill", "seed", "length"};

// The longest buffer, and the longest data.
inline constexpr std::uint64_t bytes_max = 64ull << 20;

class Data {
 public:
  // The pattern of views.hpp, without end.
  explicit Data(testbed::Author author) : pieces_{Piece{author, std::nullopt}} {}
  // `value` is a table or a list of tables. Errors: no or two kinds of contents in a piece, a piece without
  // end that is not the last, bad hex digits.
  static OrError<Data> parse(const TomlValue& value, std::string_view file, std::string_view key);

  // nullopt: the last piece goes on for as long as it is asked to.
  [[nodiscard]] std::optional<std::uint64_t> length() const;
  // The first `bytes` bytes, where the data lies at `offset` of a buffer; bytes <= length(). A pattern
  // depends on the place in the buffer, so its bytes tell where they come from.
  [[nodiscard]] Bytes bytes(std::uint64_t offset, std::uint64_t bytes) const;

 private:
  struct Seed {
    std::uint64_t value = 0;
  };
  // Contents: a pattern, a unit that is repeated, or noise from a seed.
  struct Piece {
    std::variant<testbed::Author, Bytes, Seed> contents;
    std::optional<std::uint64_t> length;
  };
  Data() = default;
  static OrError<Piece> parse_piece(const TomlValue& table, std::string_view file, std::string_view key);
  static OrError<Piece> parse_contents(const TableReader& reader);
  static void expand(const Piece& piece, std::uint64_t offset, ByteSpan to);

  std::vector<Piece> pieces_;
};

}  // namespace cbit::lab
