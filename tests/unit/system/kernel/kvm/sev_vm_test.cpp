#include "kernel/kvm/sev_vm.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "support/sev_host.hpp"

namespace cbit::kernel {
namespace {

using enum spec::SevStatusCode;
using test::GuestOwner;

constexpr std::uint64_t ram_bytes = 16 * page_size;
constexpr machine::GuestPhysAddr gpa{0x10'0000};

struct HostOptions {
  Platform platform = Platform::plain;
  machine::SevCapability sev{.asids = 4, .min_sev_asid = 3};
  std::uint64_t seed = 1;
  mem::CacheModel cache = mem::CacheModel::coherent;
  bool rmp = false;
  DmaConfig dma;
};

// A host with KVM and one VMM.
struct Host {
  explicit Host(const HostOptions& options = {}, ProcessLimits limits = {}) {
    auto created = machine::Machine::create({.platform = options.platform,
                                             .memory_bytes = 64 << 20,
                                             .cpus = 2,
                                             .iommu = options.dma.iommu != IommuMode::none,
                                             .cache = options.cache,
                                             .seed = options.seed,
                                             .sev = options.sev,
                                             .rmp = options.rmp});
    EXPECT_TRUE(created);
    machine = std::move(*created);
    machine->tracer().attach(log);
    auto booted = Kernel::boot(*machine, options.dma);
    EXPECT_TRUE(booted);
    kernel = std::move(*booted);
    kvm = std::make_unique<Kvm>(*kernel);
    vmm = *Process::create(*kernel, limits);
    ram = *vmm->mmap(ram_bytes);
  }
  Host(const Host&) = delete;
  ~Host() {
    kvm.reset();
    machine->tracer().detach(log);
  }

  std::unique_ptr<SevVm> vm(std::string_view name = "guest") {
    auto made = *SevVm::create(*kvm, *vmm, name);
    EXPECT_TRUE(made->set_user_memory_region(gpa, ram_bytes, ram));
    return made;
  }
  // The bytes of the VMM's memory as it sees them itself.
  [[nodiscard]] Bytes vmm_sees(std::uint64_t offset, std::size_t bytes) const {
    Bytes data(bytes);
    EXPECT_TRUE(vmm->read(ram + offset, data));
    return data;
  }
  [[nodiscard]] std::vector<std::string> messages() const {
    std::vector<std::string> texts;
    for (const KernelMessage& message : log.all<KernelMessage>()) texts.push_back(message.text);
    return texts;
  }

  test::EventLog log;
  std::unique_ptr<machine::Machine> machine;
  std::unique_ptr<Kernel> kernel;
  std::unique_ptr<Kvm> kvm;
  std::unique_ptr<Process> vmm;
  VirtAddr ram;
};

void launch(SevVm& vm, Host& host, ConstByteSpan image, spec::SevPolicy policy = {}) {
  ASSERT_TRUE(vm.mem_enc_register_region(host.ram, ram_bytes));
  ASSERT_TRUE(vm.launch_start({.policy = policy}));
  ASSERT_TRUE(host.vmm->write(host.ram, image));
  ASSERT_TRUE(vm.launch_update_data({host.ram, static_cast<std::uint32_t>(image.size())}));
  std::uint32_t len = sizeof(spec::SevMeasurement);
  ASSERT_TRUE(vm.launch_measure(len));
  ASSERT_TRUE(vm.launch_finish());
}

Bytes guest_sees(SevVm& vm, std::uint64_t offset, std::size_t bytes, bool encrypted = true) {
  Bytes data(bytes);
  EXPECT_TRUE(vm.read(gpa + offset, data, encrypted));
  return data;
}

const Bytes image = pattern_bytes(2 * page_size, 4);

// ---- the guest and the host's view ----------------------------------------------------------------------

TEST(SevVm, TheGuestSeesItsImageAndTheVmmCiphertext) {
  Host host;
  const auto vm = host.vm();
  ASSERT_TRUE(vm->guest_init(false));
  launch(*vm, host, image);
  EXPECT_EQ(guest_sees(*vm, 0, image.size()), image);
  EXPECT_NE(host.vmm_sees(0, image.size()), image);
  // A shared page: both see the same.
  const Bytes hello = pattern_bytes(64, 1);
  ASSERT_TRUE(vm->write(gpa + 5 * page_size, hello, false));
  EXPECT_EQ(host.vmm_sees(5 * page_size, 64), hello);
}

TEST(SevVm, OnASmeHostASharedPageIsUnderTheHostsKey) {
  Host host{{.platform = Platform::sme}};
  const auto vm = host.vm();
  ASSERT_TRUE(vm->guest_init(false));
  launch(*vm, host, image);
  EXPECT_EQ(guest_sees(*vm, 0, image.size()), image);
  const Bytes hello = pattern_bytes(64, 1);
  ASSERT_TRUE(vm->write(gpa + 5 * page_size, hello, false));
  EXPECT_EQ(host.vmm_sees(5 * page_size, 64), hello);
  Bytes dram(64);
  ASSERT_TRUE(host.machine->memory().probe(*vm->frame(gpa + 5 * page_size), dram));
  EXPECT_NE(dram, hello);
}

TEST(SevVm, SeveralGuestsRunAtOnceWithKeysOfTheirOwn) {
  Host host;
  const auto first = host.vm("first");
  ASSERT_TRUE(first->guest_init(false));
  launch(*first, host, image);
  const auto second = *SevVm::create(*host.kvm, *host.vmm, "second");
  const VirtAddr ram = *host.vmm->mmap(ram_bytes);
  ASSERT_TRUE(second->set_user_memory_region(gpa, ram_bytes, ram));
  ASSERT_TRUE(second->guest_init(false));
  EXPECT_NE(first->asid(), second->asid());
  ASSERT_TRUE(second->launch_start({}));
  ASSERT_TRUE(host.vmm->write(ram, image));
  ASSERT_TRUE(second->launch_update_data({ram, static_cast<std::uint32_t>(image.size())}));
  std::uint32_t len = 48;
  ASSERT_TRUE(second->launch_measure(len));
  ASSERT_TRUE(second->launch_finish());
  EXPECT_EQ(guest_sees(*first, 0, image.size()), image);
  EXPECT_EQ(guest_sees(*second, 0, image.size()), image);
  // The host maps the first one's page into the second: it decrypts with the wrong key.
  ASSERT_TRUE(second->remap(gpa, *first->frame(gpa)));
  EXPECT_NE(guest_sees(*second, 0, page_size), Bytes(image.begin(), image.begin() + page_size));
}

TEST(SevVm, AGuestRunsOnlyOnceItIsLaunched) {
  Host host;
  const auto vm = host.vm();
  ASSERT_TRUE(vm->guest_init(false));
  ASSERT_TRUE(vm->launch_start({}));
  Bytes data(16);
  const auto early = vm->read(gpa, data, true);
  ASSERT_FALSE(early);
  EXPECT_EQ(early.error().kind, FaultKind::address_width) << "VMRUN with an ASID that is not valid";
}

TEST(SevVm, APlainGuestHidesNothing) {
  Host host;
  const auto vm = host.vm();
  ASSERT_TRUE(vm->write(gpa, image, true));
  EXPECT_EQ(host.vmm_sees(0, image.size()), image);
  Bytes data(16);
  const auto outside = vm->read(machine::GuestPhysAddr{0}, data, false);
  ASSERT_FALSE(outside);
  EXPECT_EQ(outside.error().kind, FaultKind::no_memory);
}

TEST(SevVm, MemorySlotsAreAlignedAndDisjoint) {
  Host host;
  const auto vm = host.vm();
  EXPECT_EQ(vm->set_user_memory_region(gpa + 12, page_size, host.ram).error(), EINVAL);
  EXPECT_EQ(vm->set_user_memory_region(gpa, 0, host.ram).error(), EINVAL);
  EXPECT_EQ(vm->set_user_memory_region(gpa + page_size, page_size, host.ram).error(), EEXIST);
}

// ---- errno ----------------------------------------------------------------------------------------------

TEST(SevVm, CommandsOfAVmThatIsNoSevGuestAreENOTTY) {
  Host host;
  const auto vm = host.vm();
  std::uint32_t len = 0;
  EXPECT_EQ(vm->launch_start({}).error(), (SevError{ENOTTY, success}));
  EXPECT_EQ(vm->launch_measure(len).error().error, ENOTTY);
  EXPECT_EQ(vm->launch_update_vmsa().error().error, ENOTTY);
  EXPECT_EQ(vm->mem_enc_register_region(host.ram, page_size).error(), ENOTTY);
  EXPECT_EQ(vm->mem_enc_unregister_region(host.ram, page_size).error(), ENOTTY);
  EXPECT_EQ(vm->receive_update_data(Bytes(52), {host.ram, 16}, Bytes(16)).error().error, EINVAL);
}

TEST(SevVm, InitComesBeforeVcpusAndOnce) {
  Host host;
  const auto vm = host.vm();
  ASSERT_TRUE(vm->guest_init(false));
  EXPECT_EQ(vm->guest_init(false).error().error, EBUSY);
  const auto late = host.vm();
  ASSERT_TRUE(late->create_vcpu());
  EXPECT_EQ(late->guest_init(false).error().error, EINVAL);
}

TEST(SevVm, AsidsComeFromTheirRangesAndAreRecycledWithOneFlush) {
  Host host;  // 1, 2: SEV-ES; 3, 4: SEV
  auto a = host.vm();
  auto b = host.vm();
  const auto c = host.vm();
  const auto es = host.vm();
  ASSERT_TRUE(a->guest_init(false));
  ASSERT_TRUE(b->guest_init(false));
  EXPECT_EQ(a->asid(), 3u);
  EXPECT_EQ(b->asid(), 4u);
  EXPECT_EQ(c->guest_init(false).error(), (SevError{EBUSY, success}));
  ASSERT_TRUE(es->guest_init(true));
  EXPECT_EQ(es->asid(), 1u);

  launch(*a, host, image);
  a.reset();
  host.log.clear();
  ASSERT_TRUE(c->guest_init(false));
  EXPECT_EQ(c->asid(), 3u);
  const auto commands = host.log.all<SevCommand>();
  ASSERT_FALSE(commands.empty());
  EXPECT_EQ(commands.front().command, "DF_FLUSH");
  EXPECT_EQ(commands.front().status, 0u);
  ASSERT_TRUE(c->launch_start({})) << "the recycled ASID is clean";
}

TEST(SevVm, WithoutTheFlushTheFirmwareRefusesTheAsid) {
  Host host;
  auto vm = host.vm();
  ASSERT_TRUE(vm->guest_init(false));
  launch(*vm, host, image);
  vm.reset();
  machine::SevFirmware& firmware = *host.machine->sev_firmware();
  machine::SevFirmware::LaunchStart start;
  ASSERT_EQ(firmware.launch_start(start), success);
  EXPECT_EQ(firmware.activate(start.handle, 3), dfflush_required);
  EXPECT_EQ(firmware.df_flush(), wbinvd_required);
  EXPECT_EQ(firmware.decommission(start.handle), success);
}

TEST(SevVm, AHostWithoutAsidsOfAKindSaysENOTTY) {
  Host host{{.sev = {.asids = 4, .min_sev_asid = 1}}};
  EXPECT_EQ(host.vm()->guest_init(true).error().error, ENOTTY);
  Host only_es{{.sev = {.asids = 4, .min_sev_asid = 5}}};
  EXPECT_EQ(only_es.vm()->guest_init(false).error().error, ENOTTY);
  EXPECT_THAT(only_es.messages(), testing::Contains("SEV unusable (ASIDs 5 - 4)"));
  Host none{{.sev = {.asids = 0}}};
  EXPECT_EQ(none.vm()->guest_init(false).error().error, ENOTTY);
}

TEST(SevVm, RegisteringCountsAgainstTheLockLimit) {
  Host host{{}, {.memlock_bytes = 8 * page_size}};
  const auto vm = host.vm();
  ASSERT_TRUE(vm->guest_init(false));
  EXPECT_EQ(vm->mem_enc_register_region(host.ram, 9 * page_size).error(), ENOMEM);
  EXPECT_THAT(host.messages(), testing::Contains("SEV: 9 locked pages exceed the lock limit of 8."));
  // A range that begins and ends within pages takes one more.
  ASSERT_TRUE(vm->mem_enc_register_region(host.ram + 100, 7 * page_size));
  EXPECT_EQ(vm->pages_locked(), 8u);
  EXPECT_EQ(vm->mem_enc_unregister_region(host.ram, 7 * page_size).error(), EINVAL) << "another range";
  ASSERT_TRUE(vm->mem_enc_unregister_region(host.ram + 100, 7 * page_size));
  EXPECT_EQ(vm->pages_locked(), 0u);
  EXPECT_EQ(vm->mem_enc_register_region(host.ram, 0).error(), EINVAL);
  EXPECT_EQ(vm->mem_enc_register_region(VirtAddr{0x1000}, page_size).error(), ENOMEM) << "nothing is mapped";
  EXPECT_EQ(vm->pages_locked(), 0u);

  Host capable{{}, {.memlock_bytes = 0, .cap_ipc_lock = true}};
  const auto other = capable.vm();
  ASSERT_TRUE(other->guest_init(false));
  EXPECT_TRUE(other->mem_enc_register_region(capable.ram, ram_bytes));
}

TEST(SevVm, AnUnalignedRegistrationPinsWhatItTouchesAndTheVmUnpinsItInTheEnd) {
  Host host;
  auto vm = host.vm();
  ASSERT_TRUE(vm->guest_init(false));
  ASSERT_TRUE(vm->mem_enc_register_region(host.ram, ram_bytes));
  const PhysAddr frame = *host.vmm->page_at(host.ram);
  vm.reset();
  // munmap gives the frame back now that nobody holds it.
  const std::uint64_t before = host.kernel->mm().page_allocator().free_pages();
  ASSERT_TRUE(host.vmm->munmap(host.ram, ram_bytes));
  EXPECT_EQ(host.kernel->mm().page_allocator().free_pages(), before + 16) << frame.value();
}

TEST(SevVm, UnregisteringNeedsWbinvdForLinesThatCarryTheGuestsKey) {
  Host host{{.cache = mem::CacheModel::report}};
  const auto vm = host.vm();
  ASSERT_TRUE(vm->guest_init(false));
  host.log.clear();
  launch(*vm, host, image);
  ASSERT_TRUE(vm->mem_enc_unregister_region(host.ram, ram_bytes));
  std::vector<FlushKind> kinds;
  for (const Flush& flush : host.log.all<Flush>()) kinds.push_back(flush.kind);
  EXPECT_THAT(kinds, testing::ElementsAre(FlushKind::clflush, FlushKind::clflush, FlushKind::wbinvd));
}

// ---- launch ---------------------------------------------------------------------------------------------

TEST(SevVm, LaunchUpdateTakesAnyNumberOfPagesAndPassesTheFirmwaresStatusOn) {
  Host host;
  const auto vm = host.vm();
  ASSERT_TRUE(vm->guest_init(false));
  ASSERT_TRUE(vm->launch_start({}));
  ASSERT_TRUE(host.vmm->write(host.ram, Bytes(ram_bytes, std::byte{7})));
  EXPECT_TRUE(vm->launch_update_data({host.ram + 16, 3 * page_size}));
  EXPECT_EQ(vm->launch_update_data({host.ram + 8, 16}).error(), (SevError{EIO, invalid_address}));
  EXPECT_EQ(vm->launch_update_data({host.ram, 24}).error(), (SevError{EIO, invalid_length}));
  EXPECT_EQ(vm->launch_update_data({host.ram, 0}).error().error, EINVAL);
  EXPECT_EQ(vm->launch_update_data({VirtAddr{0x1000}, 16}).error().error, ENOMEM);
  EXPECT_EQ(vm->pages_locked(), 0u) << "these pins are for the time of the command";
  std::uint32_t len = 0;
  EXPECT_EQ(vm->launch_measure(len).error(), (SevError{EIO, invalid_length}));
  EXPECT_EQ(len, 48u);
  EXPECT_EQ(vm->launch_finish().error(), (SevError{EIO, invalid_guest_state}));
}

TEST(SevVm, ASecretReachesTheGuest) {
  Host host;
  const auto vm = host.vm();
  const test::GuestOwner owner;
  ASSERT_TRUE(vm->guest_init(false));
  const spec::SevSession session = owner.session(*host.machine->sev_firmware(), spec::SevPolicy{{1}});
  const spec::SevCertificate certificate = owner.certificate();
  ASSERT_TRUE(vm->launch_start(
      {.policy = spec::SevPolicy{{1}}, .dh_cert = bytes_of(certificate), .session = bytes_of(session)}));
  std::uint32_t len = 48;
  const auto measurement = vm->launch_measure(len);
  ASSERT_TRUE(measurement);
  const Bytes secret = pattern_bytes(128, 2);
  const machine::SevPacket packet = machine::seal_packet(owner.random.keys, spec::SevMacContext::secret,
                                                         crypt::Block{}, secret, measurement->measure);
  EXPECT_EQ(vm->launch_secret({}, {host.ram, 128}, packet.data).error().error, EINVAL);
  ASSERT_TRUE(vm->launch_secret(bytes_of(packet.header), {host.ram + 512, 128}, packet.data));
  ASSERT_TRUE(vm->launch_finish());
  EXPECT_EQ(guest_sees(*vm, 512, 128), secret);
  EXPECT_NE(host.vmm_sees(512, 128), secret);
}

TEST(SevVm, ASevEsGuestsRegistersAreEncryptedInTheirSaveArea) {
  Host host;
  const auto vm = host.vm();
  ASSERT_TRUE(vm->guest_init(true));
  ASSERT_TRUE(vm->create_vcpu());
  ASSERT_TRUE(vm->launch_start({.policy = spec::SevPolicy{{0x4}}}));
  const PhysAddr vmsa = vm->vmsas().front();
  const auto rip = [&](KeyId key) {
    Bytes bytes(8);
    EXPECT_TRUE(host.machine->memory().peek(vmsa + 0x178, bytes, key));
    return load<std::uint64_t>(bytes);
  };
  EXPECT_EQ(rip(no_key), 0xfff0u);
  ASSERT_TRUE(vm->launch_update_vmsa());
  EXPECT_NE(rip(no_key), 0xfff0u);
  EXPECT_EQ(rip(mem::guest_key(vm->asid())), 0xfff0u);
}

// ---- debugging ------------------------------------------------------------------------------------------

TEST(SevVm, DebugDecryptTakesAnyAlignment) {
  Host host;
  const auto vm = host.vm();
  ASSERT_TRUE(vm->guest_init(false));
  launch(*vm, host, image);
  const VirtAddr target = host.ram + 8 * page_size;
  for (const std::uint64_t offset : {0ull, 5ull, 4090ull}) {
    ASSERT_TRUE(vm->dbg_decrypt(host.ram + offset, target + 3, 100));
    const Bytes expected{image.begin() + static_cast<std::ptrdiff_t>(offset),
                         image.begin() + static_cast<std::ptrdiff_t>(offset + 100)};
    EXPECT_EQ(host.vmm_sees(8 * page_size + 3, 100), expected);
  }
  EXPECT_EQ(vm->dbg_decrypt(host.ram, target, 0).error().error, EINVAL);
  EXPECT_EQ(vm->dbg_decrypt(host.ram, VirtAddr{}, 16).error().error, EINVAL);
}

TEST(SevVm, DebugEncryptChangesTheGuestsBytes) {
  Host host;
  const auto vm = host.vm();
  ASSERT_TRUE(vm->guest_init(false));
  launch(*vm, host, image);
  const VirtAddr source = host.ram + 8 * page_size;
  const Bytes patch = pattern_bytes(10, 3);
  ASSERT_TRUE(host.vmm->write(source + 1, patch));
  ASSERT_TRUE(vm->dbg_encrypt(source + 1, host.ram + 36, 10));
  Bytes expected = image;
  std::ranges::copy(patch, expected.begin() + 36);
  EXPECT_EQ(guest_sees(*vm, 0, image.size()), expected);
}

TEST(SevVm, APolicyWithoutDebuggingForbidsIt) {
  Host host;
  const auto vm = host.vm();
  ASSERT_TRUE(vm->guest_init(false));
  launch(*vm, host, image, spec::SevPolicy{{1}});
  EXPECT_EQ(vm->dbg_decrypt(host.ram, host.ram + 8 * page_size, 64).error(), (SevError{EIO, policy_failure}));
  EXPECT_EQ(host.vmm_sees(8 * page_size, 64), Bytes(64));
}

// ---- migration ------------------------------------------------------------------------------------------

TEST(SevVm, AGuestMovesToAnotherHostPageByPage) {
  Host source;
  Host target{{.seed = 2}};
  const auto from = source.vm();
  const auto to = target.vm();
  ASSERT_TRUE(from->guest_init(false));
  ASSERT_TRUE(to->guest_init(false));
  launch(*from, source, image);
  spec::SevCertificate source_pdh;
  spec::SevCertificate target_pdh;
  ASSERT_EQ(source.machine->sev_firmware()->pdh_cert_export(source_pdh), success);
  ASSERT_EQ(target.machine->sev_firmware()->pdh_cert_export(target_pdh), success);
  const auto sent = from->send_start(bytes_of(target_pdh));
  ASSERT_TRUE(sent);
  ASSERT_TRUE(to->receive_start(sent->policy, bytes_of(source_pdh), bytes_of(sent->session)));
  for (std::uint64_t offset = 0; offset < image.size(); offset += page_size) {
    const auto packet = from->send_update_data({source.ram + offset, page_size});
    ASSERT_TRUE(packet);
    ASSERT_TRUE(
        to->receive_update_data(bytes_of(packet->header), {target.ram + offset, page_size}, packet->data));
  }
  ASSERT_TRUE(from->send_finish());
  ASSERT_TRUE(to->receive_finish());
  EXPECT_EQ(guest_sees(*to, 0, image.size()), image);
  EXPECT_NE(target.vmm_sees(0, image.size()), source.vmm_sees(0, image.size()));
  EXPECT_EQ(from->send_update_data({source.ram + 100, page_size}).error().error, EINVAL) << "two pages";
  EXPECT_EQ(from->guest_status()->state, spec::SevGuestState::sent);
}

// ---- SNP hosts ------------------------------------------------------------------------------------------

TEST(SevVm, AnSnpHostNeedsAnIommuThatTranslates) {
  Host without{{.rmp = true}};
  EXPECT_EQ(without.kvm->snp_enable().error(), EINVAL);
  Host passthrough{{.rmp = true, .dma = {.iommu = IommuMode::passthrough}}};
  EXPECT_EQ(passthrough.kvm->snp_enable().error(), EINVAL);
  EXPECT_THAT(
      passthrough.messages(),
      testing::Contains("AMD-Vi: SNP: IOMMU is disabled or configured in passthrough mode, SNP cannot "
                        "be supported"));
  Host translated{{.rmp = true, .dma = {.iommu = IommuMode::translated}}};
  EXPECT_TRUE(translated.kvm->snp_enable());
  Host no_table{{.dma = {.iommu = IommuMode::translated}}};
  EXPECT_EQ(no_table.kvm->snp_enable().error(), EINVAL);
}

}  // namespace
}  // namespace cbit::kernel
