#include "boot/acpi/aml.hpp"

#include <algorithm>

#include "base/assert.hpp"

namespace cbit::boot {
namespace {

constexpr std::uint8_t name_op = 0x08, package_op = 0x12, zero_op = 0x00, one_op = 0x01;
constexpr std::uint8_t byte_prefix = 0x0a, word_prefix = 0x0b, dword_prefix = 0x0c;
constexpr std::uint8_t root_char = 0x5c, dual_name_prefix = 0x2e, multi_name_prefix = 0x2f;

void put_number(Bytes& to, std::uint64_t value, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i) to.push_back(static_cast<std::byte>(value >> 8 * i));
}

void put_all(Bytes& to, ConstByteSpan from) { to.insert(to.end(), from.begin(), from.end()); }

// 20.2.2; "\\ABCD" or "\\ABCD.EFGH".
void put_path(Bytes& to, std::string_view path) {
  CBIT_ASSERT(path.size() % 5 == 0 && path.starts_with('\\'));
  put_number(to, root_char, 1);
  const std::size_t segments = path.size() / 5;
  if (segments == 2) put_number(to, dual_name_prefix, 1);
  if (segments > 2) {
    put_number(to, multi_name_prefix, 1);
    put_number(to, segments, 1);
  }
  for (std::size_t i = 0; i < segments; ++i) put_all(to, std::as_bytes(std::span{path.substr(i * 5 + 1, 4)}));
}

// 20.2.3
void put_integer(Bytes& to, std::uint32_t value) {
  if (value <= 1) return put_number(to, value == 0 ? zero_op : one_op, 1);
  const std::size_t bytes = value <= 0xff ? 1 : value <= 0xffff ? 2 : 4;
  put_number(to, bytes == 1 ? byte_prefix : bytes == 2 ? word_prefix : dword_prefix, 1);
  put_number(to, value, bytes);
}

// 20.2.4: the length counts itself.
void put_package(Bytes& to, std::size_t elements, ConstByteSpan contents) {
  put_number(to, package_op, 1);
  const std::size_t rest = contents.size() + 1;
  if (rest + 1 < 0x40) {
    put_number(to, rest + 1, 1);
  } else {
    const std::size_t more = rest + 2 < 0x1000 ? 1 : 2;
    const std::size_t length = rest + 1 + more;
    put_number(to, more << 6 | (length & 0xf), 1);
    put_number(to, length >> 4, more);
  }
  put_number(to, elements, 1);
  put_all(to, contents);
}

void put_package_of(Bytes& to, std::span<const std::uint32_t> values) {
  Bytes contents;
  for (const std::uint32_t value : values) put_integer(contents, value);
  put_package(to, values.size(), contents);
}

}  // namespace

void AmlWriter::name_integer(std::string_view path, std::uint32_t value) {
  put_number(bytes_, name_op, 1);
  put_path(bytes_, path);
  put_integer(bytes_, value);
}

void AmlWriter::name_package(std::string_view path, std::span<const std::uint32_t> values) {
  put_number(bytes_, name_op, 1);
  put_path(bytes_, path);
  put_package_of(bytes_, values);
}

void AmlWriter::name_table(std::string_view path, std::span<const Row> rows) {
  put_number(bytes_, name_op, 1);
  put_path(bytes_, path);
  Bytes contents;
  for (const Row& row : rows) put_package_of(contents, row);
  put_package(bytes_, rows.size(), contents);
}

}  // namespace cbit::boot
