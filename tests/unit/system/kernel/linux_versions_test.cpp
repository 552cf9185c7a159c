// What Linux 7.3 does otherwise than 7.2, and both otherwise than the versions before, where no file of
// tests/lab shows it. The expected values come from the kernels' sources (kernel/dma/direct.h, direct.c,
// swiotlb.c, mapping.c).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dma_board.hpp"

namespace cbit::kernel {
namespace {

using ::testing::ElementsAre;

constexpr KernelVersion before_7_3[] = {KernelVersion::v6_12, KernelVersion::v6_19, KernelVersion::v7_2};
constexpr KernelVersion newest[] = {KernelVersion::v7_2, KernelVersion::v7_3};

DmaAddr map(DmaBoard& board, Device& dev, DmaAttrs attrs = {}) {
  const KernelBuffer buffer = board.buffer(page_size, 1);
  return board.dma().map_single(board.cpu(), dev, buffer.at, page_size, DmaDirection::to_device, attrs);
}

TEST(LinuxVersions, AGuestsBounceIsTracedAsForcedUpTo72AndAsNormalFrom73On) {
  for (const KernelVersion version : newest) {
    DmaBoard board{Platform::sev, {.version = version}, {.c_bit = 51, .memory_bytes = 8 * gib}};
    Device& dev = board.add_device();
    const KernelBuffer buffer = board.buffer(page_size, 1);
    const DmaAddr dma =
        board.dma().map_single(board.cpu(), dev, buffer.at, page_size, DmaDirection::to_device);
    ASSERT_TRUE(board.bounced(dev, dma));
    EXPECT_EQ(dma.value() >> 51, 0u) << "the bounce's address has no C-bit";
    const SwiotlbBounced traced = board.log.all<SwiotlbBounced>().at(0);
    EXPECT_EQ(traced.force, version == KernelVersion::v7_2);
    EXPECT_EQ(traced.dev_addr.value(), buffer.phys.value() | 1ull << 51);
  }
}

TEST(LinuxVersions, WithoutMemoryForThePoolEveryMappingFails) {
  for (const KernelVersion version : newest) {
    machine::MachineConfig config{.platform = Platform::sev, .memory_bytes = 5 * gib};
    const auto machine = machine::Machine::create(config).value();
    test::EventLog log;
    machine->tracer().attach(log);
    const CcPlatform cc{Platform::sev, machine->paging().view.layout, version};
    const auto mm = Mm::create(*machine, cc, version).value();
    while (mm->page_allocator().allocate(1, bit_mask(32))) {
    }
    const auto dma = Dma::create(*mm, cc, {.version = version}).value();
    ASSERT_EQ(dma->swiotlb(), nullptr);
    Device dev{.name = "nic", .dma_mask = bit_mask(64), .coherent_dma_mask = bit_mask(64)};
    ASSERT_TRUE(dma->configure(dev));
    const VirtAddr buffer = mm->alloc_pages(1).value();
    log.clear();
    EXPECT_EQ(dma->map_single(mm->cpu(0), dev, buffer, page_size, DmaDirection::to_device),
              dma_mapping_error);
    const bool v7_3 = version == KernelVersion::v7_3;
    EXPECT_EQ(log.all<DmaMapFailed>().at(0).reason, v7_3 ? DmaFailure::mask_overflow : DmaFailure::no_pool);
    EXPECT_THAT(log.all<KernelMessage>().at(0).text,
                ::testing::HasSubstr(v7_3 ? "overflow (mask ffffffffffffffff, bus limit 0)"
                                          : "Can not allocate SWIOTLB buffer earlier"));
  }
}

TEST(LinuxVersions, ATdWhoseVmmRefusesToShareThePoolHasNoSlotIn73) {
  for (const KernelVersion version : newest) {
    const auto machine = machine::Machine::create({.platform = Platform::tdx}).value();
    test::EventLog log;
    machine->tracer().attach(log);
    const CcPlatform cc{Platform::tdx, machine->paging().view.layout, version};
    const auto mm = Mm::create(*machine, cc, version).value();
    mm->fail_conversion_after(1);  // the pool's is the first
    const auto dma = Dma::create(*mm, cc, {.version = version, .swiotlb = {.slots = 1024}}).value();
    const auto said = [&](std::string_view text) {
      const auto all = log.all<KernelMessage>();
      return std::any_of(all.begin(), all.end(),
                         [&](const KernelMessage& m) { return m.text.find(text) != std::string::npos; });
    };
    EXPECT_TRUE(said("to shared: -5")) << "the errno that 6.12 and later print";
    Device dev{.name = "nic", .dma_mask = bit_mask(64), .coherent_dma_mask = bit_mask(64)};
    ASSERT_TRUE(dma->configure(dev));
    const VirtAddr buffer = mm->alloc_pages(1).value();
    const DmaAddr at = dma->map_single(mm->cpu(0), dev, buffer, page_size, DmaDirection::to_device);
    const bool v7_3 = version == KernelVersion::v7_3;
    EXPECT_EQ(at == dma_mapping_error, v7_3) << "7.2 does not look at the result, and maps";
    EXPECT_EQ(said("Failed to decrypt default memory pool, disabling it"), v7_3);
    EXPECT_EQ(said("total 1024 (slots), used 1024 (slots)"), v7_3);
    EXPECT_EQ(dma->swiotlb()->usage().io_tlb_used, v7_3 ? 1024u : 2u);
  }
}

TEST(LinuxVersions, ASecurePowerGuestAnswersGuestMemEncryptFrom73On) {
  const auto has = [](KernelVersion version) {
    return CcPlatform{Platform::pef, mem::KeyLayout::none(), version}.has(CcAttr::guest_mem_encrypt);
  };
  for (const KernelVersion version : before_7_3) EXPECT_FALSE(has(version));
  EXPECT_TRUE(has(KernelVersion::v7_3));
  EXPECT_FALSE((CcPlatform{Platform::plain, mem::KeyLayout::none(), KernelVersion::v7_3}.has(
      CcAttr::guest_mem_encrypt)));
}

TEST(LinuxVersions, AGuestsMmioIsRefusedForTheGuestsSakeWhateverTheDevicesMask) {
  for (const KernelVersion version : {KernelVersion::v6_19, KernelVersion::v7_2, KernelVersion::v7_3})
    for (const unsigned mask_bits : {32u, 47u, 64u}) {
      DmaBoard board{Platform::sev, {.version = version}};
      Device& dev = board.add_device(mask_bits);
      EXPECT_EQ(
          board.dma().map_resource(board.cpu(), dev, machine::pci_hole, page_size, DmaDirection::to_device),
          dma_mapping_error);
      EXPECT_THAT(board.failures(), ElementsAre(DmaFailure::p2pdma_bounce)) << to_string(version);
    }
  DmaBoard board{Platform::sev, {.version = KernelVersion::v7_3}};
  Device& dev = board.add_device(30);
  EXPECT_EQ(board.dma().map_resource(board.cpu(), dev, machine::pci_hole, page_size, DmaDirection::to_device),
            dma_mapping_error);
  EXPECT_THAT(board.failures(), ElementsAre(DmaFailure::resource_mask)) << "shared, it were beyond the mask";
}

TEST(LinuxVersions, AGuestsDeviceIsToldTheLimitOfThePoolAndOneWithoutMaskThatItCanMapNothing) {
  for (const KernelVersion version : newest) {
    DmaBoard board{Platform::sev, {.version = version}};
    EXPECT_EQ(board.dma().max_mapping_size(board.add_device()), 256u << 10);
    Device& none = board.add_device();
    none.dma_mask = std::nullopt;
    EXPECT_EQ(board.dma().max_mapping_size(none), version == KernelVersion::v7_3 ? 0u : 256u << 10);
  }
}

TEST(LinuxVersions, ARestrictedPoolsSlotsStaySharedWhenCoherentMemoryIsFreed) {
  for (const KernelVersion version : newest) {
    DmaBoard board{Platform::sev, {.version = version}};
    Device& dev = board.add_device();
    const auto pool =
        Swiotlb::create_restricted(board.kernel->mm(), board.kernel->cc(), version, 4 << 20).value();
    dev.restricted_pool = pool.get();
    const std::uint64_t converted = board.kernel->mm().conversion_cost().pages;
    const CoherentBuffer buffer = board.dma().alloc(board.cpu(), dev, page_size).value();
    board.dma().free(board.cpu(), dev, buffer);
    EXPECT_EQ(board.kernel->mm().conversion_cost().pages - converted,
              version == KernelVersion::v7_3 ? 0u : 2u);
  }
}

TEST(LinuxVersions, ARestrictedPoolIsNoSourceForPrivateCoherentMemoryFrom73On) {
  for (const KernelVersion version : newest) {
    DmaBoard board{Platform::sme, {.version = version}};
    Device& dev = board.add_device();
    const auto pool =
        Swiotlb::create_restricted(board.kernel->mm(), board.kernel->cc(), version, 4 << 20).value();
    dev.restricted_pool = pool.get();
    EXPECT_EQ(board.dma().alloc(board.cpu(), dev, page_size).has_value(), version == KernelVersion::v7_2);
  }
}

TEST(LinuxVersions, TheOverflowIsPrintedOncePerFileUpTo72AndOnceFrom73On) {
  for (const KernelVersion version : newest) {
    DmaBoard board{Platform::sme, {.version = version, .swiotlb = {.no_force = true}}};
    Device& dev = board.add_device(32);
    const KernelBuffer buffer = board.buffer(page_size, 1);
    ScatterEntry sg[] = {{.phys = buffer.phys, .length = page_size}};
    for (int i = 0; i < 2; ++i) {
      EXPECT_EQ(map(board, dev), dma_mapping_error);
      EXPECT_EQ(board.dma().map_sg(board.cpu(), dev, sg, DmaDirection::to_device), 0u);
    }
    const auto messages = board.messages();
    EXPECT_EQ(std::count_if(
                  messages.begin(), messages.end(),
                  [](const std::string& text) { return text.find("overflow (mask") != std::string::npos; }),
              version == KernelVersion::v7_3 ? 1 : 2);
  }
}

// kernel/panic.c: __warn() of Debian's kernels prints "WARNING: CPU: %d PID: %d at %s:%d %pS" up to 6.18.15,
// and "WARNING: %s:%d at %pS, CPU#%d: %s/%d" from 6.19.10 on. The test for a mask is dma_map_phys()'s from
// 6.18 on.
TEST(LinuxVersions, AWarningIsPrintedAsTheVersionPrintsIt) {
  for (const auto& [version, text] :
       {std::pair{KernelVersion::v6_12, "WARNING: CPU: 0 PID: 1 at kernel/dma/mapping.c dma_map_page_attrs"},
        std::pair{KernelVersion::v6_19,
                  "WARNING: kernel/dma/mapping.c at dma_map_phys, CPU#0: swapper/0/1"}}) {
    DmaBoard board{Platform::plain, {.version = version}};
    Device& dev = board.add_device();
    dev.dma_mask.reset();
    for (int i = 0; i < 2; ++i) {
      EXPECT_EQ(map(board, dev), dma_mapping_error);
    }
    EXPECT_THAT(board.messages(), ElementsAre(text));
  }
}

// drivers/iommu/iommu.c: iommu_subsys_init
TEST(LinuxVersions, TheDefaultDomainIsPrintedWithABlankBehindItUntil612) {
  for (const auto& [version, text] :
       {std::pair{KernelVersion::v6_1, "iommu: DMA domain TLB invalidation policy: lazy mode "},
        std::pair{KernelVersion::v6_12, "iommu: DMA domain TLB invalidation policy: lazy mode"}}) {
    machine::MachineConfig config{.platform = Platform::plain, .memory_bytes = gib, .iommu = true};
    const auto machine = machine::Machine::create(config).value();
    test::EventLog log;
    machine->tracer().attach(log);
    const auto kernel = Kernel::boot(*machine, {.version = version, .iommu = IommuMode::translated}).value();
    std::vector<std::string> lines;
    for (const auto& message : log.all<KernelMessage>()) lines.push_back(message.text);
    EXPECT_THAT(lines, ::testing::Contains(text));
  }
}

// kernel/dma/direct.h: dma_direct_map_phys() as Debian built it for 6.19.10; that of 6.18.15 warns.
TEST(LinuxVersions, MmioThatWouldHaveToBounceIsRefusedWithoutAWordIn619And72) {
  for (const KernelVersion version : {KernelVersion::v6_19, KernelVersion::v7_2}) {
    DmaBoard board{Platform::sev, {.version = version}};
    Device& dev = board.add_device();
    EXPECT_EQ(
        board.dma().map_resource(board.cpu(), dev, PhysAddr{0xd000'0000}, page_size, DmaDirection::to_device),
        dma_mapping_error);
    EXPECT_TRUE(board.messages().empty());
  }
}

TEST(LinuxVersions, APageOfABarInAScatterlistIsMappedByNobodyIn619) {
  DmaBoard board{Platform::plain, {.version = KernelVersion::v6_19}};
  Device& dev = board.add_device();
  ScatterEntry sg[] = {
      {.phys = PhysAddr{0xd000'0000}, .length = page_size, .dma = DmaAddr{0x1234}, .p2pdma = true}};
  EXPECT_EQ(board.dma().map_sg(board.cpu(), dev, sg, DmaDirection::to_device), 1u);
  EXPECT_EQ(sg[0].dma, DmaAddr{0x1234}) << "what was there before";
  EXPECT_EQ(sg[0].dma_length, page_size);
}

TEST(LinuxVersions, AtomicPoolsOfZonesWithoutMemoryAreNotMadeFrom619On) {
  for (const KernelVersion version : {KernelVersion::v6_12, KernelVersion::v6_19}) {
    DmaBoard small{Platform::sev, {.version = version}, {.memory_bytes = 2 * gib}};
    EXPECT_EQ(small.dma().atomic_pools().kernel != 0, version == KernelVersion::v6_12);
    EXPECT_TRUE(small.dma().alloc(small.cpu(), small.add_device(), page_size, true)) << "from another pool";
  }
}

}  // namespace
}  // namespace cbit::kernel
