#include <gtest/gtest.h>

#include <algorithm>

#include "dev/display/bochs_display_pci.hpp"
#include "support/pci_board.hpp"
#include "support/sizes.hpp"

namespace cbit::dev {
namespace {

// Numbers are those of QEMU, include/hw/display/bochs-vbe.h, and of Linux, drivers/gpu/drm/tiny/bochs.c.
constexpr unsigned slot = 2;
constexpr std::uint64_t id = 0x500, xres = 0x502, yres = 0x504, bpp = 0x506, enable = 0x508, bank = 0x50a;
constexpr std::uint64_t virt_width = 0x50c, virt_height = 0x50e, x_offset = 0x510, y_offset = 0x512;
constexpr std::uint64_t video_memory_64k = 0x514, extended_size = 0x600, byte_order = 0x604;

struct BochsDisplayTest : testing::Test {
  void plug(std::uint64_t vram_bytes = 16 * mib) {
    board = std::make_unique<test::PciBoard>();
    function = std::make_unique<BochsDisplayPci>(
        std::make_unique<BochsDisplay>(BochsDisplayOptions{.vram_bytes = vram_bytes}));
    board->pci.plug(slot, *function);
    board->assign_resources();
  }
  BochsDisplayTest() { plug(); }
  ~BochsDisplayTest() override { function.reset(); }

  template <class T = std::uint16_t>
  T get(std::uint64_t reg) {
    return board->read<T>(board->bar(slot, 2) + reg);
  }
  void set(std::uint64_t reg, std::uint16_t value) { board->write(board->bar(slot, 2) + reg, value); }
  void set_extended(std::uint64_t reg, std::uint32_t value) {
    board->write(board->bar(slot, 2) + reg, value);
  }
  void draw(std::uint64_t at, std::uint32_t pixel) { board->write(board->bar(slot, 0) + at, pixel); }

  // As bochs_hw_setmode() of the kernel.
  void set_mode(std::uint16_t width, std::uint16_t height, std::uint16_t depth = 32) {
    set(enable, 0);
    set(bpp, depth);
    set(xres, width);
    set(yres, height);
    set(bank, 0);
    set(virt_width, width);
    set(virt_height, height);
    set(x_offset, 0);
    set(y_offset, 0);
    set(enable, 0x41);
  }
  // Red, green and blue of a pixel of the picture.
  std::vector<int> pixel(std::uint32_t x, std::uint32_t y) {
    const auto picture = function->picture();
    if (!picture) return {};
    std::vector<int> parts;
    for (std::size_t part = 0; part < 3; ++part)
      parts.push_back(std::to_integer<int>(picture->rgb[3 * (y * picture->width + x) + part]));
    return parts;
  }
  // Whether an access of this width is made at all.
  bool reads(std::uint64_t reg, std::size_t bytes) {
    std::array<std::byte, 8> raw{};
    return function->device().read(reg, ByteSpan{raw}.first(bytes)).has_value();
  }

