#include "lab/experiment/data.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "base/assert.hpp"

namespace cbit::lab {
namespace {

std::optional<Bytes> from_hex(std::string_view text) {
  const auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  };
  std::string digits{text};
  std::erase(digits, ' ');
  if (digits.empty() || digits.size() % 2 != 0 ||
      std::ranges::any_of(digits, [&](char c) { return digit(c) < 0; }))
    return std::nullopt;
  Bytes bytes;
  for (std::size_t i = 0; i < digits.size(); i += 2)
    bytes.push_back(static_cast<std::byte>(digit(digits[i]) * 16 + digit(digits[i + 1])));
  return bytes;
}

}  // namespace

OrError<Data> Data::parse(const TomlValue& value, std::string_view file, std::string_view key) {
  Data data;
  const bool is_list = value.kind == TomlValue::Kind::list;
  if (!is_list) data.pieces_.push_back(CBIT_TRY(parse_piece(value, file, key)));
  if (is_list)
    for (const TomlValue& item : value.items) data.pieces_.push_back(CBIT_TRY(parse_piece(item, file, key)));
  if (data.pieces_.empty())
    return error_at(file, value.place, fmt::format("\"{}\" is empty", key),
                    "give at least one piece of data");
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < data.pieces_.size(); ++i) {
    const auto length = data.pieces_[i].length;
    if (!length && i + 1 != data.pieces_.size())
      return error_at(file, value.items[i].place, fmt::format("a piece of \"{}\" has no end", key),
                      "give every piece but the last a length");
    total += length.value_or(0);
    if (total > bytes_max)
      return error_at(file, value.place, fmt::format("\"{}\" is longer than {} bytes", key, bytes_max),
                      "use less");
  }
  return data;
}

OrError<Data::Piece> Data::parse_piece(const TomlValue& table, std::string_view file, std::string_view key) {
  if (table.kind != TomlValue::Kind::table)
    return error_at(
        file, table.place, fmt::format("\"{}\" is {}", key, to_string(table.kind)),
        "give contents such as { text = \"secret\" } or { pattern = \"device\" }, or a list of them");
  const TableReader reader =
      CBIT_TRY(TableReader::create(table, file, fmt::format("data \"{}\"", key), data_keys));
  Piece piece = CBIT_TRY(parse_contents(reader));
  if (const auto length = CBIT_TRY(reader.number("length", 1, bytes_max))) piece.length = *length;
  return piece;
}

OrError<Data::Piece> Data::parse_contents(const TableReader& reader) {
  std::vector<Piece> found;
  if (const auto author = CBIT_TRY(reader.word("pattern", testbed::author_words)))
    found.push_back({*author, {}});
  if (const auto fill = CBIT_TRY(reader.number("fill", 0, 255)))
    found.push_back({Bytes{static_cast<std::byte>(*fill)}, {}});
  if (const auto seed = CBIT_TRY(reader.number("seed", 0, std::numeric_limits<std::uint64_t>::max())))
    found.push_back({Seed{*seed}, {}});
  if (const auto text = CBIT_TRY(reader.raw_text("text"))) {
    if (text->empty()) return reader.error("text", "\"text\" is empty", "give at least one character");
    const auto bytes = std::as_bytes(std::span{*text});
    found.push_back({Bytes(bytes.begin(), bytes.end()), text->size()});
  }
  if (const auto text = CBIT_TRY(reader.text("hex"))) {
    auto bytes = from_hex(*text);
    if (!bytes)
      return reader.error("hex", "\"hex\" is not made of bytes", "use pairs of hex digits: \"00ff\"");
    const std::size_t length = bytes->size();
    found.push_back({*std::move(bytes), length});
  }
  if (found.size() == 1) return std::move(found.front());
  return reader.error("pattern",
                      found.empty() ? "there are no contents" : "there are several kinds of contents",
                      "give one of text, hex, pattern, fill, seed");
}

std::optional<std::uint64_t> Data::length() const {
  std::uint64_t total = 0;
  for (const Piece& piece : pieces_) {
    if (!piece.length) return std::nullopt;
    total += *piece.length;
  }
  return total;
}

Bytes Data::bytes(std::uint64_t offset, std::uint64_t bytes) const {
  Bytes all(bytes);
  std::uint64_t done = 0;
  for (const Piece& piece : pieces_) {
    const std::uint64_t wanted = std::min(piece.length.value_or(bytes), bytes - done);
    expand(piece, offset + done, ByteSpan{all}.subspan(done, wanted));
    done += wanted;
  }
  CBIT_ASSERT(done == bytes);
  return all;
}

void Data::expand(const Piece& piece, std::uint64_t offset, ByteSpan to) {
  if (const auto* author = std::get_if<testbed::Author>(&piece.contents)) {
    testbed::write_authored(*author, offset, to);
  } else if (const auto* seed = std::get_if<Seed>(&piece.contents)) {
    std::ranges::copy(pattern_bytes(to.size(), seed->value), to.begin());
  } else {
    const Bytes& unit = std::get<Bytes>(piece.contents);
    for (std::size_t i = 0; i < to.size(); ++i) to[i] = unit[i % unit.size()];
  }
}

}  // namespace cbit::lab
