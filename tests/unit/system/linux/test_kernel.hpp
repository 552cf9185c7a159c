// A kernel small enough for a test: symbols, types and functions as a version has them, at made-up addresses
// and offsets.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "fake_guest.hpp"
#include "kallsyms_writer.hpp"
#include "linux/kernel.hpp"

namespace cbit::test {

enum class Style { v6_1, v6_12, v7_3 };

class TestKernel {
 public:
  static constexpr VirtAddr text{0xffff'ffff'8100'0000};
  static constexpr VirtAddr init_text{0xffff'ffff'8300'0000};
  static constexpr VirtAddr data{0xffff'ffff'8280'0000};
  static constexpr std::string_view banner = "Linux version 6.1.0-test (builder@host) (gcc) #1 SMP\n";
  static constexpr std::uint64_t function_bytes = 0x100;  // each function is so long

  explicit TestKernel(Style style = Style::v6_1);
  // The same for all tests.
  static const TestKernel& of(Style style);

  [[nodiscard]] const linux::Kernel& kernel() const { return *kernel_; }
  [[nodiscard]] Style style() const { return style_; }
  // Where the file has it.
  [[nodiscard]] VirtAddr at(std::string_view symbol) const { return addresses_.at(std::string{symbol}); }
  [[nodiscard]] std::uint64_t offset(std::string_view structure, std::string_view member) const;

  // The banner, and every variable as zeros, in the memory of a guest where KASLR has moved it.
  void load_into(FakeGuest& guest, std::uint64_t slide) const;

 private:
  void add_functions();
  void add_variables();
  [[nodiscard]] Bytes types() const;

  Style style_;
  std::vector<TestSymbol> symbols_;
  std::map<std::string, VirtAddr, std::less<>> addresses_;
  std::unique_ptr<linux::Kernel> kernel_;
};

}  // namespace cbit::test
