// FNSTENV, FNSAVE, FXSAVE and back: the layouts of the manual, and the host's.
#include <gtest/gtest.h>

#include <algorithm>

#include "base/random.hpp"
#include "cpu/fp/x87.hpp"
#include "host_cpu.hpp"

namespace cbit::cpu::fp::test {
namespace {

constexpr Float80 one{integer_bit, 0x3fff};

X87 example() {
  X87 x87;
  x87.fld(one);
  x87.fld(Float80{});
  x87.fld(infinity<Float80>(false));
  x87.state.control.raw = 0x0c7f;
  x87.note_instruction(0x5d9, 0x1234, 0x89ab'cdef);
  x87.note_data(0x5678, 0x7654'3210);
  return x87;
}

Bytes image_of(const X87& x87, X87Layout layout) {
  Bytes image(X87::environment_size(layout));
  x87.store_environment(image, layout);
  return image;
}

// Registers 7, 6, 5 hold a valid number, a zero, and something special: SDM vol. 1, 8.1.7.
constexpr std::uint16_t example_tags = 0b00'01'10'11'11'11'11'11;

TEST(X87Image, HasTheProtectedModeLayouts) {
  const Bytes image = image_of(example(), X87Layout::protected_32);
  ASSERT_EQ(image.size(), 28u);
  EXPECT_EQ(load<std::uint32_t>(image, 0), 0xffff'0c7fu);
  EXPECT_EQ(load<std::uint32_t>(image, 4), 0xffff'0000u | 5 << 11);
  EXPECT_EQ(load<std::uint32_t>(image, 8), 0xffff'0000u | example_tags);
  EXPECT_EQ(load<std::uint32_t>(image, 12), 0x89ab'cdefu);
  EXPECT_EQ(load<std::uint32_t>(image, 16), 0x05d9'1234u);
  EXPECT_EQ(load<std::uint32_t>(image, 20), 0x7654'3210u);
  EXPECT_EQ(load<std::uint32_t>(image, 24), 0xffff'5678u);

  const Bytes small = image_of(example(), X87Layout::protected_16);
  ASSERT_EQ(small.size(), 14u);
  EXPECT_EQ(load<std::uint16_t>(small, 4), example_tags);
  EXPECT_EQ(load<std::uint16_t>(small, 6), 0xcdef);
  EXPECT_EQ(load<std::uint16_t>(small, 8), 0x1234);
  EXPECT_EQ(load<std::uint16_t>(small, 10), 0x3210);
  EXPECT_EQ(load<std::uint16_t>(small, 12), 0x5678);
}

// Linear addresses: 12340h + 89ABCDEFh, 56780h + 76543210h.
TEST(X87Image, HasTheRealModeLayouts) {
  const Bytes image = image_of(example(), X87Layout::real_32);
  ASSERT_EQ(image.size(), 28u);
  EXPECT_EQ(load<std::uint16_t>(image, 12), 0xf12f);
  EXPECT_EQ(load<std::uint32_t>(image, 16), 0x89ac'0000u >> 4 | 0x5d9);
  EXPECT_EQ(load<std::uint16_t>(image, 20), 0x9990);
  EXPECT_EQ(load<std::uint32_t>(image, 24), 0x7659'0000u >> 4);

  const Bytes small = image_of(example(), X87Layout::real_16);
  ASSERT_EQ(small.size(), 14u);
  EXPECT_EQ(load<std::uint16_t>(small, 6), 0xf12f);
  EXPECT_EQ(load<std::uint16_t>(small, 8), 0xc000 | 0x5d9);
  EXPECT_EQ(load<std::uint16_t>(small, 10), 0x9990);
  EXPECT_EQ(load<std::uint16_t>(small, 12), 0x9000);
}

TEST(X87Image, IsLoadedFromEachLayout) {
  for (const X87Layout layout :
       {X87Layout::protected_16, X87Layout::protected_32, X87Layout::real_16, X87Layout::real_32}) {
    const Bytes image = image_of(example(), layout);
    Bytes registers(80);
    example().store_registers(registers);
    X87 x87;
    x87.fldenv(image, layout);
    x87.load_registers(registers);
    EXPECT_EQ(x87.state.registers, example().state.registers);
    EXPECT_EQ(x87.state.in_use, 0xe0);
    Bytes again = image_of(x87, layout);
    EXPECT_EQ(to_hex(again), to_hex(image));
  }
}

TEST(X87Image, WaitsForExceptionsThatALoadedEnvironmentHas) {
  X87 x87 = example();
  x87.state.control.raw = 0x037e;
  x87.state.status.raw = ie;
  const Bytes image = image_of(x87, X87Layout::protected_32);
  X87 loaded;
  loaded.fldenv(image, X87Layout::protected_32);
  EXPECT_TRUE(loaded.pending());
}

TEST(X87Image, HasFxsavesLayout) {
  X87 x87 = example();
  Bytes image(512, std::byte{0xee});
  x87.fxsave(image, false);
  EXPECT_EQ(load<std::uint16_t>(image, 0), 0x0c7f);
  EXPECT_EQ(load<std::uint16_t>(image, 2), 5 << 11);
  EXPECT_EQ(load<std::uint16_t>(image, 4), 0xe0);
  EXPECT_EQ(load<std::uint64_t>(image, 32 + 2 * 16), one.significand);  // ST(2)
  EXPECT_EQ(load<std::uint64_t>(image, 40 + 2 * 16), one.sign_exponent);
  // No exception waits: no pointers. MXCSR and XMM registers are not ours.
  EXPECT_EQ(load<std::uint64_t>(image, 8), 0u);
  EXPECT_EQ(load<std::uint64_t>(image, 24), 0xeeee'eeee'eeee'eeee);
  EXPECT_EQ(load<std::uint64_t>(image, 160), 0xeeee'eeee'eeee'eeee);
}

TEST(X87Image, HasPointersInFxsaveWhileAnExceptionWaits) {
  X87 x87 = example();
  x87.state.instruction_pointer = 0xffff'8000'1234'5678;
  x87.state.status.raw |= ze;
  x87.fldcw(0x0c7b);
  ASSERT_TRUE(x87.pending());
  Bytes image(512);
  x87.fxsave(image, false);
  EXPECT_EQ(load<std::uint16_t>(image, 6), 0x5d9);
  EXPECT_EQ(load<std::uint64_t>(image, 8), 0x0000'1234'1234'5678u);
  EXPECT_EQ(load<std::uint64_t>(image, 16), 0x0000'5678'7654'3210u);
  x87.fxsave(image, true);
  EXPECT_EQ(load<std::uint64_t>(image, 8), 0xffff'8000'1234'5678u);
  X87 loaded;
  loaded.fxrstor(image, true);
  EXPECT_EQ(loaded.state.instruction_pointer, 0xffff'8000'1234'5678u);
  EXPECT_EQ(loaded.state.registers, x87.state.registers);
  EXPECT_EQ(loaded.fnstsw(), x87.fnstsw());
}

#if CBIT_HOST_IS_X86

using Image = std::array<std::byte, 512>;

// What an instruction that loads makes of random bytes, seen by the one that stores.
struct ImageCase {
  const char* name;
  void (*host)(const Image& in, Image& out);
  void (*model)(const Image& in, ByteSpan out);
  std::size_t bytes;
};

template <X87Layout Layout>
void reload(const Image& in, ByteSpan out) {
  const std::size_t size = X87::environment_size(Layout);
  X87 x87;
  x87.fldenv(in, Layout);
  x87.load_registers(ConstByteSpan{in}.subspan(size));
  x87.store_environment(out, Layout);
  x87.store_registers(out.subspan(size));
}

template <bool Wide>
void reload_fxsave(const Image& in, ByteSpan out) {
  X87 x87;
  x87.fxrstor(in, Wide);
  x87.fxsave(out, Wide);
}

const ImageCase image_cases[] = {
    {"frstor, fnsave",
     [](const Image& in, Image& out) {
       asm volatile("frstor %1\n\tfnsave %0" : "=m"(out) : "m"(in));
     },
     reload<X87Layout::protected_32>, 108},
    {"o16 frstor, o16 fnsave",
     [](const Image& in, Image& out) {
       asm volatile("data16 frstor %1\n\tdata16 fnsave %0" : "=m"(out) : "m"(in));
     },
     reload<X87Layout::protected_16>, 94},
    {"fxrstor, fxsave",
     [](const Image& in, Image& out) {
       asm volatile("fxrstor %1\n\tfxsave %0\n\tfninit" : "=m"(out) : "m"(in));
     },
     reload_fxsave<false>, 160},
    {"fxrstor64, fxsave64",
     [](const Image& in, Image& out) {
       asm volatile("fxrstor64 %1\n\tfxsave64 %0\n\tfninit" : "=m"(out) : "m"(in));
     },
     reload_fxsave<true>, 160},
};

// Legal for FXRSTOR: MXCSR as it is at reset, canonical pointers of 47 bits.
Image random_image(Random& random) {
  alignas(16) Image image;
  for (std::size_t at = 0; at < image.size(); at += 8) store(image, at, random.next());
  store(image, 24, std::uint32_t{0x1f80});
  store(image, 13, std::uint8_t{0});
  store(image, 14, std::uint16_t{0});
  store(image, 21, std::uint8_t{0});
  store(image, 22, std::uint16_t{0});
  return image;
}

bool agrees_once(const ImageCase& test, const Image& in) {
  alignas(16) Image aligned = in, theirs{}, ours{};
  test.host(aligned, theirs);
  test.model(in, ours);
  std::copy_n(&theirs[24], 8, &ours[24]);  // MXCSR, or what stands there
  return std::equal(ours.begin(), ours.begin() + static_cast<std::ptrdiff_t>(test.bytes), theirs.begin());
}

// Pointers get lost if the host's kernel switches threads between the two instructions.
bool agrees(const ImageCase& test, const Image& in) {
  return agrees_once(test, in) || agrees_once(test, in) || agrees_once(test, in);
}

TEST(X87Image, IsTheHosts) {
  if (!compares_undefined()) GTEST_SKIP() << "processors differ in what they keep of pointers";
  Random random{1};
  for (const ImageCase& test : image_cases) {
    for (std::uint64_t n = host_cases(20'000); n > 0; --n) {
      ASSERT_TRUE(agrees(test, random_image(random))) << test.name;
    }
  }
}

#endif

}  // namespace
}  // namespace cbit::cpu::fp::test
