#include "watch/page_map.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "agents.hpp"

namespace cbit::watch {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

// A real memory controller with a guest's key, and nobody between it and the test.
class PageMapTest : public testing::Test {
 protected:
  PageMapTest() {
    keys.set_derived(key, "guest");
    auto created = mem::Memory::create({.ram = {{PhysAddr{0}, 64ull << 20}}}, keys, tracer);
    memory = std::move(created.value());
  }

  void write(PhysAddr at, Agent agent, KeyId under, std::string_view site, std::uint64_t bytes = page_size) {
    const mem::Access access{agent, under, tracer.intern(site)};
    ASSERT_TRUE(memory->fill(at, bytes, std::byte{0x5a}, access));
  }

  static constexpr KeyId key = 2;
  Clock clock;
  Tracer tracer{clock};
  mem::KeyTable keys{1, crypt::CipherMode::xex};
  std::unique_ptr<mem::Memory> memory;
};

TEST_F(PageMapTest, OfAFreshMemoryIsEmpty) {
  EXPECT_THAT(page_map(*memory), IsEmpty());
  EXPECT_EQ(render_page_picture({}, tracer), "no page was ever written or converted\n");
}

TEST_F(PageMapTest, JoinsNeighboursOfEqualStateAndNoOthers) {
  write(PhysAddr{0x10000}, cpu0, key, "driver_fill", 3 * page_size);
  write(PhysAddr{0x13000}, cpu0, key, "other_code");
  write(PhysAddr{0x20000}, cpu0, key, "driver_fill");
  const auto runs = page_map(*memory);
  ASSERT_THAT(runs, SizeIs(3));
  EXPECT_EQ(runs[0].first, PhysAddr{0x10000});
  EXPECT_EQ(runs[0].pages, 3u);
  EXPECT_EQ(runs[0].contents, PageContents::ciphertext);
  EXPECT_EQ(runs[1].pages, 1u);
  EXPECT_EQ(runs[2].first, PhysAddr{0x20000});
}

TEST_F(PageMapTest, TellsSharedPagesSinceWhenAndByWhom) {
  const SiteId site = tracer.intern("set_memory_decrypted");
  memory->convert(PhysAddr{0x40000}, 16, false, site);
  write(PhysAddr{0x40000}, some_device, no_key, "nvme", page_size);
  const auto runs = page_map(*memory);
  ASSERT_THAT(runs, SizeIs(2));
  EXPECT_TRUE(runs[0].shared);
  EXPECT_EQ(runs[0].contents, PageContents::plain);
  EXPECT_EQ(runs[0].writer, some_device);
  EXPECT_EQ(runs[1].pages, 15u);
  EXPECT_EQ(runs[1].contents, PageContents::nothing);
  const std::string table = render_page_table(runs, tracer);
  EXPECT_THAT(table, HasSubstr("made shared by set_memory_decrypted"));
  EXPECT_THAT(table, HasSubstr("device 00:03.0"));
}

// The attribute says shared, the bytes say ciphertext: nobody converted them.
TEST_F(PageMapTest, BelievesTheBytesAndNotTheAttribute) {
  write(PhysAddr{0x1000}, cpu0, key, "driver_fill");
  memory->convert(PhysAddr{0x1000}, 1, false, tracer.intern("set_memory_decrypted"));
  write(PhysAddr{0x2000}, some_device, no_key, "nvme");
  const auto runs = page_map(*memory);
  ASSERT_THAT(runs, SizeIs(2));
  EXPECT_TRUE(runs[0].shared);
  EXPECT_EQ(runs[0].contents, PageContents::ciphertext);
  EXPECT_FALSE(runs[1].shared);
  EXPECT_EQ(runs[1].contents, PageContents::plain);
  EXPECT_THAT(render_page_table(runs, tracer), HasSubstr("shared-ciphertext"));
  EXPECT_THAT(render_page_picture(runs, tracer), HasSubstr(".!p"));
}

TEST_F(PageMapTest, DrawsOneCharacterPerPageAndSkipsWhatWasNeverTouched) {
  write(PhysAddr{0}, cpu0, key, "boot", 2 * page_size);
  write(PhysAddr{0x40000 * 4}, cpu0, key, "boot");
  const std::string picture = render_page_picture(page_map(*memory), tracer);
  EXPECT_THAT(picture, HasSubstr("one character is 4 KiB\n"));
  EXPECT_THAT(picture, HasSubstr("P:0x0             ee......"));
  EXPECT_THAT(picture, HasSubstr("(never touched)"));
  EXPECT_THAT(picture, HasSubstr("P:0x100000        e\n"));
}

TEST_F(PageMapTest, MakesTheSharedPageOfACrowdedCellVisible) {
  write(PhysAddr{0}, cpu0, key, "boot", 4 * page_size);
  memory->convert(PhysAddr{0x1000}, 1, false, 0);
  write(PhysAddr{0x1000}, cpu0, no_key, "driver_fill");
  write(PhysAddr{(64ull << 20) - page_size}, cpu0, key, "boot");
  const std::string picture = render_page_picture(page_map(*memory), tracer);
  EXPECT_THAT(picture, HasSubstr("one character is 32 KiB\n"));
  EXPECT_THAT(picture, HasSubstr("P:0x0             s......"));
  EXPECT_THAT(picture, HasSubstr("................e\n"));
}

TEST_F(PageMapTest, PrintsJsonWithSchema) {
  write(PhysAddr{0x1000}, cpu0, key, "driver_fill");
  memory->convert(PhysAddr{0x3000}, 2, false, tracer.intern("set_memory_decrypted"));
  const auto json = nlohmann::json::parse(page_map_json(page_map(*memory), tracer));
  EXPECT_EQ(json["schema"], "cbit-pages-1");
  ASSERT_EQ(json["runs"].size(), 2u);
  EXPECT_EQ(json["runs"][0]["state"], "private");
  EXPECT_EQ(json["runs"][0]["written"]["site"], "driver_fill");
  EXPECT_FALSE(json["runs"][0].contains("converted"));
  EXPECT_EQ(json["runs"][1]["first"], "0x3000");
  EXPECT_EQ(json["runs"][1]["pages"], 2);
  EXPECT_EQ(json["runs"][1]["state"], "shared-empty");
  EXPECT_FALSE(json["runs"][1].contains("written"));
}

}  // namespace
}  // namespace cbit::watch
