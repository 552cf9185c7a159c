// set_memory_* and early_set_memory_*: what changes, in which order, and what it costs.
#include <gtest/gtest.h>

#include "mm_fixture.hpp"
#include "support/sizes.hpp"

namespace cbit::kernel {
namespace {

constexpr Platform encrypted_platforms[] = {Platform::sme, Platform::sev, Platform::sev_es, Platform::sev_snp,
                                            Platform::tdx};

struct SetMemoryBox : MmBox {
  using MmBox::MmBox;

  Result<void> decrypt(VirtAddr at, std::uint64_t pages) {
    return mm->set_memory_decrypted(mm->cpu(0), at, pages);
  }
  Result<void> encrypt(VirtAddr at, std::uint64_t pages) {
    return mm->set_memory_encrypted(mm->cpu(0), at, pages);
  }
  [[nodiscard]] ConversionCost cost() const { return mm->conversion_cost(); }
};

TEST(SetMemory, IsANoOpWhereNothingIsEncrypted) {
  SetMemoryBox box{Platform::plain};
  box.log.clear();
  const VirtAddr at = *box.mm->alloc_pages(1);
  EXPECT_TRUE(box.decrypt(at, 1));
  EXPECT_TRUE(box.encrypt(at, 1));
  EXPECT_TRUE(box.decrypt(VirtAddr{0x1234}, 1));  // not even looked at
  EXPECT_EQ(box.cost().calls, 0u);
  EXPECT_TRUE(box.log.events().empty());
}

TEST(SetMemory, ShowsTheCiphertextAndConvertsNothing) {
  for (const Platform platform : {Platform::sme, Platform::sev, Platform::sev_es, Platform::sev_snp}) {
    SetMemoryBox box{platform};
    const VirtAddr at = *box.mm->alloc_pages(1);
    const Bytes plain = pattern_bytes(page_size, 1);
    ASSERT_TRUE(box.mm->cpu(0).write(at, plain));
    const Bytes cipher = box.dram(at, page_size);
    ASSERT_NE(cipher, plain);
    ASSERT_TRUE(box.decrypt(at, 1));
    EXPECT_EQ(box.read(at, page_size), cipher);  // E(P)
    EXPECT_EQ(box.dram(at, page_size), cipher);
    ASSERT_TRUE(box.encrypt(at, 1));
    EXPECT_EQ(box.read(at, page_size), plain);
  }
}

TEST(SetMemory, LeavesZerosOnTdxWhereThePageIsAnotherOne) {
  SetMemoryBox box{Platform::tdx};
  const VirtAddr at = *box.mm->alloc_pages(1);
  ASSERT_TRUE(box.mm->cpu(0).write(at, pattern_bytes(page_size, 1)));
  ASSERT_TRUE(box.decrypt(at, 1));
  EXPECT_EQ(box.read(at, page_size), Bytes(page_size));
  EXPECT_EQ(box.mm->cpu(0).translate(at, paging::Intent::read)->entry.raw >> 47 & 1, 1u);  // set = shared
  ASSERT_TRUE(box.encrypt(at, 1));
  EXPECT_EQ(box.read(at, page_size), Bytes(page_size));
  EXPECT_EQ(box.mm->cpu(0).translate(at, paging::Intent::read)->entry.raw >> 47 & 1, 0u);
}

TEST(SetMemory, LeavesTheNeighboursOfASplitPageEncrypted) {
  for (const Platform platform : encrypted_platforms) {
    SetMemoryBox box{platform};
    const PhysAddr phys{64 * mib};
    const VirtAddr at = box.mm->phys_to_virt(phys);
    ASSERT_TRUE(box.mm->page_allocator().allocate_at(phys, 3));
    const Bytes plain = pattern_bytes(3 * page_size, 2);
    ASSERT_TRUE(box.mm->cpu(0).write(at, plain));
    ASSERT_TRUE(box.decrypt(at + page_size, 1));
    EXPECT_EQ(box.selector(at), 1);
    EXPECT_EQ(box.selector(at + page_size), 0);
    EXPECT_EQ(box.selector(at + 2 * page_size), 1);
    EXPECT_EQ(box.read(at, page_size), Bytes(plain.begin(), plain.begin() + page_size));
    EXPECT_EQ(box.read(at + 2 * page_size, page_size), Bytes(plain.begin() + 2 * page_size, plain.end()));
    EXPECT_EQ(box.cost().large_pages_split, 2u);  // 1 GiB, then 2 MiB
  }
}

TEST(SetMemory, SharesWithDevicesOnSnpOnlyAfterThePageStateChange) {
  SetMemoryBox box{Platform::sev_snp};
  const VirtAddr at = *box.mm->alloc_pages(1);
  const PhysAddr phys = box.mm->virt_to_phys(at);
  const mem::Access device{{AgentKind::device, 8}};
  mem::Memory& memory = box.machine->memory();
  EXPECT_TRUE(memory.history(phys).assigned);
  EXPECT_EQ(memory.write(phys, Bytes(16), device).error().kind, FaultKind::rmp_violation);
  ASSERT_TRUE(box.decrypt(at, 1));
  EXPECT_FALSE(memory.history(phys).assigned);
  EXPECT_TRUE(memory.write(phys, Bytes(16), device));
  ASSERT_TRUE(box.encrypt(at, 1));
  EXPECT_EQ(memory.write(phys, Bytes(16), device).error().kind, FaultKind::rmp_violation);
}

TEST(SetMemory, LeavesItsTraceInTheHistoryOfThePage) {
  for (const Platform platform : encrypted_platforms) {
    SetMemoryBox box{platform};
    box.log.clear();
    const VirtAddr at = *box.mm->alloc_pages(2);
    const SiteId site = box.machine->tracer().intern("driver_probe");
    const paging::SiteScope scope{box.mm->cpu(0), site};
    ASSERT_TRUE(box.decrypt(at, 2));
    const mem::PageHistory history = box.machine->memory().history(box.mm->virt_to_phys(at + page_size));
    EXPECT_TRUE(history.ever_converted);
    EXPECT_TRUE(history.shared);
    EXPECT_EQ(history.conversion_site, site);
    const auto conversions = box.log.all<PageConversion>();
    ASSERT_EQ(conversions.size(), 1u);
    EXPECT_EQ(conversions[0].first, box.mm->virt_to_phys(at));
    EXPECT_EQ(conversions[0].pages, 2u);
    EXPECT_FALSE(conversions[0].encrypted);
    EXPECT_FALSE(conversions[0].converts_contents);
    EXPECT_EQ(conversions[0].site, site);
  }
}

// The order of a call as its events tell it: flushes by kind, steps by function, "set_memory" at the end.
std::vector<std::string> order(const test::EventLog& log) {
  std::vector<std::string> words;
  for (const Event& event : log.events()) {
    if (const auto* flush = std::get_if<Flush>(&event.payload)) {
      constexpr const char* names[] = {"tlb", "tlb-full", "clflush", "wbinvd"};
      words.emplace_back(names[static_cast<int>(flush->kind)]);
    } else if (const auto* taken = std::get_if<StepTaken>(&event.payload)) {
      const std::string source{taken->source};
      const std::string function = source.substr(source.rfind(' ') + 1);
      if (function != "__set_memory_enc_pgtable") words.push_back(function);
    } else if (std::holds_alternative<PageConversion>(event.payload)) {
      words.emplace_back("done");
    }
  }
  return words;
}

using Words = std::vector<std::string>;

// Decrypts a page once so that it needs no more splits, then records `encrypt` of the direction asked for.
Words order_of(Platform platform, bool encrypt, mem::CacheModel cache = mem::CacheModel::coherent) {
  SetMemoryBox box{platform, {.migration_control = true, .cache = cache}};
  const VirtAddr at = *box.mm->alloc_pages(1);
  EXPECT_TRUE(box.decrypt(at, 1));
  EXPECT_TRUE(encrypt || box.encrypt(at, 1));
  box.log.clear();
  EXPECT_TRUE(encrypt ? box.encrypt(at, 1) : box.decrypt(at, 1));
  return order(box.log);
}

TEST(SetMemory, FlushesChangesAndFlushesAgainOnSme) {
  const Words expected{"tlb", "__change_page_attr_set_clr", "tlb", "done"};
  EXPECT_EQ(order_of(Platform::sme, false), expected);
  EXPECT_EQ(order_of(Platform::sme, true), expected);
}

TEST(SetMemory, FlushesCachesBeforeTheChangeOnlyWhereTheyAreNotCoherent) {
  const Words expected{"tlb", "clflush", "__change_page_attr_set_clr", "tlb", "done"};
  EXPECT_EQ(order_of(Platform::sme, false, mem::CacheModel::report), expected);
  EXPECT_EQ(order_of(Platform::sme, true, mem::CacheModel::report), expected);
  EXPECT_EQ(order_of(Platform::sme, false, mem::CacheModel::bite), expected);
}

TEST(SetMemory, NotifiesTheHypervisorAfterwardsOnSev) {
  const Words expected{"tlb", "__change_page_attr_set_clr", "tlb", "enc_dec_hypercall", "done"};
  EXPECT_EQ(order_of(Platform::sev, false), expected);
  EXPECT_EQ(order_of(Platform::sev_es, true), expected);
}

TEST(SetMemory, ChangesPageStateBeforeDecryptingAndAfterEncryptingOnSnp) {
  EXPECT_EQ(order_of(Platform::sev_snp, false), (Words{"tlb", "set_pages_state", "__change_page_attr_set_clr",
                                                       "tlb", "enc_dec_hypercall", "done"}));
  EXPECT_EQ(order_of(Platform::sev_snp, true), (Words{"tlb", "__change_page_attr_set_clr", "tlb",
                                                      "set_pages_state", "enc_dec_hypercall", "done"}));
}

TEST(SetMemory, NeverHasAPrivateMappingOfASharedPageOnTdx) {
  EXPECT_EQ(order_of(Platform::tdx, false),
            (Words{"tlb", "clflush", "__change_page_attr_set_clr", "tlb", "tdx_enc_status_changed", "done"}));
  EXPECT_EQ(order_of(Platform::tdx, true),
            (Words{"tdx_enc_status_changed", "__change_page_attr_set_clr", "tlb", "done"}));
}

TEST(SetMemory, FlushesEverythingAfterEachSplitAndBeforeTheChange) {
  SetMemoryBox box{Platform::sme};
  box.log.clear();
  ASSERT_TRUE(box.decrypt(box.mm->phys_to_virt(PhysAddr{64 * mib}), 1));
  EXPECT_EQ(order(box.log),
            (Words{"tlb", "__change_page_attr_set_clr", "tlb-full", "tlb-full", "tlb", "done"}));
  EXPECT_EQ(box.cost().tlb_flushes, 4u);
  EXPECT_EQ(box.cost().tlb_full_flushes, 2u);
}

TEST(SetMemory, FlushesPageByPageUpTo33PagesAndEverythingBeyond) {
  SetMemoryBox box{Platform::sme};
  const VirtAddr at = *box.mm->alloc_pages(34);
  ASSERT_TRUE(box.decrypt(at, 34));
  const ConversionCost before = box.cost();
  box.log.clear();
  ASSERT_TRUE(box.encrypt(at, 33));
  EXPECT_EQ(order(box.log), (Words{"tlb", "__change_page_attr_set_clr", "tlb", "done"}));
  EXPECT_EQ(box.log.all<Flush>()[0].count, 33u);
  box.log.clear();
  ASSERT_TRUE(box.encrypt(at, 34));
  EXPECT_EQ(order(box.log), (Words{"tlb-full", "__change_page_attr_set_clr", "tlb-full", "done"}));
  EXPECT_EQ(box.cost().tlb_flushes - before.tlb_flushes, 4u);
  EXPECT_EQ(box.cost().tlb_full_flushes - before.tlb_full_flushes, 2u);
}

TEST(SetMemory, FlushesTheTlbOfEveryCpu) {
  SetMemoryBox box{Platform::sme, {.cpus = 4}};
  const VirtAddr at = *box.mm->alloc_pages(1);
  for (unsigned n = 0; n < 4; ++n) ASSERT_TRUE(box.mm->cpu(n).load<int>(at));
  ASSERT_TRUE(box.decrypt(at, 1));
  for (unsigned n = 0; n < 4; ++n) EXPECT_EQ(box.mm->cpu(n).translate(at, paging::Intent::read)->selector, 0);
}

TEST(SetMemory, CountsWhatItCosts) {
  SetMemoryBox box{Platform::sme, {.cache = mem::CacheModel::report}};
  const VirtAddr at = box.mm->phys_to_virt(PhysAddr{64 * mib});
  ASSERT_TRUE(box.decrypt(at, 2048));  // 8 MiB: four 2 MiB entries of the split gigabyte
  EXPECT_EQ(box.cost().calls, 1u);
  EXPECT_EQ(box.cost().pages, 2048u);
  EXPECT_EQ(box.cost().large_pages_split, 1u);
  EXPECT_EQ(box.cost().cache_lines_flushed, 2048u * 64);
  EXPECT_EQ(box.cost().hypercalls, 0u);
}

TEST(SetMemory, CountsTheHypercallsOfEachPlatform) {
  const auto hypercalls = [](Platform platform, KernelVersion version, bool migration_control = false) {
    SetMemoryBox box{platform, {.migration_control = migration_control}, version};
    EXPECT_TRUE(box.decrypt(box.mm->phys_to_virt(PhysAddr{64 * mib}), 512 + 254));
    return box.cost().hypercalls;
  };
  EXPECT_EQ(hypercalls(Platform::sme, KernelVersion::v6_1), 0u);
  EXPECT_EQ(hypercalls(Platform::sev, KernelVersion::v6_1), 0u) << "kvm_init_platform() installed no call";
  EXPECT_EQ(hypercalls(Platform::sev_es, KernelVersion::v6_10), 0u);
  EXPECT_EQ(hypercalls(Platform::tdx, KernelVersion::v6_1), 1u);      // MapGPA
  EXPECT_EQ(hypercalls(Platform::sev_snp, KernelVersion::v6_1), 4u);  // 766 entries, 253 per request
  EXPECT_EQ(hypercalls(Platform::sev_snp, KernelVersion::v6_6), 4u);  // 255 entries, 64 per request
  // With KVM_FEATURE_MIGRATION_CONTROL also a call for each leaf: one of 2 MiB, 254 small ones.
  EXPECT_EQ(hypercalls(Platform::sev, KernelVersion::v6_1, true), 1u + 254);
  EXPECT_EQ(hypercalls(Platform::sev_snp, KernelVersion::v6_6, true), 4u + 1 + 254);
  EXPECT_EQ(hypercalls(Platform::tdx, KernelVersion::v6_1, true), 1u);
}

TEST(SetMemory, AlignsAMisalignedAddressAndWarnsOnce) {
  SetMemoryBox box{Platform::sme};
  box.log.clear();
  const VirtAddr at = box.mm->phys_to_virt(PhysAddr{64 * mib});
  ASSERT_TRUE(box.decrypt(at + 0x10, 1));
  ASSERT_TRUE(box.decrypt(at + 0x20, 1));
  EXPECT_EQ(box.selector(at), 0);
  EXPECT_EQ(box.selector(at + page_size), 1);
  ASSERT_EQ(box.log.all<KernelMessage>().size(), 1u);
  EXPECT_EQ(box.log.all<KernelMessage>()[0].text, "misaligned address: 0xffff888004000010");
}

TEST(SetMemory, ChangesTheDirectMapTooWhenItIsGivenAnotherMapping) {
  SetMemoryBox box{Platform::sev};
  const VirtAddr at = *box.mm->alloc_pages(3);
  const PhysAddr phys = box.mm->virt_to_phys(at);
  const VirtAddr alias = *box.mm->vmap({phys + 2 * page_size, phys}, 1);
  box.log.clear();
  ASSERT_TRUE(box.decrypt(alias, 2));
  EXPECT_EQ(box.selector(alias), 0);
  EXPECT_EQ(box.selector(at), 0);
  EXPECT_EQ(box.selector(at + page_size), 1);
  EXPECT_EQ(box.selector(at + 2 * page_size), 0);
  EXPECT_EQ(box.log.all<Flush>().back().kind, FlushKind::tlb_full);  // force_flush_all
  EXPECT_EQ(box.log.all<PageConversion>().size(), 2u);
}

TEST(SetMemory, RefusesWhatIsNotMapped) {
  SetMemoryBox box{Platform::sev};
  const VirtAddr end = box.mm->phys_to_virt(box.machine->end_of_ram());
  EXPECT_EQ(box.decrypt(end - page_size, 2).error(), (Fault{FaultKind::not_present, end.value(), false}));
  EXPECT_EQ(box.selector(end - page_size), 1);
  EXPECT_EQ(box.decrypt(VirtAddr{1ull << 50}, 1).error().kind, FaultKind::non_canonical);
  EXPECT_EQ(box.decrypt(end - page_size, ~0ull).error().kind, FaultKind::non_canonical);
  EXPECT_EQ(box.decrypt(end - page_size, 1ull << 51).error().kind, FaultKind::non_canonical);
  EXPECT_TRUE(box.decrypt(end - page_size, 0));
  EXPECT_EQ(box.cost().calls, 0u);
}

TEST(SetMemory, FailsWithoutAPageForASplit) {
  SetMemoryBox box{Platform::sme, {.memory_bytes = 128 * mib}};
  while (box.mm->alloc_pages(1)) {
  }
  EXPECT_EQ(box.decrypt(box.mm->phys_to_virt(PhysAddr{64 * mib}), 1).error().kind, FaultKind::no_memory);
  EXPECT_EQ(box.selector(box.mm->phys_to_virt(PhysAddr{64 * mib})), 1);
}

// SME, SEV and SEV-ES ask nobody: what fails is a split, before the mapping changes. TDX asks after it.
TEST(SetMemory, FailsOnceWhereATestAsksForItAndAsThePlatformCan) {
  for (const Platform platform : encrypted_platforms) {
    SetMemoryBox box{platform, {}, KernelVersion::v6_10};
    box.log.clear();
    const VirtAddr at = *box.mm->alloc_pages(3);
    box.mm->fail_conversion_after(2);
    EXPECT_TRUE(box.decrypt(at, 1));
    const auto failed = box.decrypt(at + page_size, 1);
    ASSERT_FALSE(failed);
    const bool snp = platform == Platform::sev_snp, tdx = platform == Platform::tdx;
    EXPECT_EQ(failed.error().kind, snp   ? FaultKind::guest_terminated
                                   : tdx ? FaultKind::conversion_refused
                                         : FaultKind::no_memory);
    EXPECT_EQ(box.machine->hypervisor().terminated(), snp) << to_string(platform);
    EXPECT_EQ(box.selector(at + page_size), tdx ? 0 : 1);
    const auto messages = box.log.all<KernelMessage>();
    const bool blames_vmm = std::ranges::any_of(
        messages, [](const KernelMessage& message) { return message.text.starts_with("CPA VMM failure"); });
    EXPECT_EQ(blames_vmm, tdx) << to_string(platform);
    if (!snp) {
      EXPECT_TRUE(box.decrypt(at + 2 * page_size, 1));
    }
  }
}

TEST(SetMemory, SaysThatTheHypervisorRefusedFrom6_9On) {
  for (const KernelVersion version : {KernelVersion::v6_1, KernelVersion::v6_10}) {
    SetMemoryBox box{Platform::tdx, {}, version};
    box.log.clear();
    const VirtAddr at = box.mm->phys_to_virt(PhysAddr{64 * mib});
    for (int i = 0; i < 2; ++i) {
      box.mm->fail_conversion_after(1);
      EXPECT_FALSE(box.decrypt(at, 1));
    }
    std::vector<std::string> expected;
    if (version == KernelVersion::v6_10)
      expected = {"CPA VMM failure to convert memory (addr=ffff888004000000, numpages=1) to shared."};
    std::vector<std::string> messages;
    for (const KernelMessage& message : box.log.all<KernelMessage>()) messages.push_back(message.text);
    EXPECT_EQ(messages, expected);
  }
}

// ---- early_set_memory_* ---------------------------------------------------------------------------------

TEST(EarlySetMemory, ConvertsTheContents) {
  for (const Platform platform : {Platform::sme, Platform::sev, Platform::sev_es, Platform::sev_snp}) {
    SetMemoryBox box{platform};
    paging::Mmu& cpu = box.mm->cpu(0);
    const VirtAddr at = *box.mm->alloc_pages(3);
    const Bytes plain = pattern_bytes(3 * page_size, 3);
    ASSERT_TRUE(cpu.write(at, plain));
    box.log.clear();
    ASSERT_TRUE(box.mm->early_set_memory_decrypted(cpu, at, 2 * page_size));
    EXPECT_EQ(box.read(at, 3 * page_size), plain);
    EXPECT_EQ(box.dram(at, 2 * page_size), Bytes(plain.begin(), plain.begin() + 2 * page_size));
    EXPECT_NE(box.dram(at + 2 * page_size, page_size), Bytes(plain.begin() + 2 * page_size, plain.end()));
    EXPECT_EQ(box.selector(at + page_size), 0);
    EXPECT_EQ(box.selector(at + 2 * page_size), 1);
    EXPECT_TRUE(box.machine->memory().history(box.mm->virt_to_phys(at)).shared);
    ASSERT_EQ(box.log.all<PageConversion>().size(), 2u);
    EXPECT_TRUE(box.log.all<PageConversion>()[0].converts_contents);

    ASSERT_TRUE(box.mm->early_set_memory_encrypted(cpu, at, 2 * page_size));
    EXPECT_EQ(box.read(at, 3 * page_size), plain);
    EXPECT_NE(box.dram(at, page_size), Bytes(plain.begin(), plain.begin() + page_size));
    EXPECT_FALSE(box.machine->memory().history(box.mm->virt_to_phys(at)).shared);
    EXPECT_TRUE(box.log.all<KeyMismatch>().empty());
  }
}

TEST(EarlySetMemory, FlushesAndConvertsEachMappingBeforeItsEntryChanges) {
  SetMemoryBox box{Platform::sme};
  box.log.clear();
  ASSERT_TRUE(
      box.mm->early_set_memory_decrypted(box.mm->cpu(0), box.mm->phys_to_virt(PhysAddr{64 * mib}), 4 * mib));
  EXPECT_EQ(order(box.log), (Words{"clflush", "wbinvd", "__sme_early_enc_dec", "done",  //
                                   "clflush", "wbinvd", "__sme_early_enc_dec", "done", "tlb-full"}));
  EXPECT_EQ(box.cost().cache_lines_flushed, 4 * mib / 64);
  EXPECT_EQ(box.cost().tlb_flushes, 1u);
  EXPECT_EQ(box.cost().large_pages_split, 1u);
}

TEST(EarlySetMemory, LeavesAloneWhatHasTheAttributeAlready) {
  SetMemoryBox box{Platform::sev};
  const VirtAddr at = *box.mm->alloc_pages(1);
  const Bytes plain = pattern_bytes(page_size, 4);
  ASSERT_TRUE(box.mm->cpu(0).write(at, plain));
  const Bytes cipher = box.dram(at, page_size);
  box.log.clear();
  ASSERT_TRUE(box.mm->early_set_memory_encrypted(box.mm->cpu(0), at, page_size));
  EXPECT_EQ(box.dram(at, page_size), cipher);
  EXPECT_TRUE(box.log.all<PageConversion>().empty());
}

TEST(EarlySetMemory, TakesInThePagesOfBothEnds) {
  SetMemoryBox box{Platform::sev};
  const VirtAddr at = *box.mm->alloc_pages(4);
  ASSERT_TRUE(box.mm->early_set_memory_decrypted(box.mm->cpu(0), at + 4095, page_size + 2));
  EXPECT_EQ(box.selector(at), 0);
  EXPECT_EQ(box.selector(at + 2 * page_size), 0);
  EXPECT_EQ(box.selector(at + 3 * page_size), 1);
}

TEST(EarlySetMemory, DoesNothingOnTdxAndOnAPlainMachine) {
  for (const Platform platform : {Platform::tdx, Platform::plain}) {
    SetMemoryBox box{platform};
    const VirtAddr at = *box.mm->alloc_pages(1);
    const Bytes plain = pattern_bytes(page_size, 5);
    ASSERT_TRUE(box.mm->cpu(0).write(at, plain));
    const mem::KeySelector before = box.selector(at);
    ASSERT_TRUE(box.mm->early_set_memory_decrypted(box.mm->cpu(0), at, page_size));
    EXPECT_EQ(box.selector(at), before);
    EXPECT_EQ(box.read(at, page_size), plain);
    EXPECT_EQ(box.cost().calls, 0u);
  }
}

TEST(EarlySetMemory, ChangesTheStateOfOnlyTheFirstPageOfALargeMappingOnSnp) {
  SetMemoryBox box{Platform::sev_snp, {.migration_control = true}};
  const PhysAddr phys{64 * mib};
  const VirtAddr at = box.mm->phys_to_virt(phys);
  ASSERT_TRUE(box.mm->early_set_memory_decrypted(box.mm->cpu(0), at, 2 * mib));
  EXPECT_FALSE(box.machine->memory().history(phys).assigned);
  EXPECT_TRUE(box.machine->memory().history(phys + page_size).assigned);
  EXPECT_TRUE(box.mm->cpu(0).store(at, 1));
  EXPECT_EQ(box.mm->cpu(0).store(at + page_size, 1).error().kind, FaultKind::rmp_violation);
  EXPECT_EQ(box.cost().hypercalls,
            512u * 2 + 1 + 1);  // per page shared and back, the first page, the notification
}

TEST(EarlySetMemory, RefusesWhatIsNotMapped) {
  SetMemoryBox box{Platform::sev};
  paging::Mmu& cpu = box.mm->cpu(0);
  const VirtAddr end = box.mm->phys_to_virt(box.machine->end_of_ram());
  EXPECT_EQ(box.mm->early_set_memory_decrypted(cpu, end - 1, 2).error().kind, FaultKind::not_present);
  EXPECT_EQ(box.mm->early_set_memory_decrypted(cpu, end - 1, ~0ull).error().kind, FaultKind::non_canonical);
  EXPECT_TRUE(box.mm->early_set_memory_decrypted(cpu, end, 0));
}

}  // namespace
}  // namespace cbit::kernel
