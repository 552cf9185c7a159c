// A kernel's table of symbols that somebody has damaged: it is found whole or not at all, and its names stand
// at the addresses that they are asked for by.
#include <cstdlib>

#include "fuzz_input.hpp"
#include "linux/kallsyms.hpp"
#include "patched_file.hpp"
#include "support/linux/kallsyms_writer.hpp"

namespace {

using namespace cbit;

constexpr VirtAddr rodata{0xffff'ffff'8200'0000};

void require(bool holds) {
  if (!holds) std::abort();
}

Bytes valid_table(test::KallsymsLayout layout) {
  std::vector<test::TestSymbol> symbols;
  for (unsigned i = 0; i < 520; ++i)
    symbols.push_back({0xffff'ffff'8100'0000 + i * 16, 'T', "f" + std::to_string(i)});
  return test::write_kallsyms(symbols, layout, rodata.value(), 256);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using enum test::KallsymsLayout;
  static const Bytes tables[] = {valid_table(v6_1), valid_table(v6_4), valid_table(v6_15), valid_table(v7)};
  FuzzInput input{data, size};
  const Bytes segment = patched(tables[input.below(4)], input);
  const auto table = linux::find_kallsyms(segment, rodata);
  if (!table) return 0;
  require(table->size() > 0);
  for (std::size_t i = 0; i < table->size(); i += 37) {
    const linux::Symbol symbol = table->at(i);
    require(i == 0 || table->at(i - 1).at <= symbol.at);
    require(table->count(symbol.name) > 0);
    const auto nearest = table->nearest(symbol.at);
    require(symbol.is_absolute() || (nearest && nearest->at == symbol.at));
  }
  return 0;
}
