#include "guest/screen.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <png.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "dev/display/bochs_display_pci.hpp"
#include "guest/monitor/monitor.hpp"

namespace cbit::guest {
namespace {

using testing::StartsWith;

class ScreenTest : public testing::Test {
 protected:
  Pc& boot(Platform platform, bool with_display = true) {
    pc_ = std::move(*Pc::create({.platform = platform, .memory_bytes = 32 << 20}));
    if (with_display) {
      EXPECT_TRUE(pc_->plug(*machine::parse_device("bochs-display"), 3));
    }
    return *pc_;
  }
  // 64 by 64 pixels at 32 bits, the first of a color: registers of QEMU's include/hw/display/bochs-vbe.h.
  void paint(std::uint32_t color) {
    auto& display = dynamic_cast<dev::BochsDisplayPci&>(*pc_->cards()[0]).device();
    constexpr std::array<std::pair<std::uint64_t, std::uint16_t>, 4> mode{
        {{0x502, 64}, {0x504, 64}, {0x506, 32}, {0x508, 0x41}}};
    for (const auto& [reg, value] : mode) EXPECT_TRUE(display.write(reg, bytes_of(value)));
    EXPECT_TRUE(display.vram().write(0, bytes_of(color)));
  }
  std::string dump(const std::string& name, Monitor::Files files = Monitor::Files::written) {
    return Monitor{*pc_, nullptr, files}.execute("screendump " + path(name));
  }
  std::string path(const std::string& name) { return (folder_ / name).string(); }
  std::string contents(const std::string& name) {
    std::ifstream file{path(name), std::ios::binary};
    return {std::istreambuf_iterator<char>{file}, {}};
  }
  ScreenTest() { std::filesystem::create_directory(folder_); }
  ~ScreenTest() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path folder_ = std::filesystem::path{testing::TempDir()} / "cbit-screen-test";
  std::unique_ptr<Pc> pc_;
};

TEST_F(ScreenTest, IsAPpmOfThePictureWhateverIsEncrypted) {
  for (const Platform platform : {Platform::plain, Platform::sme, Platform::sev}) {
    boot(platform);
    paint(0x0011'2233);
    EXPECT_EQ(dump("screen.ppm"), "");
    EXPECT_EQ(contents("screen.ppm"),
              "P6\n64 64\n255\n\x11\x22\x33" + std::string(std::size_t{3} * 64 * 64 - 3, '\0'));
  }
}

TEST_F(ScreenTest, IsAPngByItsName) {
  boot(Platform::plain);
  paint(0x00ff'8001);
  EXPECT_EQ(dump("screen.png"), "");
  const std::string file = contents("screen.png");
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  ASSERT_TRUE(png_image_begin_read_from_memory(&image, file.data(), file.size()));
  EXPECT_EQ(image.width, 64u);
  EXPECT_EQ(image.height, 64u);
  image.format = PNG_FORMAT_RGB;
  std::vector<std::uint8_t> pixels(PNG_IMAGE_SIZE(image));
  ASSERT_TRUE(png_image_finish_read(&image, nullptr, pixels.data(), 0, nullptr));
  EXPECT_EQ(pixels[0], 0xff);
  EXPECT_EQ(pixels[1], 0x80);
  EXPECT_EQ(pixels[2], 0x01);
  EXPECT_EQ(pixels[3], 0);
}

TEST_F(ScreenTest, IsNoFileWhereNothingIsShownOrNobodyMayWriteOne) {
  boot(Platform::plain);
  EXPECT_THAT(dump("none.ppm"), StartsWith("the display shows nothing"));
  paint(1);
  EXPECT_THAT(dump("none.ppm", Monitor::Files::refused), StartsWith("no files are written"));
  EXPECT_THAT(dump("nowhere/none.ppm"), StartsWith("cannot write"));
  EXPECT_THAT((Monitor{*pc_, nullptr, Monitor::Files::written}.execute("screendump")),
              StartsWith("dump to which file?"));
  boot(Platform::plain, false);
  EXPECT_THAT(dump("none.ppm"), StartsWith("the machine has no display"));
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
}

}  // namespace
}  // namespace cbit::guest
