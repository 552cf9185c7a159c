// The address space of the model kernel: direct map, vmap, ioremap, processes.
#include "kernel/mm/mm.hpp"

#include <gtest/gtest.h>

#include "mm_fixture.hpp"
#include "support/sizes.hpp"

namespace cbit::kernel {
namespace {

TEST(Mm, MapsAllOfRamAndNothingElse) {
  MmBox box{Platform::sme, {.memory_bytes = 8 * gib}};
  paging::Mmu& cpu = box.mm->cpu(0);
  for (const std::uint64_t at : {0 * gib, 3 * gib - 1, 4 * gib, 9 * gib - 1}) {
    const auto found = cpu.translate(box.mm->phys_to_virt(PhysAddr{at}), paging::Intent::read);
    ASSERT_TRUE(found) << at;
    EXPECT_EQ(found->phys, PhysAddr{at});
    EXPECT_EQ(found->selector, 1);
    EXPECT_EQ(found->level, paging::PageLevel::size_1g);
  }
  for (const std::uint64_t at : {3 * gib, 4 * gib - 1, 9 * gib})
    EXPECT_EQ(cpu.translate(box.mm->phys_to_virt(PhysAddr{at}), paging::Intent::read).error().kind,
              FaultKind::not_present);
}

TEST(Mm, MapsAsLinuxDoes) {
  for (const unsigned levels : {4u, 5u}) {
    MmBox box{Platform::sme, {.paging_levels = levels}};
    const VirtAddr base = levels == 5 ? page_offset_base_l5 : page_offset_base;
    EXPECT_EQ(box.mm->phys_to_virt(PhysAddr{0x1234}), base + 0x1234);
    EXPECT_EQ(box.mm->virt_to_phys(base + 0x1234), PhysAddr{0x1234});
    EXPECT_TRUE(box.mm->in_direct_map(base));
    EXPECT_FALSE(box.mm->in_direct_map(base - 1));
    EXPECT_FALSE(box.mm->in_direct_map(base + box.machine->end_of_ram().value()));
    const auto found = box.mm->cpu(0).translate(base, paging::Intent::read);
    EXPECT_EQ(found->entry.raw, 0x8000'8000'0000'01e3u);  // PAGE_KERNEL_LARGE, C-bit 47
    EXPECT_FALSE(box.mm->cpu(0).translate(base, paging::Intent::execute));
  }
}

TEST(Mm, LeavesEverythingUnencryptedOnAPlainMachine) {
  MmBox box{Platform::plain};
  const auto found = box.mm->cpu(0).translate(box.mm->phys_to_virt(PhysAddr{0x1000}), paging::Intent::read);
  EXPECT_EQ(found->selector, 0);
  EXPECT_EQ(found->key, no_key);
}

TEST(Mm, KeepsItsTablesEncrypted) {
  MmBox box{Platform::sev};
  const auto [root, key] = paging::locate_table(box.machine->paging().view, box.mm->kernel_table().cr3());
  EXPECT_EQ(box.machine->memory().history(root).writer_key, mem::guest_key(1));
  Bytes dram(8);
  ASSERT_TRUE(box.machine->memory().probe(root, dram));
  EXPECT_NE(load<std::uint64_t>(dram), 0u);  // an empty entry, encrypted
}

TEST(Mm, GivesEachCpuItsOwnView) {
  MmBox box{Platform::sme, {.cpus = 3}};
  EXPECT_EQ(box.mm->cpu_count(), 3u);
  const VirtAddr at = *box.mm->alloc_pages(1);
  ASSERT_TRUE(box.mm->cpu(2).store(at, 42));
  EXPECT_EQ(box.mm->cpu(1).load<int>(at), 42);
  EXPECT_EQ(box.machine->memory().history(box.mm->virt_to_phys(at)).writer, (Agent{AgentKind::cpu, 2}));
}

TEST(Mm, FailsOnAMachineWithoutPagesForItsTables) {
  MmBox box{Platform::sme, {.memory_bytes = 16ull << 20}};
  EXPECT_TRUE(box.mm->alloc_pages(1));
  EXPECT_FALSE(box.mm->alloc_pages(4096));
}

TEST(Mm, VmapsPagesASecondTimeInTheGivenOrder) {
  MmBox box{Platform::sev};
  paging::Mmu& cpu = box.mm->cpu(0);
  const VirtAddr first = *box.mm->alloc_pages(3);
  ASSERT_TRUE(cpu.store(first, 'a') && cpu.store(first + page_size, 'b') &&
              cpu.store(first + 2 * page_size, 'c'));
  const PhysAddr phys = box.mm->virt_to_phys(first);
  const auto again = box.mm->vmap({phys + 2 * page_size, phys, phys + page_size}, 1);
  ASSERT_TRUE(again);
  EXPECT_GE(*again, vmalloc_base);
  EXPECT_FALSE(box.mm->in_direct_map(*again));
  EXPECT_EQ(cpu.load<char>(*again), 'c');
  EXPECT_EQ(cpu.load<char>(*again + page_size), 'a');
  EXPECT_EQ(cpu.load<char>(*again + 2 * page_size), 'b');
  EXPECT_FALSE(cpu.load<char>(*again + 3 * page_size));  // the guard page
}

TEST(Mm, VmapsWithTheAttributeOfTheMappingAndNotOfTheDirectMap) {
  MmBox box{Platform::sme};
  paging::Mmu& cpu = box.mm->cpu(0);
  const VirtAddr at = *box.mm->alloc_pages(1);
  ASSERT_TRUE(cpu.store<std::uint64_t>(at, 0x1122334455667788));
  const VirtAddr plain = *box.mm->vmap({box.mm->virt_to_phys(at)}, 0);
  EXPECT_EQ(cpu.load<std::uint64_t>(plain).value(), load<std::uint64_t>(box.dram(at, 8)));
  EXPECT_NE(cpu.load<std::uint64_t>(plain), 0x1122334455667788u);
}

TEST(Mm, UnmapsOnAllCpusAndReusesTheAddress) {
  MmBox box{Platform::sme, {.cpus = 2}};
  const PhysAddr page = box.mm->virt_to_phys(*box.mm->alloc_pages(1));
  const VirtAddr at = *box.mm->vmap({page}, 1);
  ASSERT_TRUE(box.mm->cpu(0).load<int>(at) && box.mm->cpu(1).load<int>(at));
  box.mm->vunmap(at, 1);
  EXPECT_FALSE(box.mm->cpu(0).load<int>(at));
  EXPECT_FALSE(box.mm->cpu(1).load<int>(at));
  const std::uint64_t free_pages = box.mm->page_allocator().free_pages();
  for (int i = 0; i < 1000; ++i) {
    const auto again = box.mm->vmap({page, page}, 1);
    EXPECT_EQ(again, at);
    box.mm->vunmap(*again, 2);
  }
  EXPECT_EQ(box.mm->page_allocator().free_pages(), free_pages);  // no table page is lost
}

TEST(Mm, IoremapsDecrypted) {
  for (const Platform platform : {Platform::sme, Platform::sev, Platform::tdx}) {
    MmBox box{platform};
    const auto at = box.mm->ioremap(machine::pci_hole + 0x123, page_size);
    ASSERT_TRUE(at);
    const auto found = box.mm->cpu(0).translate(*at, paging::Intent::write);
    EXPECT_EQ(found->phys, machine::pci_hole + 0x123);
    EXPECT_EQ(found->selector, 0);
    EXPECT_EQ(found->entry.raw >> 47 & 1, platform == Platform::tdx ? 1u : 0u);
    EXPECT_TRUE(box.mm->cpu(0).translate(*at + page_size - 1, paging::Intent::write));  // two pages
  }
}

TEST(Mm, RefusesToIoremapRamAndNonsense) {
  MmBox box{Platform::sme};
  box.log.clear();
  EXPECT_EQ(box.mm->ioremap(PhysAddr{0x1000}, page_size).error().kind, FaultKind::protection);
  ASSERT_EQ(box.log.all<KernelMessage>().size(), 1u);
  EXPECT_EQ(box.log.all<KernelMessage>()[0].text,
            "ioremap on RAM at 0x0000000000001000 - 0x0000000000001fff");
  EXPECT_FALSE(box.mm->ioremap(machine::pci_hole, 0));
  EXPECT_FALSE(box.mm->ioremap(machine::pci_hole, ~0ull));
  EXPECT_FALSE(box.mm->ioremap(PhysAddr{1ull << 47}, page_size));  // would set the C-bit
}

TEST(UserSpace, SeesPagesThroughItsOwnTableAndAttribute) {
  MmBox box{Platform::sev};
  const VirtAddr at = *box.mm->alloc_pages(2);
  ASSERT_TRUE(box.mm->cpu(0).store<std::uint64_t>(at, 0x1122334455667788));
  const auto user = box.mm->create_user_space();
  ASSERT_TRUE(user);
  paging::Mmu& cpu = (*user)->mmu();
  const VirtAddr encrypted = (*user)->remap_pfn_range(box.mm->virt_to_phys(at), 2, 1).value();
  const VirtAddr decrypted = (*user)->remap_pfn_range(box.mm->virt_to_phys(at), 2, 0).value();
  EXPECT_EQ(cpu.load<std::uint64_t>(encrypted), 0x1122334455667788u);
  EXPECT_EQ(cpu.load<std::uint64_t>(decrypted).value(), load<std::uint64_t>(box.dram(at, 8)));
  EXPECT_TRUE(cpu.store(encrypted, 1));
  EXPECT_FALSE(cpu.load<int>(at));  // no kernel half
  EXPECT_FALSE(cpu.translate(encrypted, paging::Intent::execute));
}

TEST(UserSpace, ReturnsItsTables) {
  MmBox box{Platform::sev};
  const std::uint64_t before = box.mm->page_allocator().free_pages();
  {
    const auto user = box.mm->create_user_space();
    ASSERT_TRUE((*user)->remap_pfn_range(PhysAddr{0x10'0000}, 1, 1));
    EXPECT_LT(box.mm->page_allocator().free_pages(), before);
  }
  EXPECT_EQ(box.mm->page_allocator().free_pages(), before);
}

TEST(UserSpace, RefusesMoreThanItsAddressesHold) {
  MmBox box{Platform::sev};
  const auto user = box.mm->create_user_space();
  EXPECT_FALSE((*user)->remap_pfn_range(PhysAddr{0x10'0000}, 1ull << 40, 1));
  EXPECT_FALSE((*user)->remap_pfn_range(PhysAddr{1ull << 47}, 1, 1));
}

}  // namespace
}  // namespace cbit::kernel