  std::unique_ptr<test::PciBoard> board;
  std::unique_ptr<BochsDisplayPci> function;
};

TEST_F(BochsDisplayTest, IsFoundByLinuxsDriverWithItsRegistersAndMemory) {
  EXPECT_EQ(board->config<std::uint32_t>(slot, 0), 0x1111'1234u);
  EXPECT_EQ(board->config<std::uint32_t>(slot, 8), 0x0380'0002u) << "display, other; revision 2";
  EXPECT_EQ(board->config<std::uint32_t>(slot, 0x2c), 0x1100'1af4u);
  EXPECT_EQ(get(id), 0xb0c5);
  EXPECT_EQ(get(video_memory_64k), 256);
  EXPECT_EQ(get<std::uint32_t>(extended_size), 8u);
  EXPECT_EQ(get<std::uint32_t>(byte_order), 0x1e1e'1e1eu);
  EXPECT_EQ(get<std::uint64_t>(0), 0u) << "no EDID: drm_edid_header_is_valid() sees none";
}

TEST_F(BochsDisplayTest, SaysHowMuchMemoryItHas) {
  plug(4 * mib);
  EXPECT_EQ(get(video_memory_64k), 64);
  draw(4 * mib - 4, 0x1234'5678);
  EXPECT_EQ(board->read<std::uint32_t>(board->bar(slot, 0) + 4 * mib - 4), 0x1234'5678u);
}

TEST_F(BochsDisplayTest, KeepsWhatIsWrittenAndNotToWhatIsReadOnly) {
  for (std::uint64_t reg = xres; reg <= y_offset; reg += 2) {
    set(reg, static_cast<std::uint16_t>(reg * 3));
    EXPECT_EQ(get(reg), static_cast<std::uint16_t>(reg * 3)) << reg;
  }
  set(id, 1);
  set(video_memory_64k, 1);
  set_extended(extended_size, 1);
  set(0x516, 1);
  set(0x400, 1);
  EXPECT_EQ(get(id), 0xb0c5);
  EXPECT_EQ(get(video_memory_64k), 256);
  EXPECT_EQ(get<std::uint32_t>(extended_size), 8u);
  EXPECT_EQ(get(0x516), 0) << "behind the registers";
  EXPECT_EQ(get(0x400), 0) << "VGA's registers, which this display has not";
}

TEST_F(BochsDisplayTest, TakesTwoRegistersAtATimeAndNoHalves) {
  board->write(board->bar(slot, 2) + yres, std::uint32_t{0x0020'0300});
  EXPECT_EQ(get(yres), 0x300);
  EXPECT_EQ(get(bpp), 0x20);
  EXPECT_EQ(get<std::uint32_t>(id), 0xb0c5u);
  for (const auto& [reg, bytes] : std::vector<std::pair<std::uint64_t, std::size_t>>{
           {xres, 1}, {xres, 8}, {xres + 1, 2}, {0x4fe, 4}, {byte_order, 2}, {byte_order, 1}, {0x602, 4}})
    EXPECT_FALSE(reads(reg, bytes)) << reg << ", " << bytes;
  EXPECT_TRUE(reads(0x3f0, 1)) << "where there is nothing, any width reads zeros";
}

TEST_F(BochsDisplayTest, ShowsWhatIsInVideoMemory) {
  EXPECT_FALSE(function->picture()) << "no mode is set";
  set_mode(640, 480);
  draw(0, 0x0011'2233);
  draw(4 * (640 * 479 + 639), 0xff44'5566);
  const auto picture = function->picture();
  ASSERT_TRUE(picture);
  EXPECT_EQ(picture->width, 640u);
  EXPECT_EQ(picture->height, 480u);
  EXPECT_EQ(picture->rgb.size(), 3u * 640 * 480);
  EXPECT_EQ(pixel(0, 0), (std::vector{0x11, 0x22, 0x33}));
  EXPECT_EQ(pixel(639, 479), (std::vector{0x44, 0x55, 0x66}));
  EXPECT_EQ(pixel(1, 0), (std::vector{0, 0, 0}));
}

// bochs_hw_setbase(): a buffer elsewhere in video memory, with rows that are longer than what is shown.
TEST_F(BochsDisplayTest, ShowsTheWindowThatTheOffsetsSay) {
  set_mode(640, 480);
  set(virt_width, 1024);
  set(x_offset, 3);
  set(y_offset, 500);
  draw(4 * (1024 * 500 + 3), 0x00aa'bbcc);
  draw(4 * (1024 * 501 + 4), 0x0001'0203);
  EXPECT_EQ(pixel(0, 0), (std::vector{0xaa, 0xbb, 0xcc}));
  EXPECT_EQ(pixel(1, 1), (std::vector{1, 2, 3}));
}

TEST_F(BochsDisplayTest, ShowsBothByteOrdersAndSixteenBits) {
  set_mode(640, 480);
  draw(0, 0x0011'2233);
  set_extended(byte_order, 0xbebe'bebe);
  EXPECT_EQ(get<std::uint32_t>(byte_order), 0xbebe'bebeu);
  EXPECT_EQ(pixel(0, 0), (std::vector{0x22, 0x11, 0x00})) << "in memory: 33 22 11 00";
  set_extended(byte_order, 5);
  EXPECT_EQ(get<std::uint32_t>(byte_order), 0xbebe'bebeu) << "no word for an order";
  set_extended(byte_order, 0x1e1e'1e1e);
  EXPECT_EQ(pixel(0, 0), (std::vector{0x11, 0x22, 0x33}));
  set_mode(640, 480, 16);
  draw(0, 0x8410'f800);  // two pixels: all of red; 10000 100000 10000
  EXPECT_EQ(pixel(0, 0), (std::vector{255, 0, 0}));
  EXPECT_EQ(pixel(1, 0), (std::vector{0x84, 0x82, 0x84}));
}

TEST_F(BochsDisplayTest, ShowsNothingWhereAModeCannotBe) {
  set_mode(640, 480);
  EXPECT_TRUE(function->picture());
  set(enable, 0x40);
  EXPECT_FALSE(function->picture()) << "off";
  set_mode(640, 480, 24);
  EXPECT_FALSE(function->picture()) << "a depth that there is not";
  set_mode(63, 480);
  EXPECT_FALSE(function->picture());
  set_mode(640, 63);
  EXPECT_FALSE(function->picture());
  set_mode(64, 64);
  EXPECT_TRUE(function->picture());
  set_mode(2048, 2048);
  EXPECT_TRUE(function->picture()) << "16 MiB";
  set(y_offset, 1);
  EXPECT_FALSE(function->picture()) << "a row of it is behind the memory";
  set_mode(0xffff, 0xffff);
  EXPECT_FALSE(function->picture());
}

TEST_F(BochsDisplayTest, ForgetsItsModeInAResetAndKeepsItsMemory) {
  set_mode(640, 480);
  set_extended(byte_order, 0xbebe'bebe);
  draw(0, 0x0011'2233);
  function->reset();
  EXPECT_FALSE(function->picture());
  board->assign_resources();
  EXPECT_EQ(get(xres), 0);
  EXPECT_EQ(get<std::uint32_t>(byte_order), 0x1e1e'1e1eu);
  set_mode(640, 480);
  EXPECT_EQ(pixel(0, 0), (std::vector{0x11, 0x22, 0x33}));
}

}  // namespace
}  // namespace cbit::dev
