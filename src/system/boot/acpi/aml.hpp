// The few objects of AML that depend on the machine: names of integers, buffers of bytes are not among them.
// ACPI Specification 6.3, chapter 20.2. Code is compiled from ASL instead.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/bytes.hpp"

namespace cbit::boot {

class AmlWriter {
 public:
  // Name (PATH, value). `path`: segments of four characters after a root, "\\_SB_.PCI0._PRT".
  void name_integer(std::string_view path, std::uint32_t value);
  // Name (PATH, Package () {value, ...})
  void name_package(std::string_view path, std::span<const std::uint32_t> values);
  // Name (PATH, Package () {Package () {value, ...}, ...}); at most 255 rows.
  using Row = std::array<std::uint32_t, 4>;
  void name_table(std::string_view path, std::span<const Row> rows);

  [[nodiscard]] const Bytes& bytes() const { return bytes_; }

 private:
  Bytes bytes_;
};

}  // namespace cbit::boot
