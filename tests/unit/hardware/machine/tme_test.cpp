// PCONFIG and MKTME's MSRs.
#include "machine/tme.hpp"

#include <gtest/gtest.h>

#include "machine/machine.hpp"
#include "paging/page_table.hpp"

namespace cbit::machine {
namespace {

class TmeBoard : public testing::Test {
 protected:
  TmeBoard() {
    const auto allocate = [this]() -> Result<PhysAddr> { return PhysAddr{next_ += page_size}; };
    paging::PageTable::Source source{.allocate = allocate, .release = [](PhysAddr) {}};
    table.emplace(
        paging::PageTable::create(machine->memory(), machine->paging(), 0, std::move(source), mem::Access{})
            .value());
    EXPECT_TRUE(table->map({.at = VirtAddr{0}, .phys = PhysAddr{0}, .bytes = 16ull << 20}));
    cpu.load_cr3(table->cr3());
  }

  Result<PconfigStatus, CpuException> run(const KeyProgram& program, std::uint64_t leaf = 0,
                                          VirtAddr at = VirtAddr{0x10'0000}) {
    EXPECT_TRUE(cpu.store(at, program));
    return machine->tme()->pconfig(cpu, leaf, at);
  }
  static KeyProgram direct(std::uint16_t key_id, std::uint8_t seed = 1) {
    KeyProgram program{.key_id = key_id, .control = 1u << 8};
    program.key_1[0] = seed;
    return program;
  }
  Bytes under(KeyId key) {
    Bytes seen(16);
    EXPECT_TRUE(machine->memory().peek(PhysAddr{0x20'0000}, seen, key));
    return seen;
  }

  std::unique_ptr<Machine> machine =
      Machine::create({.platform = Platform::mktme, .memory_bytes = 16ull << 20}).value();
  std::optional<paging::PageTable> table;
  paging::Mmu cpu{machine->memory(), machine->tracer(), machine->paging(), 0};
  Tme& tme = *machine->tme();

 private:
  std::uint64_t next_ = 0x80'0000;
};

TEST_F(TmeBoard, SaysWhatItHas) {
  EXPECT_EQ(tme.capability().raw, 0x3f6'8000'0001u);
  EXPECT_EQ(tme.activate().raw, 0x1'0006'8000'0003u);
}

TEST_F(TmeBoard, ProgramsAKeyThatCpusAndDevicesShare) {
  ASSERT_EQ(run(direct(5)), PconfigStatus::success);
  const Bytes text(16, std::byte{0x41});
  ASSERT_TRUE(machine->memory().write(PhysAddr{0x20'0000}, text, mem::Access{.key = 5}));
  EXPECT_EQ(under(5), text);
  EXPECT_NE(under(0), text);
  const auto [phys, key] = machine->bus().device_view().resolve(PtePhys{5ull << 46 | 0x1000});
  EXPECT_EQ(key, 5);
  EXPECT_EQ(phys, PhysAddr{0x1000});
}

TEST_F(TmeBoard, MakesNoiseOfWhatAnotherKeyWrote) {
  ASSERT_EQ(run(direct(5, 1)), PconfigStatus::success);
  const Bytes text(16, std::byte{0x41});
  ASSERT_TRUE(machine->memory().write(PhysAddr{0x20'0000}, text, mem::Access{.key = 5}));
  ASSERT_EQ(run(direct(5, 2)), PconfigStatus::success);
  EXPECT_NE(under(5), text);
  ASSERT_EQ(run(direct(5, 1)), PconfigStatus::success);
  EXPECT_EQ(under(5), text);
  KeyProgram clear = direct(5);
  clear.control = 1u << 8 | 2;
  ASSERT_EQ(run(clear), PconfigStatus::success);
  EXPECT_EQ(under(5), under(0));
}

TEST_F(TmeBoard, FaultsOnWhatTheManualReserves) {
  EXPECT_EQ(run(direct(5), 1).error(), general_protection);
  EXPECT_EQ(run(direct(5), 0, VirtAddr{0x10'0080}).error(), general_protection);
  KeyProgram reserved = direct(5);
  reserved.reserved[57] = 1;
  EXPECT_EQ(run(reserved).error(), general_protection);
  for (unsigned bit = 24; bit < 32; ++bit) {
    KeyProgram program = direct(5);
    program.control |= 1u << bit;
    EXPECT_EQ(run(program).error(), general_protection) << bit;
  }
  EXPECT_EQ(tme.pconfig(cpu, 0, VirtAddr{1ull << 40}).error(), page_fault);
  EXPECT_FALSE(machine->keys().installed(5));
  tme.set_activate(tme.activate().with<TmeActivate::Enabled>(false));
  EXPECT_EQ(run(direct(5)).error(), general_protection);
}

TEST_F(TmeBoard, GivesEachStatusOfTheManual) {
  KeyProgram program = direct(5);
  program.control = 1u << 8 | 4;
  EXPECT_EQ(run(program), PconfigStatus::invalid_command);
  EXPECT_EQ(run(direct(0)), PconfigStatus::invalid_key_id);
  EXPECT_EQ(run(direct(64)), PconfigStatus::invalid_key_id);
  EXPECT_EQ(run(direct(63)), PconfigStatus::success);
  for (const unsigned algorithm : {0u, 2u, 3u, 0x8000u})
    for (const unsigned command : {0u, 1u, 2u, 3u}) {
      program.control = algorithm << 8 | command;
      EXPECT_EQ(run(program), PconfigStatus::invalid_algorithm) << algorithm << ' ' << command;
    }
  for (const auto status : {PconfigStatus::entropy_error, PconfigStatus::device_busy}) {
    tme.fail_next(status);
    EXPECT_EQ(run(direct(7)), status);
    EXPECT_FALSE(machine->keys().installed(7));
  }
  EXPECT_EQ(run(direct(7)), PconfigStatus::success);
}

TEST_F(TmeBoard, MixesRandomKeysWithWhatSoftwareGives) {
  KeyProgram program = direct(5);
  program.control = 1u << 8 | 1;
  ASSERT_EQ(run(program), PconfigStatus::success);
  const Bytes text(16, std::byte{0x41});
  ASSERT_TRUE(machine->memory().write(PhysAddr{0x20'0000}, text, mem::Access{.key = 5}));
  ASSERT_EQ(run(program), PconfigStatus::success);
  EXPECT_NE(under(5), text);  // the same software part, another random one
}

}  // namespace
}  // namespace cbit::machine
