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

struct Part {
  std::size_t index = 0;
  const ElfPart* section = nullptr;
};

Part section_of(const ElfFile& elf, std::string_view name) {
  const ElfPart* const section = elf.section(name);
  if (section == nullptr) return {};
  return {static_cast<std::size_t>(section - elf.sections().data()), section};
}

const ElfSymbol* symbol_of(const std::vector<ElfSymbol>& symbols, std::string_view name) {
  const auto found = std::ranges::find(symbols, name, &ElfSymbol::name);
  return found != symbols.end() ? &*found : nullptr;
}

// For each byte of a section what addr2line says, the outermost function first.
std::vector<std::vector<SourceLine>> judged(const CompiledObject& object, std::string_view section,
                                            std::uint64_t bytes) {
  std::ostringstream command;
  command << "addr2line -a -f -i -s -e " << object.path() << " -j " << section;
  for (std::uint64_t at = 0; at < bytes; ++at) command << " " << std::hex << at;
  std::FILE* const pipe = popen(command.str().c_str(), "r");
  std::string text;
  for (int c; (c = std::fgetc(pipe)) != EOF;) text += static_cast<char>(c);
  pclose(pipe);

  std::vector<std::vector<SourceLine>> found;
  std::istringstream lines{text};
  for (std::string function, place; std::getline(lines, function);) {
    if (function.starts_with("0x")) {
      found.emplace_back();
      continue;
    }
    std::getline(lines, place);
    const auto colon = place.find(':');
    const int line = std::atoi(place.c_str() + colon + 1);
    if (line != 0) found.back().insert(found.back().begin(), {function, place.substr(0, colon), line});
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
  for (const std::string_view name : {".text", ".init.text"}) {
    const Part part = section_of(*elf, name);
    ASSERT_NE(part.section, nullptr);
    const auto expected = judged(object, name, part.section->size);
    ASSERT_EQ(expected.size(), part.section->size);
    for (std::uint64_t at = 0; at < part.section->size; ++at)
      EXPECT_EQ(info->lines_at(part.index, at), expected[at]) << name << "+" << at;
    EXPECT_TRUE(info->lines_at(part.index, part.section->size + 4096).empty()) << "behind the code";
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
