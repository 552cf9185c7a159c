#include <gtest/gtest.h>

#include "bus/pci/function.hpp"
#include "support/pci_board.hpp"

namespace cbit::bus {
namespace {

constexpr RequesterId own_id = spec::pci_requester(0, 3, 0);

using namespace spec;

constexpr std::uint64_t memory_bytes = 0x1000;
constexpr std::uint16_t memory_on = 2, io_on = 1, master_on = 4, intx_off = 0x400;

struct CountingPorts final : PioRegion {
  std::uint32_t read(std::uint16_t offset, unsigned) override { return 0xa0u + offset; }
  void write(std::uint16_t, unsigned, std::uint32_t value) override { last = value; }
  std::uint32_t last = 0;
};

// Memory in BAR 0, more in the 64-bit BAR 2, ports in BAR 4, MSI-X in BAR 5, and all capabilities.
class Toy final : public PciFunction {
 public:
  Toy(SystemBus& bus, unsigned device)
      : Toy{std::make_unique<DmaPort>(
            bus, DmaPortConfig{.device = "toy", .requester = pci_requester(0, device, 0)})} {}

  RamBar small{memory_bytes};
  RamBar large{1 << 20};
  CountingPorts ports;
  int resets = 0;

 private:
  explicit Toy(std::unique_ptr<DmaPort> port)
      : PciFunction{{0x1234, 0x5678, 0x9abc, 0xdef0, 7, pci_class::other}, port.get()},
        dma_{std::move(port)} {
    add_memory_bar(0, memory_bytes, small, PciMemoryBar::bits_32);
    add_memory_bar(2, 1 << 20, large, PciMemoryBar::bits_64);
    add_io_bar(4, 16, ports);
    add_intx();
    add_express();
    add_power_management();
    add_msi(4);
    add_msix(3, 5);
  }
  void on_reset() override { ++resets; }
  std::unique_ptr<DmaPort> dma_;
};

struct PciFunctionTest : testing::Test {
  PciFunctionTest() { board.pci.plug(3, toy); }

