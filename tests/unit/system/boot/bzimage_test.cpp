// Expected values are those of Documentation/x86/boot.rst and zero-page.rst: offsets are written as there.
#include "boot/bzimage.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "boot/linux_params.hpp"
#include "support/boot_board.hpp"
#include "support/boot_images.hpp"
#include "support/sizes.hpp"

namespace cbit::boot {
namespace {

using test::FakeBzImage;
using test::small_board;
using test::text_at;
using test::value_at;
using testing::HasSubstr;

// Where the plan has boot_params: RSI at entry.
template <class T>
T param(const LoadPlan& plan, std::uint64_t offset) {
  return value_at<T>(plan, plan.entry.rsi + offset);
}

OrError<LoadPlan> plan_of(const Bytes& kernel, const Board& board = small_board(), ConstByteSpan initrd = {},
                          std::string command_line = "console=ttyS0") {
  BootImage image{.name = "vmlinuz", .kernel = kernel, .command_line = std::move(command_line)};
  if (!initrd.empty()) image.modules.push_back({"initrd.img", initrd});
  return plan_bzimage(board, image);
}

std::string refusal_of(const Bytes& kernel, const Board& board = small_board()) {
  const auto plan = plan_of(kernel, board);
  EXPECT_FALSE(plan);
  return plan ? std::string{} : plan.error().message;
}

// ---- reading ----

TEST(BzImage, TellsWhatItsHeaderSays) {
  const FakeBzImage fake;
  const Bytes file = fake.file();
  const auto image = read_bzimage(file, "vmlinuz");
  ASSERT_TRUE(image) << image.error().message;
  EXPECT_EQ(image->version, "6.1.0-13-amd64 (builder@host) #1 SMP");
  EXPECT_EQ(image->release(), "6.1.0-13-amd64");
  EXPECT_EQ(std::uint64_t{image->header.pref_address}, 0x100'0000u);
  EXPECT_EQ(Bytes(image->protected_mode.begin(), image->protected_mode.end()), fake.code());
  EXPECT_EQ(image->payload.size(), 0x2000u);
  EXPECT_EQ(compression_of(image->payload), Compression::lz4);
  EXPECT_EQ(image->setup_header.size(), 0x26cu - 0x1f1u);
}

TEST(BzImage, TakesFourSectorsOfSetupForNone) {
  FakeBzImage fake;
  Bytes file = fake.file();
  test::put_at<std::uint8_t>(file, 0x1f1, 0);
  const auto image = read_bzimage(file, "vmlinuz");
  ASSERT_TRUE(image);
  EXPECT_EQ(Bytes(image->protected_mode.begin(), image->protected_mode.end()), fake.code());
}

TEST(BzImage, IgnoresWhatStandsBehindTheKernel) {
  const FakeBzImage fake;
  Bytes file = fake.file();
  file.resize(file.size() + 1000, std::byte{0xaa});  // a signature
  const auto image = read_bzimage(file, "vmlinuz");
  ASSERT_TRUE(image);
  EXPECT_EQ(image->protected_mode.size(), fake.code_bytes);
}

TEST(BzImage, SaysWhatIsWrongWithAFileThatIsNone) {
  EXPECT_THAT(refusal_of({}), HasSubstr("vmlinuz is no Linux kernel image"));
  EXPECT_THAT(refusal_of(pattern_bytes(4096, 1)), HasSubstr("is no Linux kernel image"));
  EXPECT_THAT(refusal_of(FakeBzImage{.version = 0x020b}.file()), HasSubstr("boot protocol 2.11"));
  EXPECT_THAT(refusal_of(FakeBzImage{.loadflags = 0}.file()), HasSubstr("zImage"));
  EXPECT_THAT(refusal_of(FakeBzImage{.xloadflags = 0}.file()), HasSubstr("32-bit kernel"));
  EXPECT_THAT(refusal_of(FakeBzImage{.alignment = 3}.file()), HasSubstr("nonsense"));
  EXPECT_THAT(refusal_of(FakeBzImage{.alignment = 0}.file()), HasSubstr("nonsense"));
  EXPECT_THAT(refusal_of(FakeBzImage{.pref_address = ~0ull}.file()), HasSubstr("nonsense"));
  EXPECT_THAT(refusal_of(FakeBzImage{.init_size = 0}.file()), HasSubstr("nonsense"));
  EXPECT_THAT(refusal_of(FakeBzImage{.jump = 0x10}.file()), HasSubstr("too short"));
  EXPECT_THAT(refusal_of(FakeBzImage{.code_bytes = 0x200, .in_code = {}}.file()),
              HasSubstr("no kernel behind"));
}

TEST(BzImage, IsRefusedWhereverItIsCutOff) {
  const Bytes file = FakeBzImage{.code_bytes = 0x4000}.file();
  for (std::size_t bytes = 0; bytes < file.size(); bytes += bytes < 0x300 ? 1 : 0x101)
    EXPECT_FALSE(read_bzimage(ConstByteSpan{file}.first(bytes), "vmlinuz")) << bytes;
  EXPECT_TRUE(read_bzimage(file, "vmlinuz"));
  const auto cut = read_bzimage(ConstByteSpan{file}.first(0x2000), "vmlinuz");
  ASSERT_FALSE(cut);
  EXPECT_THAT(cut.error().message, HasSubstr("cut off: it should have 18944 bytes and has 8192"));
}

// The header counts paragraphs of 16 bytes (boot.rst, syssize); memtest86+ ends within its last one.
TEST(BzImage, MayEndWithinItsLastParagraph) {
  const Bytes file = FakeBzImage{.code_bytes = 0x4000}.file();
  const auto image = read_bzimage(ConstByteSpan{file}.first(file.size() - 15), "memtest86+");
  ASSERT_TRUE(image);
  EXPECT_EQ(image->protected_mode.size(), 0x4000u - 15);
  EXPECT_FALSE(read_bzimage(ConstByteSpan{file}.first(file.size() - 16), "memtest86+"));
}

TEST(BzImage, HasNoPayloadWhereTheHeaderPointsBeyondIt) {
  Bytes file = FakeBzImage{}.file();
  test::put_at<std::uint32_t>(file, 0x24c, 0xffff'ffff);
  const auto image = read_bzimage(file, "vmlinuz");
  ASSERT_TRUE(image);
  EXPECT_TRUE(image->payload.empty());
  EXPECT_EQ(compression_of(image->payload), Compression::unknown);
}

TEST(BzImage, TellsWhetherItWasBuiltForEncryptedMemory) {
  const auto answer = [](const FakeBzImage& fake) {
    const Bytes file = fake.file();
    const auto image = read_bzimage(file, "vmlinuz");
    return image ? image->memory_encryption() : Answer::unknown;
  };
  EXPECT_EQ(answer({}), Answer::yes);
  EXPECT_EQ(answer({.in_code = "x"}), Answer::no);
  EXPECT_EQ(answer({.release = "5.10.0-8-amd64 (x) #1", .in_code = "x"}), Answer::unknown);
  EXPECT_EQ(answer({.release = "5.19.0 (x) #1", .in_code = "x"}), Answer::no);
  EXPECT_EQ(answer({.release = "custom", .in_code = "x"}), Answer::unknown);
}

// ---- loading ----

TEST(BzImagePlan, EntersTheKernelAsThe64BitProtocolSays) {
  const FakeBzImage fake;
  const Bytes file = fake.file();
  const auto plan = plan_of(file);
  ASSERT_TRUE(plan) << plan.error().message;
  const EntryState& entry = plan->entry;
  EXPECT_EQ(entry.rip, 0x100'0000u + 0x200);
  EXPECT_EQ(test::loaded_at(*plan, 0x100'0000, fake.code_bytes), fake.code());
  EXPECT_EQ(entry.cs.selector, 0x10);
  EXPECT_EQ(entry.cs.attributes, 0xa9b);  // APM vol. 2, 4.8: G, L, present, code, readable, accessed
  EXPECT_EQ(entry.cs.limit, 0xffff'ffffu);
  for (const SegmentState& data : {entry.ds, entry.es, entry.ss}) {
    EXPECT_EQ(data.selector, 0x18);
    EXPECT_EQ(data.attributes, 0xc93);
    EXPECT_EQ(data.base, 0u);
  }
  EXPECT_EQ(entry.rflags, 0x2u);       // interrupts off
  EXPECT_EQ(entry.cr0, 0x8000'0011u);  // PG, ET, PE
  EXPECT_EQ(entry.cr4, 0x20u);         // PAE
  EXPECT_EQ(entry.efer, 0x500u);       // LMA, LME
  EXPECT_EQ(entry.gdtr.limit, 6 * 8 - 1);
  EXPECT_EQ(value_at<std::uint64_t>(*plan, entry.gdtr.base + 0x10), 0x00af'9b00'0000'ffffu);
  EXPECT_EQ(value_at<std::uint64_t>(*plan, entry.gdtr.base + 0x18), 0x00cf'9300'0000'ffffu);
}

TEST(BzImagePlan, FillsBootParams) {
  const Bytes file = FakeBzImage{}.file();
  const Bytes initrd = pattern_bytes(0x1234, 3);
  const auto plan = plan_of(file, small_board(), initrd);
  ASSERT_TRUE(plan);
  EXPECT_EQ(param<std::uint8_t>(*plan, 0x210), 0xff);     // type_of_loader
  EXPECT_EQ(param<std::uint16_t>(*plan, 0x1fa), 0xffff);  // vid_mode: normal
  EXPECT_EQ(param<std::uint8_t>(*plan, 0x1ef), 0);        // the sentinel is not the image's
  EXPECT_EQ(param<std::uint32_t>(*plan, 0x202), 0x53726448u);
  EXPECT_EQ(param<std::uint16_t>(*plan, 0x1fe), 0xaa55);
  EXPECT_EQ(param<std::uint32_t>(*plan, 0x214), 0x100'0000u);  // code32_start
  EXPECT_EQ(param<std::uint64_t>(*plan, 0x250), 0u);           // setup_data
  EXPECT_EQ(param<std::uint32_t>(*plan, 0x13c), 0u);           // cc_blob_address
  EXPECT_EQ(param<std::uint16_t>(*plan, 0x006), 0);            // no screen: columns and lines
  EXPECT_EQ(param<std::uint8_t>(*plan, 0x00e), 0);
  EXPECT_EQ(text_at(*plan, param<std::uint32_t>(*plan, 0x228)), "console=ttyS0");
  EXPECT_EQ(text_at(*plan, param<std::uint64_t>(*plan, 0x070)).substr(0, 8), "RSD PTR ");
  const auto at = param<std::uint32_t>(*plan, 0x218);
  EXPECT_EQ(at % page_size, 0u);
  EXPECT_EQ(param<std::uint32_t>(*plan, 0x21c), initrd.size());
  EXPECT_EQ(param<std::uint32_t>(*plan, 0x0c0), 0u);
  EXPECT_EQ(test::loaded_at(*plan, at, initrd.size()), initrd);
}

TEST(BzImagePlan, PassesAHeaderOnThatIsLongerThanOurs) {
  FakeBzImage fake;
  fake.jump = 0x7e;  // up to 0x280
  Bytes file = fake.file();
  test::put_at<std::uint32_t>(file, 0x27c, 0x1234'5678);
  const auto plan = plan_of(file);
  ASSERT_TRUE(plan);
  EXPECT_EQ(param<std::uint32_t>(*plan, 0x27c), 0x1234'5678u);
  EXPECT_EQ(param<std::uint32_t>(*plan, 0x280), 0u);
}

TEST(BzImagePlan, GivesAMemoryMapThatCoversAllRamOnce) {
  const Bytes file = FakeBzImage{}.file();
  Board board = small_board();
  board.ram.push_back({PhysAddr{1ull << 32}, 32 * mib});
  const auto plan = plan_of(file, board);
  ASSERT_TRUE(plan);
  const unsigned count = param<std::uint8_t>(*plan, 0x1e8);
  std::uint64_t end = 0, ram = 0, kept = 0;
  for (unsigned i = 0; i < count; ++i) {
    const auto addr = param<std::uint64_t>(*plan, 0x2d0 + i * 20);
    const auto size = param<std::uint64_t>(*plan, 0x2d0 + i * 20 + 8);
    const auto type = param<std::uint32_t>(*plan, 0x2d0 + i * 20 + 16);
    EXPECT_GE(addr, end) << i;
    end = addr + size;
    if (type == 1) ram += size;
    if (type == 3 || type == 4) kept += size;
    // What the kernel looks for in the BIOS area is no memory for it to use.
    EXPECT_TRUE(type != 1 || addr + size <= 0x9fc00 || addr >= mib) << i;
  }
  EXPECT_EQ(end, (1ull << 32) + 32 * mib);
  EXPECT_GT(kept, 0u);
  EXPECT_EQ(ram + kept, 0x9fc00 + 63 * mib + 32 * mib);
}

TEST(BzImagePlan, MapsRamToItselfWithTheEncryptionBitWhereItIsLoadedEncrypted) {
  const Bytes file = FakeBzImage{}.file();
  for (const Platform platform : {Platform::plain, Platform::sme, Platform::sev}) {
    const Board board = small_board(platform);
    const auto plan = plan_of(file, board);
    ASSERT_TRUE(plan) << plan.error().message;
    const std::uint64_t c = platform == Platform::sev ? 1ull << 47 : 0;
    const auto entry = [&](std::uint64_t table, std::uint64_t index) {
      return value_at<std::uint64_t>(*plan, (table & 0xf'ffff'f000) + index * 8);
    };
    EXPECT_EQ(plan->entry.cr3.value() >> 47 & 1, 0u);
    for (const std::uint64_t at : std::vector<std::uint64_t>{0, 0x2000, 0x100'0200, 64 * mib - 1}) {
      const std::uint64_t pdpte = entry(entry(plan->entry.cr3.value(), 0), at >> 30);
      const std::uint64_t pde = entry(pdpte, at >> 21 & 511);
      EXPECT_EQ(pde, (at & ~0x1f'ffffull) | c | 0x83) << to_string(platform) << std::hex << at;
    }
    EXPECT_EQ(entry(entry(entry(plan->entry.cr3.value(), 0), 0), 32), 0u) << "beyond the end of RAM";
  }
}

TEST(BzImagePlan, MapsAllFourGibibytes) {
  const Bytes file = FakeBzImage{}.file();
  Board board = small_board(Platform::sev, 3072);
  const auto plan = plan_of(file, board);
  ASSERT_TRUE(plan);
  EXPECT_EQ(test::piece_at(*plan, plan->entry.cr3.value()).size(), 5 * page_size);
}

TEST(BzImagePlan, PutsTheInitrdAsHighAsTheKernelAllows) {
  const auto place = [](const FakeBzImage& fake, const Board& board, ConstByteSpan initrd) -> std::uint64_t {
    const Bytes file = fake.file();
    const auto plan = plan_of(file, board, initrd);
    EXPECT_TRUE(plan) << plan.error().message;
    if (!plan) return 0;
    return param<std::uint32_t>(*plan, 0x218) | std::uint64_t{param<std::uint32_t>(*plan, 0x0c0)} << 32;
  };
  const Board board = small_board();
  const Bytes small(3 * mib), large(16 * mib);
  EXPECT_LT(place({}, board, small) + small.size(), 64 * mib);
  EXPECT_GT(place({}, board, small), 60 * mib);
  EXPECT_EQ(place({.initrd_addr_max = 0x1ff'ffff}, board, small), 0x200'0000 - small.size());

  // Only a kernel that says so takes it above 4 GiB, and only where there is no room below.
  Board high = small_board(Platform::plain, 23);
  high.ram.push_back({PhysAddr{1ull << 32}, 64 * mib});
  EXPECT_GT(place({}, high, large), 1ull << 32);
  EXPECT_LT(place({}, high, small), 1ull << 32);
  const Bytes low_only = FakeBzImage{.xloadflags = 1}.file();
  EXPECT_FALSE(plan_of(low_only, high, large));
}

TEST(BzImagePlan, LinksSetupData) {
  const Bytes file = FakeBzImage{}.file();
  BootImage image{.name = "vmlinuz", .kernel = file};
  image.setup_data = {{spec::LinuxSetupType::rng_seed, Bytes(5, std::byte{7})},
                      {spec::LinuxSetupType::dtb, Bytes(3, std::byte{9})}};
  const auto plan = plan_bzimage(small_board(), image);
  ASSERT_TRUE(plan);
  const auto first = param<std::uint64_t>(*plan, 0x250);
  EXPECT_EQ(value_at<std::uint32_t>(*plan, first + 8), 9u);
  EXPECT_EQ(value_at<std::uint32_t>(*plan, first + 12), 5u);
  EXPECT_EQ(test::loaded_at(*plan, first + 16, 5), Bytes(5, std::byte{7}));
  const auto second = value_at<std::uint64_t>(*plan, first);
  EXPECT_EQ(value_at<std::uint64_t>(*plan, second), 0u);
  EXPECT_EQ(value_at<std::uint32_t>(*plan, second + 8), 2u);
  EXPECT_EQ(test::loaded_at(*plan, second + 16, 3), Bytes(3, std::byte{9}));
  image.setup_data.push_back({spec::LinuxSetupType::dtb, Bytes(0x1'0000)});
  EXPECT_FALSE(plan_bzimage(small_board(), image));
}

TEST(BzImagePlan, LoadsAtTheNextAlignedAddressOrWhereAFixedKernelMust) {
  const auto rip = [](const FakeBzImage& fake) {
    const Bytes file = fake.file();
    const auto plan = plan_of(file);
    return plan ? plan->entry.rip : 0;
  };
  EXPECT_EQ(rip({.pref_address = 0x110'0000}), 0x120'0000u + 0x200);
  EXPECT_EQ(rip({.relocatable = 0, .pref_address = 0x110'0000}), 0x110'0000u + 0x200);
  EXPECT_EQ(rip({.relocatable = 0, .pref_address = 0}), 0x10'0000u + 0x200);
}

TEST(BzImagePlan, ZeroesWhatAKernelLooksAtBeforeItIsLoaded) {
  const Bytes file = FakeBzImage{}.file();
  const auto plan = plan_of(file, small_board(Platform::sev));
  ASSERT_TRUE(plan);
  std::set<std::uint64_t> pages;
  ASSERT_TRUE(plan->for_each_page([&](PhysAddr page, auto) -> OrError<void> {
    pages.insert(page.value());
    return {};
  }));
  EXPECT_TRUE(pages.contains(0)) << "BIOS data area";
  EXPECT_TRUE(pages.contains(0x9f000)) << "EBDA";
  for (std::uint64_t page = 0xf0000; page < mib; page += page_size) EXPECT_TRUE(pages.contains(page));
}

TEST(BzImagePlan, RefusesWhatDoesNotFit) {
  EXPECT_THAT(refusal_of(FakeBzImage{.init_size = 48 * mib}.file()),
              HasSubstr("vmlinuz needs RAM up to 0x4000000 to start, and the machine has 64 MiB"));
  const Bytes file = FakeBzImage{}.file();
  const Bytes large(47 * mib);
  const auto plan = plan_of(file, small_board(), large);
  ASSERT_FALSE(plan);
  EXPECT_THAT(plan.error().message, HasSubstr("initrd.img has 48128 KiB"));
  EXPECT_THAT(plan.error().hint, HasSubstr("--memory"));
  EXPECT_FALSE(plan_of(file, small_board(Platform::plain, 4)));
}

TEST(BzImagePlan, TakesACommandLineUpToTheKernelsLimit) {
  const Bytes file = FakeBzImage{.cmdline_size = 100}.file();
  EXPECT_TRUE(plan_of(file, small_board(), {}, std::string(100, 'x')));
  const auto longer = plan_of(file, small_board(), {}, std::string(101, 'x'));
  ASSERT_FALSE(longer);
  EXPECT_THAT(longer.error().message, HasSubstr("has 101 characters; vmlinuz takes 100"));
  EXPECT_FALSE(plan_of(file, small_board(), {}, std::string("a\0b", 3)));
  const Bytes boundless = FakeBzImage{.cmdline_size = 0xffff'ffff}.file();
  EXPECT_FALSE(plan_of(boundless, small_board(), {}, std::string(0x1'0000, 'x')));
}

TEST(BzImagePlan, TakesOneInitrd) {
  const Bytes file = FakeBzImage{}.file(), initrd(16);
  BootImage image{.name = "vmlinuz", .kernel = file, .modules = {{"a", initrd}, {"b", initrd}}};
  const auto plan = plan_bzimage(small_board(), image);
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().code, ExitCode::usage);
}

TEST(BzImagePlan, RefusesAKernelThatCannotEncryptWhereItShall) {
  const Bytes file = FakeBzImage{.in_code = "x"}.file();
  EXPECT_TRUE(plan_of(file));
  EXPECT_THAT(refusal_of(file, small_board(Platform::sev)), HasSubstr("CONFIG_AMD_MEM_ENCRYPT"));
  EXPECT_THAT(refusal_of(file, small_board(Platform::sme)), HasSubstr("CONFIG_AMD_MEM_ENCRYPT"));
}

TEST(BzImagePlan, RefusesPlatformsThatNoLoaderIsFor) {
  const Bytes file = FakeBzImage{}.file();
  EXPECT_THAT(refusal_of(file, small_board(Platform::tdx)), HasSubstr("platform tdx"));
  EXPECT_THAT(refusal_of(file, small_board(Platform::pef)), HasSubstr("platform pef"));
}

// ---- the command line ----

TEST(CommandLine, GetsMemEncryptOnceAndOnlyIfItHasNone) {
  EXPECT_EQ(with_memory_encryption(""), "mem_encrypt=on");
  EXPECT_EQ(with_memory_encryption("quiet"), "quiet mem_encrypt=on");
  EXPECT_EQ(with_memory_encryption("mem_encrypt=off quiet"), "mem_encrypt=off quiet");
  EXPECT_EQ(with_memory_encryption("xmem_encrypt=on"), "xmem_encrypt=on mem_encrypt=on");
}

TEST(CommandLine, IsSearchedAsTheKernelDoesEarly) {
  EXPECT_EQ(early_option("mem_encrypt=on", "mem_encrypt"), "on");
  EXPECT_EQ(early_option(" a\tmem_encrypt=off b mem_encrypt=on", "mem_encrypt"), "on");
  EXPECT_EQ(early_option("mem_encrypt", "mem_encrypt"), std::nullopt);
  EXPECT_EQ(early_option("mem_encrypted=on", "mem_encrypt"), std::nullopt);
  EXPECT_EQ(early_option("mem_encrypt=", "mem_encrypt"), "");
}

}  // namespace
}  // namespace cbit::boot
