// A stripped kernel's own table of symbols, and questions about names and addresses.
#include "linux/kallsyms.hpp"

#include <gtest/gtest.h>

#include "support/linux/kallsyms_writer.hpp"

namespace cbit::linux {
namespace {

using test::KallsymsLayout;
using test::TestSymbol;
using test::write_kallsyms;

constexpr VirtAddr rodata{0xffff'ffff'8200'0000};

// More than two markers' worth. With per-CPU data at small absolute addresses, as up to 6.14.
std::vector<TestSymbol> symbols(bool absolute) {
  std::vector<TestSymbol> made;
  if (absolute) {
    made.push_back({0, 'A', "__per_cpu_start"});
    made.push_back({0x1'fb80, 'A', "current_task"});
  }
  made.push_back({0xffff'ffff'8100'0000, 'T', "_stext"});
  made.push_back({0xffff'ffff'8100'0000, 'T', "startup_64"});
  for (unsigned i = 0; i < 600; ++i)
    made.push_back({0xffff'ffff'8100'1000 + i * 16, 't', "function_" + std::to_string(i)});
  made.push_back({0xffff'ffff'8110'0000, 'T', "dma_map_page_attrs"});
  made.push_back({0xffff'ffff'8110'0100, 't', "twice"});
  made.push_back({0xffff'ffff'8110'0200, 't', "twice"});
  made.push_back({0xffff'ffff'8110'0300, 'T', "long_" + std::string(300, 'x')});
  made.push_back({0xffff'ffff'8300'0000, 'B', "_end"});
  return made;
}

class LinuxKallsyms : public testing::TestWithParam<KallsymsLayout> {
 protected:
  [[nodiscard]] static bool has_absolute() {
    return GetParam() == KallsymsLayout::v6_1 || GetParam() == KallsymsLayout::v6_4;
  }
  [[nodiscard]] static Bytes section() {
    return write_kallsyms(symbols(has_absolute()), GetParam(), rodata.value());
  }
};

TEST_P(LinuxKallsyms, AreFoundWithNothingToNameThem) {
  const auto table = find_kallsyms(section(), rodata);
  ASSERT_TRUE(table);
  const auto wanted = symbols(has_absolute());
  ASSERT_EQ(table->size(), wanted.size());
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const Symbol found = table->at(i);
    EXPECT_EQ(found.at, VirtAddr{wanted[i].at}) << wanted[i].name;
    EXPECT_EQ(found.name, wanted[i].name);
    EXPECT_EQ(found.type, wanted[i].type);
  }
}

TEST_P(LinuxKallsyms, AreNotFoundWhereOnePartDoesNotFit) {
  const Bytes whole = section();
  const std::string_view text{reinterpret_cast<const char*>(whole.data()), whole.size()};
  Bytes wrong_token = whole;
  wrong_token[text.find(std::string_view{"\0piece127_", 10}) + 1] = std::byte{0};
  EXPECT_FALSE(find_kallsyms(wrong_token, rodata));
  const auto count = static_cast<std::uint32_t>(symbols(has_absolute()).size());
  Bytes wrong_count = whole;
  store(wrong_count, text.find(std::string_view{reinterpret_cast<const char*>(&count), 4}), count + 300);
  EXPECT_FALSE(find_kallsyms(wrong_count, rodata));
  EXPECT_FALSE(find_kallsyms(ConstByteSpan{whole}.first(whole.size() / 2), rodata));
}

TEST_P(LinuxKallsyms, AreFoundBehindDigitsThatAreNoTokens) {
  Bytes rodata_bytes =
      test::bytes_from(std::string_view{"\0"
                                        "0\0"
                                        "1\0"
                                        "2\0"
                                        "3\0"
                                        "4\0"
                                        "5\0"
                                        "6\0"
                                        "7\0"
                                        "8\0"
                                        "9\0",
                                        21});
  rodata_bytes.resize(4096);
  const Bytes table = write_kallsyms(symbols(has_absolute()), GetParam(), rodata.value() + 4096);
  rodata_bytes.insert(rodata_bytes.end(), table.begin(), table.end());
  EXPECT_TRUE(find_kallsyms(rodata_bytes, rodata));
}

std::string layout_name(const testing::TestParamInfo<KallsymsLayout>& layout) {
  constexpr const char* names[] = {"v6_1", "v6_4", "v6_15", "v7"};
  return names[static_cast<std::size_t>(layout.param)];
}
INSTANTIATE_TEST_SUITE_P(, LinuxKallsyms,
                         testing::Values(KallsymsLayout::v6_1, KallsymsLayout::v6_4, KallsymsLayout::v6_15,
                                         KallsymsLayout::v7),
                         layout_name);

TEST(Kallsyms, AreMissedWithTheOptionThatMakesThem) {
  const Bytes kernel =
      test::write_elf({{.name = ".rodata", .at = rodata.value(), .bytes = pattern_bytes(9000, 1)}});
  const auto table = read_kallsyms(*KernelImage::open(kernel, "vmlinux"), "vmlinux");
  ASSERT_FALSE(table);
  EXPECT_EQ(table.error().message, "vmlinux has no table of symbols");
  EXPECT_NE(table.error().hint.find("CONFIG_KALLSYMS"), std::string::npos);
}

TEST(SymbolTable, RefusesANameThatSeveralFunctionsShare) {
  const auto table =
      find_kallsyms(write_kallsyms(symbols(true), KallsymsLayout::v6_1, rodata.value()), rodata);
  ASSERT_TRUE(table);
  EXPECT_EQ(table->find("dma_map_page_attrs")->at, VirtAddr{0xffff'ffff'8110'0000});
  EXPECT_EQ(table->count("twice"), 2u);
  EXPECT_FALSE(table->find("twice"));
  EXPECT_EQ(table->count("nothing"), 0u);
  EXPECT_FALSE(table->find("nothing"));
}

TEST(SymbolTable, NamesTheSymbolThatAnAddressLiesIn) {
  const auto table =
      find_kallsyms(write_kallsyms(symbols(true), KallsymsLayout::v6_1, rodata.value()), rodata);
  ASSERT_TRUE(table);
  EXPECT_EQ(table->nearest(VirtAddr{0xffff'ffff'8110'001c})->name, "dma_map_page_attrs");
  EXPECT_EQ(table->nearest(VirtAddr{0xffff'ffff'8100'0000})->name, "_stext") << "the first of several";
  EXPECT_EQ(table->nearest(VirtAddr{0xffff'ffff'80ff'ffff}), std::nullopt) << "per-CPU symbols are no code";
  EXPECT_EQ(table->nearest(VirtAddr{0}), std::nullopt);
  EXPECT_EQ(table->nearest(VirtAddr{~std::uint64_t{0}})->name, "_end");
}

}  // namespace
}  // namespace cbit::linux
