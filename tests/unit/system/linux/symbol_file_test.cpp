// A kernel's symbols as an ELF file, read back by what reads kernels' files.
#include "linux/symbol_file.hpp"

#include <elf.h>
#include <gtest/gtest.h>

#include "linux/elf.hpp"
#include "support/linux/test_kernel.hpp"

namespace cbit::linux {
namespace {

using test::Style;
using test::TestKernel;

TEST(SymbolFile, HasEachSymbolAtItsAddressInCodeOrData) {
  const TestKernel& made = TestKernel::of(Style::v6_1);
  const Bytes file = to_symbol_file(made.kernel());
  const auto elf = ElfFile::open(file, "symbols");
  ASSERT_TRUE(elf);
  const std::vector<ElfSymbol> symbols = elf->symbols();
  const auto find = [&](std::string_view name) {
    const auto found = std::ranges::find(symbols, name, &ElfSymbol::name);
    EXPECT_NE(found, symbols.end()) << name;
    return *found;
  };
  const ElfSymbol function = find("dma_map_page_attrs");
  EXPECT_EQ(VirtAddr{function.value}, made.at("dma_map_page_attrs"));
  EXPECT_TRUE(function.function);
  ASSERT_LT(function.section, elf->sections().size());
  EXPECT_EQ(elf->sections()[function.section].name, ".text");
  EXPECT_TRUE(elf->sections()[function.section].executable);
  for (std::size_t i = 0; i < made.kernel().symbols().size(); ++i) {
    const Symbol symbol = made.kernel().symbols().at(i);
    EXPECT_TRUE(std::ranges::any_of(symbols, [&](const ElfSymbol& each) {
      return each.name == symbol.name && each.value == symbol.at.value();
    })) << symbol.name;
  }
}

TEST(SymbolFile, PutsLocalsFirstAsTheFormatWantsIt) {
  const Bytes file = to_symbol_file(TestKernel::of(Style::v7_3).kernel());
  const auto header = load<Elf64_Ehdr>(file);
  bool found = false;
  for (unsigned i = 0; i < header.e_shnum; ++i) {
    const auto section = load<Elf64_Shdr>(file, header.e_shoff + i * sizeof(Elf64_Shdr));
    if (section.sh_type != SHT_SYMTAB) continue;
    found = true;
    for (std::uint64_t entry = 0; entry < section.sh_size / sizeof(Elf64_Sym); ++entry) {
      const auto symbol = load<Elf64_Sym>(file, section.sh_offset + entry * sizeof(Elf64_Sym));
      EXPECT_EQ(ELF64_ST_BIND(symbol.st_info) == STB_LOCAL, entry < section.sh_info);
    }
  }
  EXPECT_TRUE(found);
}

}  // namespace
}  // namespace cbit::linux
