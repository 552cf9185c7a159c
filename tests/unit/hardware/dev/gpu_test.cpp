#include "dev/gpu/gpu.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "dev/crc32c.hpp"
#include "support/small_machine.hpp"

namespace cbit::dev {
namespace {

using Reg64 = Gpu::Reg64;
using Command = Gpu::Command;
using Status = Gpu::Status;

constexpr PhysAddr registers{0xc000'0000};
constexpr std::uint64_t vram_bytes = 64 * 1024;
constexpr std::uint64_t gart_base = 0xf000;
constexpr PhysAddr page{0x2'0000};

struct GpuBoard : testing::Test {
  test::SmallMachine machine{test::Encryption::sme};
  bus::SystemBus bus{*machine.memory, machine.tracer, machine.device_view};
  bus::RamBar vram{vram_bytes};
  Gpu gpu{bus, {.device = "gpu", .requester = 0x28}, vram};
  static constexpr std::uint64_t c_bit = 1ull << test::SmallMachine::c_bit;

  GpuBoard() {
    bus.add_mmio({registers, Gpu::register_bytes}, gpu);
    set(Reg64::gart_base, gart_base);
    set(Reg64::gart_entries, 4);
  }
  void set(Reg64 reg, std::uint64_t value) {
    ASSERT_TRUE(gpu.write(static_cast<std::uint64_t>(reg), bytes_of(value)));
  }
  std::uint64_t get(Reg64 reg) {
    std::array<std::byte, 8> raw{};
    EXPECT_TRUE(gpu.read(static_cast<std::uint64_t>(reg), raw));
    return load<std::uint64_t>(raw);
  }
  Status run(Command command, GpuAddr source, GpuAddr destination, std::uint64_t count) {
    set(Reg64::source, source.value());
    set(Reg64::destination, destination.value());
    set(Reg64::count, count);
    set(Reg64::command, static_cast<std::uint64_t>(command));
    return Status{{get(Reg64::status)}};
  }
  void map(std::uint64_t entry, GartEntry to) {
    ASSERT_TRUE(vram.write(gart_base + entry * sizeof(GartEntry), bytes_of(to)));
  }
};

TEST_F(GpuBoard, NamesItselfAndItsMemory) {
  EXPECT_EQ(get(Reg64::id), Gpu::id_value);
  EXPECT_EQ(get(Reg64::vram_bytes), vram_bytes);
  set(Reg64::vram_bytes, 1);
  EXPECT_EQ(get(Reg64::vram_bytes), vram_bytes);
}

TEST_F(GpuBoard, TheAddressInTheGartDecidesUnderWhichKeyMemoryIsReached) {
  const Bytes data = pattern_bytes(page_size, 1);
  machine.put(page, data, mem::host_key);
  map(0, GartEntry::of(DmaAddr{page.value() | c_bit}));
  map(1, GartEntry::of(DmaAddr{page.value()}));
  EXPECT_EQ(run(Command::copy, gart_aperture, GpuAddr{0}, page_size).raw, 1u);
  EXPECT_TRUE(std::ranges::equal(vram.data().first(page_size), data));
  EXPECT_EQ(run(Command::copy, gart_aperture + page_size, GpuAddr{0}, page_size).raw, 1u);
  EXPECT_FALSE(std::ranges::equal(vram.data().first(page_size), data));
}

TEST_F(GpuBoard, CopiesAcrossPagesThatAreScattered) {
  const Bytes data = pattern_bytes(2 * page_size, 2);
  map(0, GartEntry::of(DmaAddr{0x5'0000}));
  map(1, GartEntry::of(DmaAddr{0x3'0000}));
  ASSERT_TRUE(gpu.store(GpuAddr{16}, data));
  EXPECT_EQ(run(Command::copy, GpuAddr{16}, gart_aperture, data.size()).raw, 1u);
  Bytes seen(page_size);
  ASSERT_TRUE(machine.memory->peek(PhysAddr{0x3'0000}, seen, no_key));
  EXPECT_TRUE(std::ranges::equal(seen, ConstByteSpan{data}.subspan(page_size)));
}

TEST_F(GpuBoard, FaultsWithoutAValidEntryAndLeavesTheRestAlone) {
  map(0, GartEntry::of(DmaAddr{page.value()}));
  const Status status = run(Command::fill, {}, gart_aperture + (page_size - 8), 16);
  EXPECT_TRUE(status.get<Status::Error>());
  EXPECT_TRUE(status.get<Status::Write>());
  EXPECT_EQ(status.get<Status::Kind>(), FaultKind::device_protocol);
  EXPECT_EQ(get(Reg64::fault_address), (gart_aperture + page_size).value());
}

TEST_F(GpuBoard, HonoursTheRightsOfAnEntry) {
  map(0, GartEntry::of(DmaAddr{page.value()}).with<GartEntry::Writable>(false));
  map(1, GartEntry::of(DmaAddr{page.value()}).with<GartEntry::Readable>(false));
  Bytes one(1);
  EXPECT_TRUE(gpu.load(gart_aperture, one));
  EXPECT_FALSE(gpu.store(gart_aperture, one));
  EXPECT_FALSE(gpu.load(gart_aperture + page_size, one));
  EXPECT_TRUE(gpu.store(gart_aperture + page_size, one));
}

TEST_F(GpuBoard, AddsUpWhatADisplayShows) {
  const Bytes data = pattern_bytes(1000, 3);
  ASSERT_TRUE(gpu.store(GpuAddr{100}, data));
  EXPECT_EQ(run(Command::scanout, GpuAddr{100}, {}, data.size()).raw, 1u);
  EXPECT_EQ(get(Reg64::result), crc32c(data));
}

TEST_F(GpuBoard, RefusesWhatItCannotDo) {
  Bytes one(1);
  EXPECT_EQ(gpu.load(GpuAddr{vram_bytes}, one).error().kind, FaultKind::no_memory);
  EXPECT_EQ(gpu.load(GpuAddr{~0ull}, one).error().kind, FaultKind::device_protocol);
  EXPECT_TRUE(run(Command::copy, {}, {}, Gpu::transfer_max + 1).get<Status::Error>());
  EXPECT_TRUE(run(Command{77}, {}, {}, 1).get<Status::Error>());
  EXPECT_FALSE(gpu.read(4, one));
  set(Reg64::gart_base, ~0ull - 7);
  EXPECT_FALSE(gpu.load(gart_aperture, one));
}

// A page of the aperture that leads to the GPU's own registers must not start a command within a command.
TEST_F(GpuBoard, DoesNotAnswerToItself) {
  map(0, GartEntry::of(DmaAddr{registers.value()}));
  EXPECT_TRUE(run(Command::fill, {}, gart_aperture + static_cast<std::uint64_t>(Reg64::pattern), 8)
                  .get<Status::Error>());
}

TEST_F(GpuBoard, ForgetsEverythingOnReset) {
  ASSERT_TRUE(gpu.store(GpuAddr{0}, pattern_bytes(100, 1)));
  set(Reg64::command, static_cast<std::uint64_t>(Command::reset));
  EXPECT_EQ(get(Reg64::gart_entries), 0u);
  EXPECT_TRUE(std::ranges::all_of(vram.data(), [](std::byte b) { return b == std::byte{0}; }));
}

}  // namespace
}  // namespace cbit::dev