  std::uint16_t command() { return board.config<std::uint16_t>(3, pci_register::command); }
  void set_bar(unsigned number, std::uint32_t value) {
    board.set_config(3, pci_register::base_address + 4 * number, value);
  }
  // A table entry, and MSI-X on.
  void set_entry(unsigned vector, std::uint64_t address, std::uint32_t data, std::uint32_t control = 0) {
    const std::uint64_t at = board.bar(3, 5) + 16 * vector;
    board.write(at, static_cast<std::uint32_t>(address));
    board.write(at + 4, static_cast<std::uint32_t>(address >> 32));
    board.write(at + 8, data);
    board.write(at + 12, control);
  }
  void set_msix(std::uint16_t control) {
    board.set_config(3, board.capability(3, pci_capability::msi_x) + pci_msix::control, control);
  }
  std::uint32_t msi() { return board.capability(3, pci_capability::msi); }
  void enable_msi(unsigned log2 = 0) {
    board.set_config(3, msi() + pci_msi::address, 0xfee0'1000u);
    board.set_config(3, msi() + pci_msi::data, std::uint16_t{0x4040});
    board.set_config(3, msi() + pci_msi::control, static_cast<std::uint16_t>(1 | log2 << 4));
  }

  test::PciBoard board;
  Toy toy{board.bus, 3};
};

TEST_F(PciFunctionTest, NamesItselfInAHeaderOfTypeZero) {
  EXPECT_EQ(board.config<std::uint32_t>(3, 0x00), 0x5678'1234u);
  EXPECT_EQ(board.config<std::uint32_t>(3, 0x08), 0xff00'0007u);
  EXPECT_EQ(board.config<std::uint8_t>(3, 0x0e), 0u);
  EXPECT_EQ(board.config<std::uint32_t>(3, 0x2c), 0xdef0'9abcu);
  EXPECT_EQ(board.config<std::uint16_t>(3, 0x3c), 0x0100u) << "INTA#";
  EXPECT_EQ(board.config<std::uint16_t>(3, 0x06), 0x10u) << "a list of capabilities, nothing else";
  EXPECT_EQ(board.config<std::uint32_t>(3, 0x100), 0u) << "no extended capabilities";
}

TEST_F(PciFunctionTest, LetsSoftwareChangeOnlyWhatTheSpecificationSays) {
  for (std::uint32_t offset = 0; offset < 0x10; offset += 4) board.set_config(3, offset, 0xffff'ffffu);
  for (std::uint32_t offset = 0x28; offset < 0x40; offset += 4) board.set_config(3, offset, 0xffff'ffffu);
  EXPECT_EQ(board.config<std::uint32_t>(3, 0x00), 0x5678'1234u);
  EXPECT_EQ(command(), 0x0547);
  EXPECT_EQ(board.config<std::uint32_t>(3, 0x08), 0xff00'0007u);
  EXPECT_EQ(board.config<std::uint32_t>(3, 0x0c), 0x0000'00ffu) << "the cache line size alone";
  EXPECT_EQ(board.config<std::uint32_t>(3, 0x2c), 0xdef0'9abcu);
  EXPECT_EQ(board.config<std::uint32_t>(3, 0x30), 0u) << "no expansion ROM";
  EXPECT_EQ(board.config<std::uint16_t>(3, 0x3c), 0x01ffu) << "the interrupt line is scratch";
}

TEST_F(PciFunctionTest, LinksItsCapabilities) {
  for (const std::uint8_t id : std::initializer_list<std::uint8_t>{0x10, 0x01, 0x05, 0x11}) {
    EXPECT_NE(board.capability(3, id), 0u) << int{id};
    EXPECT_EQ(board.capability(3, id, 1), 0u) << int{id};
  }
  EXPECT_EQ(board.config<std::uint16_t>(3, board.capability(3, 0x10) + 2), 0x92u)
      << "an endpoint of the root complex, version 2";
}

TEST_F(PciFunctionTest, TellsTheSizesOfItsBars) {
  for (unsigned bar = 0; bar < 6; ++bar) set_bar(bar, 0xffff'ffff);
  const std::uint32_t expected[] = {0xffff'f000, 0, 0xfff0'0004, 0xffff'ffff, 0xffff'fff1, 0xffff'f000};
  for (unsigned bar = 0; bar < 6; ++bar)
    EXPECT_EQ(board.config<std::uint32_t>(3, 0x10 + 4 * bar), expected[bar]) << bar;
}

TEST_F(PciFunctionTest, BarsAnswerWhereTheyAreOnceDecodingIsOn) {
  set_bar(0, 0xc010'0000);
  set_bar(2, 0x2000'0000);
  set_bar(3, 0x10);
  set_bar(4, 0x6000);
  EXPECT_FALSE(board.answers(0xc010'0000));
  board.set_command(3, memory_on);
  board.write(0xc010'0ffc, 0x1234u);
  EXPECT_EQ(load<std::uint32_t>(toy.small.data(), 0xffc), 0x1234u);
  EXPECT_FALSE(board.answers(0xc010'1000));
  board.write(0x10'2000'0008, 0x77u);
  EXPECT_EQ(load<std::uint32_t>(toy.large.data(), 8), 0x77u);
  EXPECT_EQ(board.ports.read(0x6001, 1), 0xffu) << "memory is on, I/O is not";
  board.set_command(3, io_on);
  EXPECT_EQ(board.ports.read(0x6001, 1), 0xa1u);
  EXPECT_FALSE(board.answers(0xc010'0000));
}

TEST_F(PciFunctionTest, ABarMovesWithItsRegister) {
  set_bar(0, 0xc010'0000);
  board.set_command(3, memory_on);
  set_bar(0, 0xc020'0000);
  EXPECT_FALSE(board.answers(0xc010'0000));
  EXPECT_TRUE(board.answers(0xc020'0000));
}

TEST_F(PciFunctionTest, ABarNeitherCoversMemoryNorWrapsAround) {
  set_bar(0, 0);
  set_bar(2, 0xfff0'0000);
  set_bar(3, 0xffff'ffff);
  set_bar(4, 0xffff'fff0);
  set_bar(5, 0xd000'0000);
  board.set_command(3, memory_on | io_on);
  EXPECT_FALSE(board.answers(0));
  EXPECT_FALSE(board.answers(0xffff'ffff'fff0'0000));
  EXPECT_EQ(board.ports.read(0xfff0, 1), 0xffu) << "ports have 16 bits";
}

TEST_F(PciFunctionTest, OfTwoBarsInOnePlaceTheFirstAnswersAndThenTheOther) {
  Toy second{board.bus, 4};
  board.pci.plug(4, second);
  set_bar(0, 0xc010'0000);
  board.set_command(3, memory_on);
  board.set_config(4, 0x10, 0xc010'0000u);
  board.set_command(4, memory_on);
  board.write(0xc010'0000, 1u);
  EXPECT_EQ(load<std::uint32_t>(toy.small.data()), 1u);
  EXPECT_EQ(load<std::uint32_t>(second.small.data()), 0u);
  board.set_command(3, 0);
  board.write(0xc010'0000, 2u);
  EXPECT_EQ(load<std::uint32_t>(second.small.data()), 2u);
}

TEST_F(PciFunctionTest, AFunctionThatEndsLeavesItsPlaces) {
  {
    Toy second{board.bus, 4};
    board.pci.plug(4, second);
    board.set_config(4, 0x10, 0xc010'0000u);
    board.set_command(4, memory_on);
    EXPECT_TRUE(board.answers(0xc010'0000));
  }
  EXPECT_FALSE(board.answers(0xc010'0000));
  EXPECT_EQ(board.config<std::uint32_t>(4, 0), 0xffff'ffffu);
  EXPECT_TRUE(board.lines[4].drivers().empty());
}

TEST_F(PciFunctionTest, FirmwareGivesEachBarAPlaceAndTurnsDecodingOn) {
  board.assign_resources();
  EXPECT_EQ(command(), memory_on | io_on) << "but no bus mastership";
  std::set<std::uint64_t> places;
  for (const unsigned bar : {0u, 2u, 5u}) {
    const std::uint64_t at = board.bar(3, bar);
    EXPECT_TRUE(board.answers(at)) << bar;
    EXPECT_TRUE(places.insert(at).second);
  }
  EXPECT_EQ(board.bar(3, 2) % (1 << 20), 0u);
  EXPECT_EQ(board.bar(3, 4), 0x6000u);
}

TEST_F(PciFunctionTest, DoesNoDmaBeforeItIsBusMaster) {
  const auto refused = toy.port()->store(DmaAddr{0x5000}, 1u);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error(), (Fault{FaultKind::bus_master_off, 0x5000, true}));
  const auto faults = board.log.all<DeviceFault>();
  ASSERT_EQ(faults.size(), 1u);
  EXPECT_EQ(faults[0].fault.kind, FaultKind::bus_master_off);
  EXPECT_EQ(board.value<std::uint32_t>(PhysAddr{0x5000}, no_key), 0u);
  board.set_command(3, master_on);
  EXPECT_TRUE(toy.port()->store(DmaAddr{0x5000}, 1u));
  EXPECT_EQ(board.value<std::uint32_t>(PhysAddr{0x5000}, no_key), 1u);
}

TEST_F(PciFunctionTest, DrivesItsLineAsTheCommandRegisterAllows) {
  toy.set_intx(true);
  EXPECT_TRUE(board.lines[3].asserted());
  EXPECT_FALSE(board.lines[3].high());
  EXPECT_EQ(board.config<std::uint16_t>(3, pci_register::status) & 8, 8);
  board.set_command(3, intx_off);
  EXPECT_FALSE(board.lines[3].asserted());
  EXPECT_EQ(board.config<std::uint16_t>(3, pci_register::status) & 8, 8)
      << "the status shows it all the same";
  board.set_command(3, 0);
  EXPECT_TRUE(board.lines[3].asserted());
  toy.set_intx(false);
  EXPECT_FALSE(board.lines[3].asserted());
  EXPECT_EQ(board.config<std::uint16_t>(3, pci_register::status) & 8, 0);
}

TEST_F(PciFunctionTest, SendsMsiInsteadOfDrivingTheLine) {
  toy.set_intx(true);
  board.set_command(3, master_on);
  enable_msi();
  EXPECT_FALSE(board.lines[3].asserted());
  toy.interrupt(0);
  toy.interrupt(3);
  EXPECT_EQ(board.messages.seen,
            (std::vector<MessageInterrupt>{{0xfee0'1000, 0x4040, own_id}, {0xfee0'1000, 0x4040, own_id}}));
}

TEST_F(PciFunctionTest, NumbersTheMessagesThatSoftwareGrants) {
  board.set_command(3, master_on);
  enable_msi(1);
  toy.interrupt(1);
  toy.interrupt(2);
  EXPECT_EQ(board.messages.seen,
            (std::vector<MessageInterrupt>{{0xfee0'1000, 0x4041, own_id}, {0xfee0'1000, 0x4040, own_id}}));
  enable_msi(7);
  board.messages.seen.clear();
  toy.interrupt(3);
  EXPECT_EQ(board.messages.seen, (std::vector<MessageInterrupt>{{0xfee0'1000, 0x4043, own_id}}))
      << "no more than four, whatever is written";
}

TEST_F(PciFunctionTest, AMaskedMsiIsPendingUntilItIsUnmasked) {
  board.set_command(3, master_on);
  enable_msi(1);
  board.set_config(3, msi() + pci_msi::mask, 0xffff'ffffu);
  EXPECT_EQ(board.config<std::uint32_t>(3, msi() + pci_msi::mask), 0xfu);
  toy.interrupt(1);
  toy.interrupt(1);
  EXPECT_TRUE(board.messages.seen.empty());
  EXPECT_EQ(board.config<std::uint32_t>(3, msi() + pci_msi::pending), 2u);
  board.set_config(3, msi() + pci_msi::pending, 0u);
  EXPECT_EQ(board.config<std::uint32_t>(3, msi() + pci_msi::pending), 2u) << "read-only";
  board.set_config(3, msi() + pci_msi::mask, 0u);
  EXPECT_EQ(board.messages.seen, (std::vector<MessageInterrupt>{{0xfee0'1000, 0x4041, own_id}}));
  EXPECT_EQ(board.config<std::uint32_t>(3, msi() + pci_msi::pending), 0u);
}

TEST_F(PciFunctionTest, AMessageNeedsBusMastership) {
  enable_msi();
  toy.interrupt(0);
  EXPECT_TRUE(board.messages.seen.empty());
}

TEST_F(PciFunctionTest, SendsMsixMessagesFromItsTable) {
  board.assign_resources();
  board.enable_bus_master(3);
  set_entry(1, 0xfee0'2000, 0x55);
  toy.interrupt(1);
  EXPECT_TRUE(board.messages.seen.empty()) << "not enabled";
  set_msix(0x8000);
  toy.interrupt(1);
  toy.interrupt(0);
  toy.interrupt(3);
  EXPECT_EQ(board.messages.seen, (std::vector<MessageInterrupt>{{0xfee0'2000, 0x55, own_id}}))
      << "entries are masked at first, and there are three";
}

TEST_F(PciFunctionTest, AMaskedMsixVectorIsPendingUntilVectorAndFunctionAreUnmasked) {
  board.assign_resources();
  board.enable_bus_master(3);
  set_entry(2, 0xfee0'2000, 0x56, 1);
  set_msix(0xc000);
  toy.interrupt(2);
  const std::uint64_t pba = board.bar(3, 5) + 0x800;
  EXPECT_EQ(board.read<std::uint64_t>(pba), 4u);
  board.write(pba, std::uint64_t{0});
  EXPECT_EQ(board.read<std::uint64_t>(pba), 4u) << "read-only";
  set_entry(2, 0xfee0'2000, 0x57);
  EXPECT_TRUE(board.messages.seen.empty()) << "the function's mask is still there";
  set_msix(0x8000);
  EXPECT_EQ(board.messages.seen, (std::vector<MessageInterrupt>{{0xfee0'2000, 0x57, own_id}}));
  EXPECT_EQ(board.read<std::uint64_t>(pba), 0u);
}

TEST_F(PciFunctionTest, TheMsixTableTakesDwordsAndQuadwords) {
  board.assign_resources();
  const std::uint64_t at = board.bar(3, 5);
  board.write(at, std::uint64_t{0x1'fee0'3007});
  EXPECT_EQ(board.read<std::uint64_t>(at), 0x1'fee0'3004u) << "the two lowest bits are zero";
  board.write(at + 8, std::uint16_t{0x1111});
  board.write(at + 10, std::uint32_t{0x1111});
  EXPECT_EQ(board.read<std::uint32_t>(at + 8), 0u);
  board.write(at + 8, std::uint64_t{0xffff'fffe'0000'0041});
  EXPECT_EQ(board.read<std::uint64_t>(at + 8), 0x41u) << "but the mask, vector control is reserved";
  board.write(at + 48, std::uint32_t{1});
  EXPECT_EQ(board.read<std::uint32_t>(at + 48), 0u) << "there are three entries";
}

TEST_F(PciFunctionTest, AMessageToAnotherAddressIsAWriteToMemory) {
  board.assign_resources();
  board.enable_bus_master(3);
  set_entry(0, 0x5000, 0x1234'5678);
  set_msix(0x8000);
  toy.interrupt(0);
  EXPECT_TRUE(board.messages.seen.empty());
  EXPECT_EQ(board.value<std::uint32_t>(PhysAddr{0x5000}, no_key), 0x1234'5678u);
  set_entry(0, board.bar(3, 0), 1);
  toy.interrupt(0);
  EXPECT_EQ(load<std::uint32_t>(toy.small.data()), 0u) << "not to the device itself";
}

TEST_F(PciFunctionTest, AFunctionLevelResetForgetsEverything) {
  board.assign_resources();
  board.enable_bus_master(3);
  set_entry(0, 0xfee0'2000, 1);
  set_msix(0x8000);
  toy.set_intx(true);
  const std::uint64_t at = board.bar(3, 0);
  const std::uint32_t control = board.capability(3, pci_capability::express) + 8;
  EXPECT_EQ(board.config<std::uint16_t>(3, control), 0x2810);
  EXPECT_NE(board.config<std::uint32_t>(3, control - 4) & 1u << 28, 0u);
  board.set_config(3, control, std::uint16_t{0xa810});
  EXPECT_EQ(toy.resets, 1);
  EXPECT_EQ(command(), 0);
  EXPECT_FALSE(board.answers(at));
  EXPECT_EQ(board.bar(3, 0), 0u);
  EXPECT_FALSE(toy.msix_enabled());
  EXPECT_FALSE(toy.port()->bus_master());
  EXPECT_FALSE(board.lines[3].asserted());
  EXPECT_EQ(board.config<std::uint16_t>(3, control), 0x2810);
  board.assign_resources();
  EXPECT_EQ(board.read<std::uint64_t>(board.bar(3, 5)), 0u);
  EXPECT_EQ(board.read<std::uint32_t>(board.bar(3, 5) + 12), 1u) << "masked again";
}

TEST_F(PciFunctionTest, InD3OnlyConfigurationSpaceIsThere) {
  board.assign_resources();
  board.enable_bus_master(3);
  toy.set_intx(true);
  const std::uint32_t control = board.capability(3, pci_capability::power_management) + 4;
  EXPECT_EQ(board.config<std::uint16_t>(3, control), 8) << "no soft reset";
  for (const std::uint16_t absent : std::initializer_list<std::uint16_t>{1, 2}) {
    board.set_config(3, control, absent);
    EXPECT_EQ(board.config<std::uint16_t>(3, control), 8);
  }
  board.set_config(3, control, std::uint16_t{3});
  EXPECT_FALSE(board.answers(board.bar(3, 0)));
  EXPECT_FALSE(toy.port()->bus_master());
  EXPECT_FALSE(board.lines[3].asserted());
  EXPECT_EQ(board.config<std::uint16_t>(3, 2), 0x5678);
  board.set_config(3, control, std::uint16_t{0});
  EXPECT_TRUE(board.answers(board.bar(3, 0)));
  EXPECT_TRUE(toy.port()->bus_master());
  EXPECT_TRUE(board.lines[3].asserted());
}

TEST_F(PciFunctionTest, NobodyIsThereElsewhere) {
  EXPECT_EQ(board.config<std::uint32_t>(7, 0), 0xffff'ffffu);
  std::uint32_t value = 0;
  for (const RequesterId at : {pci_requester(0, 3, 1), pci_requester(1, 3, 0)}) {
    value = 0;
    board.pci.read_config(at, 0, std::as_writable_bytes(std::span{&value, 1}));
    EXPECT_EQ(value, 0xffff'ffffu);
  }
  EXPECT_EQ(board.config<std::uint32_t>(3, 0xffe), 0xffff'ffffu) << "over the end";
  board.set_config(3, 0xffe, 0u);
}

// Devices whose BARs are each other's targets.
class Relay final : public MmioRegion {
 public:
  Result<void> read(std::uint64_t, ByteSpan) override { return {}; }
  Result<void> write(std::uint64_t, ConstByteSpan) override {
    ++entered;
    const auto done = port->store(target, 1u);
    if (!done) refused = done.error();
    return {};
  }
  DmaPort* port = nullptr;
  DmaAddr target;
  int entered = 0;
  std::optional<Fault> refused;
};

TEST_F(PciFunctionTest, NoDeviceIsEnteredTwiceAndChainsEnd) {
  std::array<Relay, 3> relays;
  std::deque<DmaPort> ports;
  std::deque<PciFunction> functions;
  for (unsigned n = 0; n < 3; ++n) {
    ports.emplace_back(board.bus, DmaPortConfig{.device = "relay", .requester = pci_requester(0, 8 + n, 0)});
    relays[n].port = &ports.back();
    functions.emplace_back(PciIdentity{0x1234, 1, 0, 0, 0, pci_class::other}, &ports.back())
        .add_memory_bar(0, 0x1000, relays[n], PciMemoryBar::bits_32);
    functions.back().add_express();
    board.pci.plug(8 + n, functions.back());
  }
  board.assign_resources();
  for (unsigned n = 0; n < 3; ++n) {
    board.enable_bus_master(8 + n);
    relays[n].target = DmaAddr{board.bar(8 + (n + 1) % 3, 0)};
  }
  board.write(board.bar(8, 0), 1u);
  EXPECT_EQ(relays[0].entered, 1);
  EXPECT_EQ(relays[1].entered, 1);
  EXPECT_EQ(relays[2].entered, 0) << "what a device does in response to a device reaches no third";
  ASSERT_TRUE(relays[1].refused);
  EXPECT_EQ(relays[1].refused->kind, FaultKind::device_protocol);

  relays[0].target = DmaAddr{board.bar(8, 0)};
  board.write(board.bar(8, 0), 1u);
  EXPECT_EQ(relays[0].entered, 2) << "nor itself";
}

}  // namespace
}  // namespace cbit::bus
