#include "dev/test_dma_pci.hpp"

#include <gtest/gtest.h>

#include "support/pci_board.hpp"

namespace cbit::dev {
namespace {

constexpr unsigned slot = 2;
constexpr std::uint64_t local = 0x10'0000, buffer = 0x5000;
constexpr std::uint64_t cmd_read = 1, cmd_write = 2, cmd_fill = 4, cmd_reset = 6;
constexpr std::uint64_t done = 1, error = 2, busy = 8;

// Offsets and numbers are those of docs/test-device.md.
struct TestDmaPciTest : testing::Test {
  void plug(unsigned address_bits = 64, test::Encryption encryption = test::Encryption::none) {
    board = std::make_unique<test::PciBoard>(encryption);
    function = std::make_unique<TestDmaPci>(std::make_unique<TestDma>(
        board->bus,
        bus::DmaPortConfig{.device = "test", .requester = slot << 3, .address_bits = address_bits},
        &board->clock));
    board->pci.plug(slot, *function);
    board->assign_resources();
    board->enable_bus_master(slot);
  }
  ~TestDmaPciTest() override { function.reset(); }

  std::uint64_t get(std::uint64_t reg) { return board->read<std::uint64_t>(board->bar(slot, 0) + reg); }
  void set(std::uint64_t reg, std::uint64_t value) { board->write(board->bar(slot, 0) + reg, value); }
  std::uint64_t run(std::uint64_t command, std::uint64_t source, std::uint64_t destination,
                    std::uint64_t count) {
    set(0x08, source);
    set(0x10, destination);
    set(0x18, count);
    set(0x28, command);
    return get(0x30);
  }
  void enable_msi() {
    const std::uint32_t msi = board->capability(slot, 5);
    board->set_config(slot, msi + 4, 0xfee0'0000u);
    board->set_config(slot, msi + 12, std::uint16_t{0x31});
    board->set_config(slot, msi + 2, std::uint16_t{1});
  }
  void function_level_reset() {
    board->set_config(slot, board->capability(slot, 0x10) + 8, std::uint16_t{0x8000});
  }

  std::unique_ptr<test::PciBoard> board;
  std::unique_ptr<TestDmaPci> function;
};

TEST_F(TestDmaPciTest, IsFoundByItsNumbersAndItsSignature) {
  plug(40);
  EXPECT_EQ(board->config<std::uint32_t>(slot, 0), 0xcb17'1234u);
  EXPECT_EQ(board->config<std::uint32_t>(slot, 8), 0xff00'0001u);
  EXPECT_EQ(get(0x00), 0x0041'4d44'7469'6263u);
  EXPECT_EQ(get(0x58), 40u);
  for (const std::uint64_t reg : {0x08, 0x10, 0x18, 0x20, 0x28, 0x30, 0x38, 0x40, 0x48, 0x50, 0x60})
    EXPECT_EQ(get(reg), 0u) << reg;
  EXPECT_EQ(get(0x68), ~std::uint64_t{0});
}

TEST_F(TestDmaPciTest, MovesBytesBetweenMemoryAndItsLocalMemory) {
  plug();
  board->write(board->bar(slot, 0) + local + 3, std::uint32_t{0xdead'beef});
  EXPECT_EQ(run(cmd_write, 3, buffer, 4), done);
  EXPECT_EQ(board->value<std::uint32_t>(PhysAddr{buffer}, no_key), 0xdead'beefu);
  EXPECT_EQ(run(cmd_read, buffer, 0x100, 4), done);
  EXPECT_EQ(board->read<std::uint32_t>(board->bar(slot, 0) + local + 0x100), 0xdead'beefu);
}

TEST_F(TestDmaPciTest, InterruptsByMsiOncePerClearedStatus) {
  plug();
  enable_msi();
  run(cmd_fill, 0, buffer, 8);
  EXPECT_TRUE(board->messages.seen.empty()) << "not enabled";
  set(0x50, 1);
  EXPECT_EQ(board->messages.seen.size(), 1u) << "the status was waiting";
  run(cmd_fill, 0, buffer, 8);
  EXPECT_EQ(board->messages.seen.size(), 1u) << "nobody has cleared it";
  set(0x48, 1);
  EXPECT_EQ(get(0x48), 0u);
  run(cmd_fill, 0, buffer, 8);
  ASSERT_EQ(board->messages.seen.size(), 2u);
  EXPECT_EQ(board->messages.seen[1],
            (bus::MessageInterrupt{0xfee0'0000, 0x31, spec::pci_requester(0, 2, 0)}));
}

TEST_F(TestDmaPciTest, DrivesItsPinWithoutMsi) {
  plug();
  set(0x50, 3);
  run(cmd_fill, 0, buffer, 8);
  EXPECT_EQ(get(0x48), 1u);
  EXPECT_TRUE(board->lines[slot].asserted());
  set(0x48, 1);
  EXPECT_FALSE(board->lines[slot].asserted());
  run(77, 0, 0, 0);
  EXPECT_EQ(get(0x48), 3u) << "ended, with an error";
}

TEST_F(TestDmaPciTest, WaitsForItsDelay) {
  plug();
  set(0x60, 1000);
  set(0x20, 0x4141'4141'4141'4141);
  EXPECT_EQ(run(cmd_fill, 0, buffer, 8), busy);
  set(0x20, 0);
  set(0x10, buffer + 64);
  set(0x28, cmd_fill);
  board->clock.advance(999);
  EXPECT_EQ(get(0x30), busy);
  EXPECT_EQ(board->value<std::uint64_t>(PhysAddr{buffer}, no_key), 0u);
  board->clock.advance(1);
  EXPECT_EQ(get(0x30), done);
  EXPECT_EQ(board->value<std::uint64_t>(PhysAddr{buffer}, no_key), 0x4141'4141'4141'4141u)
      << "as it stood when the command was given";
  board->clock.advance(10'000);
  EXPECT_EQ(board->value<std::uint64_t>(PhysAddr{buffer + 64}, no_key), 0u) << "the second command is lost";
  set(0x60, ~std::uint64_t{0});
  EXPECT_EQ(get(0x60), 10'000'000'000u);
}

TEST_F(TestDmaPciTest, AResetEndsAWaitingCommand) {
  plug();
  for (const bool by_command : {true, false}) {
    set(0x60, 1000);
    run(cmd_fill, 0, buffer, 8);
    if (by_command) {
      set(0x28, cmd_reset);
    } else {
      function_level_reset();
      board->assign_resources();
      board->enable_bus_master(slot);
    }
    board->clock.advance(2000);
    EXPECT_EQ(get(0x30), 0u);
    EXPECT_EQ(get(0x60), 0u);
    EXPECT_EQ(get(0x48), 0u);
  }
}

// kind 13; with 32, 40, 47 and 64 lines the first address that does not fit.
TEST_F(TestDmaPciTest, RefusesAddressesThatItsLinesCannotDrive) {
  for (const unsigned bits : {32u, 40u, 47u}) {
    function.reset();
    plug(bits);
    const std::uint64_t limit = std::uint64_t{1} << bits;
    EXPECT_EQ(run(cmd_read, limit, 0, 4), done | error | 13 << 8) << bits;
    EXPECT_EQ(get(0x40), limit);
    EXPECT_EQ(run(cmd_write, 0, limit + 0x1000, 4), done | error | 4 | 13 << 8) << bits;
    EXPECT_EQ(run(cmd_read, 0x1000, 0, 4), done) << bits;
  }
  function.reset();
  plug(64);
  EXPECT_EQ(run(cmd_read, 1ull << 60, 0, 4), done | error | 4 << 8) << "it can, but nothing is there";
}

TEST_F(TestDmaPciTest, TheEncryptionBitIsAnAddressLineOfSme) {
  plug(64, test::Encryption::sme);
  board->put_value(PhysAddr{buffer}, std::uint64_t{0x1234}, board->key);
  const std::uint64_t c_bit = 1ull << test::SmallMachine::c_bit;
  EXPECT_EQ(run(cmd_read, buffer | c_bit, 0, 8), done);
  EXPECT_EQ(get(local), 0x1234u);
  EXPECT_EQ(run(cmd_read, buffer, 0, 8), done);
  EXPECT_NE(get(local), 0x1234u);
  function.reset();
  plug(47, test::Encryption::sme);
  EXPECT_EQ(run(cmd_read, buffer | c_bit, 0, 8), done | error | 13 << 8);
}

TEST_F(TestDmaPciTest, ErrorsHaveTheNumbersOfThePage) {
  plug();
  EXPECT_EQ(run(cmd_read, buffer, 0xf'ffff, 2), done | error | 14 << 8);
  EXPECT_EQ(run(cmd_read, board->bar(slot, 0), 0, 8), done | error | 14 << 8) << "the device itself";
  EXPECT_EQ(get(0x40), board->bar(slot, 0));
  board->set_command(slot, 2);
  EXPECT_EQ(run(cmd_read, buffer, 0, 8), done | error | 15 << 8);
}

}  // namespace
}  // namespace cbit::dev
