// The table of instructions against the decoder: no encoding of an instruction is left out.
#include "isa/table.hpp"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "cpu/cpu.hpp"
#include "isa/decode.hpp"

namespace cbit::test {
namespace {

std::set<std::string_view> names_in_table() {
  std::set<std::string_view> names;
  for (const isa::Row& row : isa::table()) names.insert(row.mnemonic);
  return names;
}

// Each opcode with each prefix that chooses among instructions, with memory and with registers.
template <class Visit>
void for_each_encoding(const Visit& visit) {
  constexpr std::uint8_t rex_w = 0x48;
  const std::vector<std::vector<std::uint8_t>> prefix_sets{{}, {0x66}, {0xf2}, {0xf3}};
  const std::vector<std::vector<std::uint8_t>> maps{{}, {0x0f}, {0x0f, 0x38}, {0x0f, 0x3a}};
  for (const auto& prefixes : prefix_sets)
    for (const bool wide : {false, true})
      for (const auto& map : maps)
        for (unsigned opcode = 0; opcode < 256; ++opcode)
          for (unsigned modrm = 0; modrm < 256; ++modrm) {
            std::vector<std::uint8_t> bytes = prefixes;
            if (wide) bytes.push_back(rex_w);
            bytes.insert(bytes.end(), map.begin(), map.end());
            bytes.insert(bytes.end(), {static_cast<std::uint8_t>(opcode), static_cast<std::uint8_t>(modrm)});
            bytes.resize(isa::instruction_bytes_max);
            visit(bytes);
          }
}

TEST(IsaTable, HasEachFormOfAnInstructionThatItHas) {
  const std::set<std::string_view> names = names_in_table();
  const isa::Decoder decoder{cpu::default_model().features};
  std::set<std::string> left_out;
  for (const bool is_64 : {false, true}) {
    const isa::Mode mode = isa::Mode{}.with<isa::Mode::Long64>(is_64).with<isa::Mode::Code32>(!is_64);
    for_each_encoding([&](const std::vector<std::uint8_t>& bytes) {
      isa::Instruction instruction;
      if (decoder.decode(mode, std::as_bytes(std::span{bytes}), instruction) != isa::DecodeStatus::ok) return;
      const std::string_view name = isa::mnemonic_name(instruction.mnemonic);
      if (names.contains(name) && isa::find_row(instruction) == nullptr) left_out.insert(std::string{name});
    });
  }
  EXPECT_EQ(left_out, std::set<std::string>{});
}

}  // namespace
}  // namespace cbit::test
