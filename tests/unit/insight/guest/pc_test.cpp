// Images that QEMU runs with -device isa-debugcon and -device isa-debug-exit: expected texts and exit
// statuses are what these devices do with the same instructions.
#include "guest/pc.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "boot/pc_description.hpp"
#include "chipset/pc_map.hpp"
#include "guest/run.hpp"
#include "support/guest_images.hpp"

namespace cbit::guest {
namespace {

using test::GuestCode;
using test::put_at;
using testing::HasSubstr;

constexpr std::uint64_t limit_ns = 10'000'000;

struct Outcome {
  RunReport report;
  std::string debug;
  std::string serial;
};

std::unique_ptr<Pc> loaded(const Bytes& file, Platform platform = Platform::plain) {
  auto pc = Pc::create({.platform = platform, .memory_bytes = 32 << 20});
  EXPECT_TRUE(pc) << pc.error().message;
  const auto done = (*pc)->load({.name = "image", .kernel = file, .command_line = "one two"});
  EXPECT_TRUE(done) << done.error().message;
  return std::move(*pc);
}

Outcome run_to_end(Pc& pc) {
  Outcome outcome;
  RunOptions options;
  options.limits.virtual_ns = limit_ns;
  options.com1.output = [&](std::string_view text) { outcome.serial += text; };
  options.debug_console.output = [&](std::string_view text) { outcome.debug += text; };
  outcome.report = run(pc, options);
  return outcome;
}

Outcome run_to_end(const Bytes& file, Platform platform = Platform::plain) {
  const auto pc = loaded(file, platform);
  return run_to_end(*pc);
}

TEST(GuestPc, RunsAMultibootImageThatSpeaksAndEndsThroughThePorts) {
  const Outcome outcome = run_to_end(GuestCode{}.debug("hello\n").serial("serial\n").exit(0x21).multiboot());
  EXPECT_EQ(outcome.debug, "hello\n");
  EXPECT_EQ(outcome.serial, "serial\n");
  EXPECT_EQ(outcome.report.ending, Ending::exited);
  EXPECT_EQ(outcome.report.exit_status, 0x43u);
}

TEST(GuestPc, RunsAPvhImage) {
  const Outcome outcome = run_to_end(GuestCode{}.debug("pvh").exit(0).pvh());
  EXPECT_EQ(outcome.debug, "pvh");
  EXPECT_EQ(outcome.report.ending, Ending::exited);
  EXPECT_EQ(outcome.report.exit_status, 1u);
}

// What start-up code of suites asks for: QEMU, hw/misc/pc-testdev.c and docs/specs/fw_cfg.rst.
TEST(GuestPc, HasTheTestDevicesOfSuites) {
  const Outcome outcome = run_to_end(
      GuestCode{}
          .bytes({0x66, 0xb8, 0x05, 0x00, 0x66, 0xba, 0x10, 0x05})  // mov ax, 5; mov dx, 510h
          .bytes({0x66, 0xef, 0x66, 0x42, 0xec})                    // out dx, ax; inc dx; in al, dx
          .bytes({0x04, 0x30, 0xe6, 0xe9})                          // add al, '0'; out e9h, al
          .bytes({0xb0, 0x41, 0xe6, 0xe1, 0xb0, 0x00})              // mov al, 'A'; out e1h, al; mov al, 0
          .bytes({0x66, 0xe5, 0xe0, 0x88, 0xe0, 0xe6, 0xe9})        // in ax, e0h; mov al, ah; out e9h, al
          .store(0xff00'fffc, 0x4200'0000)
          .bytes({0xa0, 0xff, 0xff, 0x00, 0xff, 0xe6, 0xe9})  // mov al, [ff00ffffh]; out e9h, al
          .exit(0)
          .multiboot());
  EXPECT_EQ(outcome.debug, "1AB");
  EXPECT_EQ(outcome.report.exit_status, 1u);
}

// A real-mode test of a suite halts with interrupts on, and goes on at the next tick of the firmware's timer.
TEST(GuestPc, WakesAnImageInRealModeByTheTimer) {
  constexpr std::uint32_t at = 0x8000, magic = 0x1bad'b002, has_addresses = 1 << 16;
  Bytes image;
  for (const std::uint32_t word :
       {magic, has_addresses, 0u - magic - has_addresses, at, at, 0u, 0u, at + 0x40})
    put_at(image, image.size(), word);
  // At 8020h: GDTR and IDTR; at 8030h: a null descriptor and 16-bit code.
  put_at<std::uint16_t>(image, 0x20, 15);
  put_at<std::uint32_t>(image, 0x22, at + 0x30);
  put_at<std::uint16_t>(image, 0x28, 0x3ff);
  put_at<std::uint64_t>(image, 0x38, 0x9b00'0000'ffff);
  const std::uint8_t code[] = {
      0x0f, 0x01, 0x15, 0x20, 0x80, 0x00, 0x00,  // lgdt [8020h]
      0x0f, 0x01, 0x1d, 0x28, 0x80, 0x00, 0x00,  // lidt [8028h]
      0xea, 0x55, 0x80, 0x00, 0x00, 0x08, 0x00,  // jmp 8:8055h
      0x0f, 0x20, 0xc0, 0x24, 0xfe,              // mov eax, cr0; and al, feh
      0x0f, 0x22, 0xc0,                          // mov cr0, eax
      0xea, 0x62, 0x80, 0x00, 0x00,              // jmp 0:8062h
      0x31, 0xc0, 0x8e, 0xd0, 0xbc, 0x00, 0x70,  // xor ax, ax; mov ss, ax; mov sp, 7000h
      0xfb, 0xf4, 0xfb, 0xf4,                    // sti; hlt; sti; hlt
      0xb0, 0x05, 0xe6, 0xf4                     // mov al, 5; out f4h, al
  };
  for (const std::uint8_t byte : code) put_at(image, std::max<std::size_t>(image.size(), 0x40), byte);
  const auto pc = loaded(image);
  RunOptions options;
  options.limits.virtual_ns = 200'000'000;
  const RunReport report = run(*pc, options);
  EXPECT_EQ(report.ending, Ending::exited);
  EXPECT_EQ(report.exit_status, 11u);
  EXPECT_GT(report.virtual_ns, 100'000'000u) << "two ticks, of 65536 at 1.193182 MHz each";
}

TEST(GuestPc, CountsAnInstructionAsANanosecondAndAnAccessToAPortAsAMicrosecond) {
  const Outcome outcome = run_to_end(GuestCode{}.debug("abc").exit(0).multiboot());
  // Two of each letter, two to end, and at most what stands behind these.
  EXPECT_THAT(outcome.report.instructions, testing::AnyOf(8u, 9u));
  EXPECT_EQ(outcome.report.virtual_ns, outcome.report.instructions + 4 * 1000);
}

// What the tables tell the guest is where the chipset has it.
TEST(GuestPc, HasPluggedDevicesWhereItsTablesSay) {
  auto pc = std::move(*Pc::create({.memory_bytes = 32 << 20}));
  ASSERT_TRUE(pc->plug(*machine::parse_device("virtio-rng"), 3));
  EXPECT_FALSE(pc->plug(*machine::parse_device("virtio-rng"), 3)) << "the slot is taken";
  EXPECT_FALSE(pc->plug(*machine::parse_device("virtio-rng"), 0)) << "the host bridge is there";
  ASSERT_TRUE(pc->load({.name = "image", .kernel = GuestCode{}.exit(0).multiboot(), .command_line = ""}));
  const boot::PcDescription tables;
  const auto config = [&](std::uint32_t offset) {
    std::array<std::byte, 4> raw{};
    EXPECT_TRUE(pc->machine().bus().io_read(tables.ecam.first + (3 << 15) + offset, raw));
    return load<std::uint32_t>(raw);
  };
  EXPECT_EQ(config(0), 0x1044'1af4u);
  EXPECT_EQ(config(4) & 7, 2u) << "memory is decoded";
  EXPECT_TRUE(tables.pci_memory.contains(PhysAddr{config(0x14)}, 1)) << "BAR 1: MSI-X";
  EXPECT_EQ(tables.pic_master_vectors, chipset::pc_map::pic_master_vectors);
  EXPECT_EQ(tables.pic_slave_vectors, chipset::pc_map::pic_slave_vectors);
  for (unsigned device = 0; device < spec::pci_devices; ++device)
    EXPECT_EQ(tables.gsi_of(device, 0), chipset::pc_map::pci_irq(device)) << device;
}

TEST(GuestPc, KeepsWhatASevGuestWritesFromTheHost) {
  constexpr std::uint32_t at = 0x48'0000, marker = 0x5ec2'e701;
  const auto pc = loaded(GuestCode{}.store(at, marker).exit(0).multiboot(), Platform::sev);
  ASSERT_EQ(run_to_end(*pc).report.ending, Ending::exited);
  Bytes host(4), guest(4);
  ASSERT_TRUE(pc->machine().memory().peek(PhysAddr{at}, host, no_key));
  ASSERT_TRUE(pc->machine().memory().peek(PhysAddr{at}, guest, mem::guest_key(machine::guest_asid)));
  EXPECT_EQ(load<std::uint32_t>(guest), marker);
  EXPECT_NE(load<std::uint32_t>(host), marker);
}

// VMMCALL with this in EAX, EBX, ECX and EDX; the result is stored.
GuestCode hypercall(std::uint32_t number, std::uint32_t at, std::uint32_t pages, std::uint32_t attributes,
                    std::uint32_t result) {
  GuestCode code;
  code.bytes({0xb8}).dword(number).bytes({0xbb}).dword(at).bytes({0xb9}).dword(pages);
  code.bytes({0xba}).dword(attributes).bytes({0x0f, 0x01, 0xd9}).bytes({0xa3}).dword(result);
  return code.exit(0);
}

struct Requests final : EventSink {
  std::vector<PageStateRequest> seen;
  void on_event(const Event& event) override {
    if (const auto* request = std::get_if<PageStateRequest>(&event.payload)) seen.push_back(*request);
  }
};

// What EAX held behind the call, and what the hypervisor heard.
std::pair<std::int32_t, std::vector<PageStateRequest>> call(const GuestCode& code, std::uint32_t result) {
  auto pc =
      std::move(*Pc::create({.platform = Platform::sev, .memory_bytes = 32 << 20, .kvm_interface = true}));
  EXPECT_TRUE(pc->load({.name = "image", .kernel = code.multiboot(), .command_line = ""}));
  Requests requests;
  pc->machine().tracer().attach(requests);
  EXPECT_EQ(run_to_end(*pc).report.ending, Ending::exited);
  pc->machine().tracer().detach(requests);
  Bytes raw(4);
  EXPECT_TRUE(pc->machine().memory().peek(PhysAddr{result}, raw, pc->guest_key()));
  return {load<std::int32_t>(raw), requests.seen};
}

// Documentation/virt/kvm/x86/hypercalls.rst, 8; errors by include/uapi/linux/kvm_para.h.
TEST(GuestPc, HearsOfPagesThatTheGuestShares) {
  constexpr std::uint32_t at = 0x48'0000, result = 0x4a'0000;
  const auto [shared, heard] = call(hypercall(12, at, 3, 0, result), result);
  EXPECT_EQ(shared, 0);
  ASSERT_EQ(heard.size(), 1u);
  EXPECT_EQ(heard[0].first, PhysAddr{at});
  EXPECT_EQ(heard[0].pages, 3u);
  EXPECT_FALSE(heard[0].encrypted);
  EXPECT_TRUE(call(hypercall(12, at, 3, 1 << 4, result), result).second.at(0).encrypted);
}

TEST(GuestPc, RefusesHypercallsThatAreNone) {
  constexpr std::uint32_t at = 0x48'0000, result = 0x4a'0000;
  EXPECT_EQ(call(hypercall(11, at, 3, 0, result), result).first, -1000);
  EXPECT_EQ(call(hypercall(12, at + 8, 3, 0, result), result).first, -22);
  EXPECT_EQ(call(hypercall(12, at, 0, 0, result), result).first, -22);
  EXPECT_EQ(call(hypercall(12, at, 0xffff'ffff, 0, result), result).first, -22) << "beyond RAM";
}

TEST(GuestPc, HasNoHypercallsUnlessTheyAreAskedFor) {
  const Bytes image = hypercall(12, 0x48'0000, 1, 0, 0x4a'0000).multiboot();
  EXPECT_EQ(run_to_end(image, Platform::sev).report.ending, Ending::shutdown) << "#UD, without an IDT";
}

TEST(GuestPc, ShowsTheHostWhatAPlainGuestWrites) {
  constexpr std::uint32_t at = 0x48'0000, marker = 0x5ec2'e701;
  const auto pc = loaded(GuestCode{}.store(at, marker).exit(0).multiboot());
  ASSERT_EQ(run_to_end(*pc).report.ending, Ending::exited);
  Bytes host(4);
  ASSERT_TRUE(pc->machine().memory().peek(PhysAddr{at}, host, no_key));
  EXPECT_EQ(load<std::uint32_t>(host), marker);
}

TEST(GuestPc, EndsWhenTheGuestHaltsWithInterruptsOff) {
  const Outcome outcome = run_to_end(GuestCode{}.bytes({0xf4}).multiboot());  // hlt
  EXPECT_EQ(outcome.report.ending, Ending::hung);
  EXPECT_LT(outcome.report.virtual_ns, limit_ns);
}

TEST(GuestPc, EndsAtATripleFaultAndTellsWhere) {
  const auto pc = loaded(GuestCode{}.bytes({0x0f, 0x0b}).multiboot());  // ud2, without an IDT
  EXPECT_EQ(run_to_end(*pc).report.ending, Ending::shutdown);
  EXPECT_THAT(pc->cpu().report(), HasSubstr("exception 6 at rip 0000000000400010"));
}

TEST(GuestPc, StopsAtItsLimitOfTime) {
  const Outcome outcome = run_to_end(GuestCode{}.bytes({0xeb, 0xfe}).multiboot());  // jmp $
  EXPECT_EQ(outcome.report.ending, std::nullopt);
  EXPECT_GE(outcome.report.virtual_ns, limit_ns);
  EXPECT_LT(outcome.report.virtual_ns, limit_ns + 100);
}

TEST(GuestPc, EndsAtAReset) {
  // mov dx, 0xcf9; mov al, 6; out dx, al
  const Outcome outcome =
      run_to_end(GuestCode{}.bytes({0x66, 0xba, 0xf9, 0x0c, 0xb0, 0x06, 0xee, 0xf4}).multiboot());
  EXPECT_EQ(outcome.report.ending, Ending::reset);
}

// The bootstrap processor writes code to 8000h, sends INIT and a startup interrupt (Intel SDM vol. 3,
// 9.4.4.1, by the registers of 11.6.1), and waits until that code has spoken and marked 8100h.
GuestCode that_starts_another() {
  constexpr std::uint32_t icr_low = 0xfee0'0300, icr_high = 0xfee0'0310, to_apic_1 = 1 << 24;
  GuestCode code;
  code.store(0x8100, 0);
  code.store(0x8000, 0xe9e6'41b0);  // mov al, 'A'; out e9h, al
  code.store(0x8004, 0x0006'c62e);  // mov byte cs:[100h], 1
  code.store(0x8008, 0x0f4'0101);   // hlt
  code.store(icr_high, to_apic_1).store(icr_low, 0x4500);
  code.store(icr_high, to_apic_1).store(icr_low, 0x4608);
  return code
      .bytes({0xf3, 0x90, 0x80, 0x3d, 0x00, 0x81, 0x00, 0x00, 0x00, 0x74, 0xf5})  // pause; cmp; je
      .debug("B")
      .exit(0);
}

TEST(GuestPc, StartsAnotherProcessorWhenItIsToldTo) {
  for (const Platform platform : {Platform::plain, Platform::sev, Platform::sme}) {
    auto pc = std::move(*Pc::create({.platform = platform, .memory_bytes = 32 << 20, .cpus = 2}));
    ASSERT_TRUE(pc->load({.name = "image", .kernel = that_starts_another().multiboot(), .command_line = ""}));
    const Outcome outcome = run_to_end(*pc);
    EXPECT_EQ(outcome.debug, "AB");
    EXPECT_EQ(outcome.report.ending, Ending::exited);
    EXPECT_EQ(pc->cpu(1).instructions(), 4u);
    EXPECT_EQ(pc->instructions(), outcome.report.instructions);
  }
}

// Intel SDM vol. 3, "MP Initialization Protocol Requirements and Restrictions": after an INIT the BSP flag
// decides whether a processor executes the boot-strap code or waits for a startup interrupt. APM vol. 2,
// table 14-1: what the registers are.
TEST(GuestPc, EndsAtAnInitOfTheBootstrapProcessorWhichHasNoFirmwareToGoOnWith) {
  constexpr std::uint32_t icr_low = 0xfee0'0300, icr_high = 0xfee0'0310, init = 0x4500;
  GuestCode code;
  code.store(icr_high, 0).store(icr_low, init);
  const auto pc = loaded(code.debug("after").bytes({0xf4}).multiboot());
  const cpu::Registers before = pc->cpu().registers();
  const Outcome outcome = run_to_end(*pc);
  EXPECT_EQ(outcome.report.ending, Ending::init);
  EXPECT_EQ(outcome.debug, "");
  const cpu::Registers now = pc->cpu().registers();
  EXPECT_EQ(now.segments[static_cast<std::size_t>(isa::Segment::cs)].selector, 0xf000);
  EXPECT_EQ(now.segments[static_cast<std::size_t>(isa::Segment::cs)].base, 0xffff'0000u);
  EXPECT_EQ(now.rip, 0xfff0u);
  EXPECT_EQ(now.rflags, 2u);
  constexpr std::uint64_t caching = 0x6000'0000, extension_type = 0x10;
  EXPECT_EQ(now.cr0, (before.cr0 & caching) | extension_type) << "CD and NW stay as they are";
  EXPECT_EQ(now.efer, 0u);
  EXPECT_EQ(now[isa::Gpr::rdx], pc->cpu().model().signature());
  EXPECT_EQ(now[isa::Gpr::rax], 0u);
}

TEST(GuestPc, LeavesOtherProcessorsAloneUntilTheyAreStarted) {
  auto pc = std::move(*Pc::create({.memory_bytes = 32 << 20, .cpus = 4}));
  ASSERT_TRUE(pc->load({.name = "image", .kernel = GuestCode{}.exit(0).multiboot(), .command_line = ""}));
  EXPECT_EQ(run_to_end(*pc).report.ending, Ending::exited);
  for (std::size_t other = 1; other < 4; ++other) EXPECT_EQ(pc->cpu(other).instructions(), 0u);
}

TEST(GuestPc, RefusesMoreProcessorsThanItRuns) {
  EXPECT_FALSE(Pc::create({.memory_bytes = 32 << 20, .cpus = 0}));
  EXPECT_FALSE(Pc::create({.memory_bytes = 32 << 20, .cpus = cpus_max + 1}));
}

TEST(GuestPc, RefusesAnImageThatIsNoKernel) {
  auto pc = Pc::create({.memory_bytes = 32 << 20});
  ASSERT_TRUE(pc);
  const Bytes file(4096);
  const auto done = (*pc)->load({.name = "zeros", .kernel = file});
  ASSERT_FALSE(done);
  EXPECT_THAT(done.error().message, HasSubstr("zeros"));
}

TEST(LinuxWords, TakeTheFirstPanicAndTheCommandsStatus) {
  LinuxWords words;
  words.read("[    1.0] Linux version 6.1");
  EXPECT_FALSE(words.panicked());
  EXPECT_FALSE(words.command_status());
  words.read("[    2.0] cbit: command ended with status 3");
  words.read("[    2.1] Kernel panic - not syncing: Attempted to kill init!");
  words.read("[    2.2] Kernel panic - not syncing: again");
  EXPECT_EQ(words.command_status(), 3);
  EXPECT_EQ(words.panic(), "Kernel panic - not syncing: Attempted to kill init!");
}

}  // namespace
}  // namespace cbit::guest
