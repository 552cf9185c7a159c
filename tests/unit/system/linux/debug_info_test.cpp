// Lines of sources, judged by addr2line and by the source's own text.
#include "linux/debug_info.hpp"

#include <gtest/gtest.h>

#include <cstdio>
#include <sstream>

#include "linux/elf.hpp"
#include "linux/modules.hpp"
#include "linux/source_lines.hpp"
#include "support/linux/compiled_object.hpp"

namespace cbit::linux {
namespace {

using test::CompiledObject;
using test::inlining_source;
using test::line_of;

const ElfSymbol* symbol_of(const std::vector<ElfSymbol>& symbols, std::string_view name) {
  const auto found = std::ranges::find(symbols, name, &ElfSymbol::name);
  return found != symbols.end() ? &*found : nullptr;
}

std::string shown(const std::vector<SourceLine>& lines) {
  std::string text;
  for (const SourceLine& line : lines)
    text += line.function + " " + line.file + ":" + std::to_string(line.line) + "\n";
  return text;
}

// For each byte of a section what addr2line says, the outermost function first.
std::vector<std::string> judged(const CompiledObject& object, std::string_view section, std::uint64_t bytes) {
  std::ostringstream command;
  command << "addr2line -a -f -i -s -e " << object.path() << " -j " << section;
  for (std::uint64_t at = 0; at < bytes; ++at) command << " " << std::hex << at;
  std::FILE* const pipe = popen(command.str().c_str(), "r");
  std::string text;
  for (int c; (c = std::fgetc(pipe)) != EOF;) text += static_cast<char>(c);
  pclose(pipe);

  std::vector<std::string> found;
  std::istringstream lines{text};
  for (std::string function, place; std::getline(lines, function);) {
    if (function.starts_with("0x")) {
      found.emplace_back();
      continue;
    }
    std::getline(lines, place);
    found.back() = function + " " + place.substr(0, place.find(" (discriminator")) + "\n" + found.back();
  }
  return found;
}

struct Toolchain {
  std::string compiler;
  std::string flags;
};

class LinuxDebugInfo : public testing::TestWithParam<Toolchain> {
 protected:
  void SetUp() override {
    if (object.bytes().empty()) GTEST_SKIP() << GetParam().compiler << " is not there";
  }
  CompiledObject object{GetParam().compiler, GetParam().flags, inlining_source};
};

INSTANTIATE_TEST_SUITE_P(, LinuxDebugInfo,
                         testing::Values(Toolchain{"cc", "-gdwarf-5"}, Toolchain{"cc", "-gdwarf-4"},
                                         Toolchain{"cc", "-gdwarf-5 -gz=zlib"},
                                         Toolchain{"clang-19", "-gdwarf-5"},
                                         Toolchain{"clang-19", "-gdwarf-4 -mcmodel=kernel"}));

TEST_P(LinuxDebugInfo, NamesTheLineOfEveryByteOfCodeAsAddr2LineDoes) {
  const auto elf = ElfFile::open(object.bytes(), "driver.o");
  const auto info = DebugInfo::open(object.bytes());
  ASSERT_TRUE(elf && info);
  for (const ElfSymbol& symbol : elf->symbols()) {
    if (!symbol.function) continue;
    const ElfPart& section = elf->sections().at(symbol.section);
    const auto expected = judged(object, section.name, section.size);
    ASSERT_EQ(expected.size(), section.size);
    for (std::uint64_t at = symbol.value; at < symbol.value + symbol.size; ++at)
      EXPECT_EQ(shown(info->lines_at(symbol.section, at)), expected.at(at)) << symbol.name << " at " << at;
    EXPECT_TRUE(info->lines_at(symbol.section, section.size + 4096).empty()) << "behind the code";
  }
  EXPECT_TRUE(info->lines_at(0, 0).empty());
  EXPECT_TRUE(info->lines_at(elf->sections().size(), 0).empty());
}

TEST_P(LinuxDebugInfo, NamesTheFunctionsThatWerePutIntoAnother) {
  const auto elf = ElfFile::open(object.bytes(), "driver.o");
  const auto info = DebugInfo::open(object.bytes());
  ASSERT_TRUE(elf && info);
  const std::vector<ElfSymbol> symbols = elf->symbols();
  const ElfSymbol* const probe = symbol_of(symbols, "probe");
  ASSERT_NE(probe, nullptr);
  const std::vector<SourceLine> expected{{"probe", "driver.c", line_of(inlining_source, "/* probe */")},
                                         {"start", "driver.c", line_of(inlining_source, "/* start */")},
                                         {"put", "driver.c", line_of(inlining_source, "/* put */")}};
  std::size_t seen = 0;
  for (std::uint64_t at = 0; at < probe->size; ++at)
    if (info->lines_at(probe->section, probe->value + at) == expected) ++seen;
  EXPECT_GT(seen, 0u);
}

// The running module has its sections elsewhere, and in another order.
TEST_P(LinuxDebugInfo, FindsTheSectionsOfARunningModuleByItsFunctions) {
  const auto elf = ElfFile::open(object.bytes(), "driver.o");
  ASSERT_TRUE(elf);
  const std::vector<ElfSymbol> symbols = elf->symbols();
  const ElfSymbol *const probe = symbol_of(symbols, "probe"), *const setup = symbol_of(symbols, "setup");
  ASSERT_TRUE(probe != nullptr && setup != nullptr);
  constexpr VirtAddr text{0xffff'ffff'c000'4000}, init{0xffff'ffff'c000'1000};
  Module module{.name = "driver"};
  module.symbols.add(text + probe->value, 't', "probe");
  module.symbols.add(text + symbol_of(symbols, "same")->value, 't', "same");
  module.symbols.add(init + setup->value, 't', "setup");
  module.symbols.finish();

  SourceLines lines;
  lines.add("driver", object.bytes());
  lines.add("other", Bytes(64));
  const auto line = [](std::string_view mark) {
    return "driver.c:" + std::to_string(line_of(inlining_source, mark));
  };
  const std::string inlined =
      line("/* probe */") + " (start at " + line("/* start */") + ", put at " + line("/* put */") + ")";
  bool is_inlined = false, is_init = false;
  for (std::uint64_t at = 0; at < probe->size; ++at)
    is_inlined |= lines.text_at(module, text + probe->value + at) == inlined;
  for (std::uint64_t at = 0; at < setup->size; ++at)
    is_init |= lines.text_at(module, init + setup->value + at) == line("/* setup */");
  EXPECT_TRUE(is_inlined);
  EXPECT_TRUE(is_init);
  EXPECT_EQ(lines.text_at(module, VirtAddr{0x1234}), "");
  module.name = "other";
  EXPECT_EQ(lines.text_at(module, text + probe->value), "") << "its file is none";
}

TEST_P(LinuxDebugInfo, SurvivesAFileThatIsCutOff) {
  for (std::size_t bytes = 0; bytes < object.bytes().size(); bytes += 61) {
    const ConstByteSpan left = ConstByteSpan{object.bytes()}.first(bytes);
    const auto info = DebugInfo::open(Bytes(left.begin(), left.end()));
    if (info) (void)info->lines_at(1, 0);
  }
}

TEST(LinuxDebugInfoMissing, IsNoLine) {
  const CompiledObject object{"cc", "-g0", inlining_source};
  if (object.bytes().empty()) GTEST_SKIP() << "there is no compiler";
  EXPECT_FALSE(DebugInfo::open(object.bytes()));
  EXPECT_FALSE(DebugInfo::open({}));
  EXPECT_FALSE(DebugInfo::open(test::CompiledObject{"cc", "-g", ""}.bytes())) << "no code";
}

}  // namespace
}  // namespace cbit::linux
