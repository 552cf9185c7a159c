// A kernel's DMA calls as events: mappings, allocations, bounce buffers, and why they fail.
#include <gtest/gtest.h>

#include "probe_bench.hpp"

namespace cbit::linux {
namespace {

using test::ProbeBench;
using test::Style;

constexpr PhysAddr buffer{0x1234'5000};
constexpr std::uint64_t to_device = 1, from_device = 2;
constexpr std::uint64_t error = ~std::uint64_t{0};
using Names = std::vector<std::string>;

class ProbesOfDma : public testing::TestWithParam<Style> {
 protected:
  [[nodiscard]] bool is_6_1() const { return GetParam() == Style::v6_1; }
  [[nodiscard]] bool is_7_3() const { return GetParam() == Style::v7_3; }
  // The names that versions have for one call.
  [[nodiscard]] std::string sync(std::string_view what) const {
    return (is_6_1() ? "" : "__") + std::string{what};
  }

  void map(std::uint64_t bytes, std::uint64_t direction, std::uint64_t attrs,
           const ProbeBench::Body& inside) {
    if (is_7_3())
      return b.call("dma_map_phys", {b.dev(), buffer.value() + 0x10, bytes, direction, attrs}, inside);
    b.call("dma_map_page_attrs", {b.dev(), b.page(buffer), 0x10, bytes, direction, attrs}, inside);
  }
  void map(std::uint64_t bytes, std::uint64_t direction, std::uint64_t result) {
    map(bytes, direction, 0, [result] { return result; });
  }
  void unmap(std::uint64_t dma, std::uint64_t bytes, std::uint64_t direction,
             const ProbeBench::Body& inside) {
    b.call(is_7_3() ? "dma_unmap_phys" : "dma_unmap_page_attrs", {b.dev(), dma, bytes, direction, 0}, inside);
  }
  [[nodiscard]] DmaMapFailed failure() const { return b.only<DmaMapFailed>(); }

  ProbeBench b{GetParam()};
};

std::string style_of(const testing::TestParamInfo<Style>& style) {
  constexpr const char* names[] = {"v6_1", "v6_12", "v7_3"};
  return names[static_cast<std::size_t>(style.param)];
}
INSTANTIATE_TEST_SUITE_P(, ProbesOfDma, testing::Values(Style::v6_1, Style::v6_12, Style::v7_3), style_of);

TEST_P(ProbesOfDma, TellMemoryThatIsFreedWhileItIsMapped) {
  const std::uint64_t object = ProbeBench::direct_map + buffer.value() + 0x10;
  b.call("kfree", {object});
  map(100, to_device, buffer.value() + 0x10);
  b.log.clear();
  b.call("kfree", {object + 0x400});
  b.call("kfree", {object + page_size});
  EXPECT_EQ(b.event_names(), Names{}) << "others' memory";
  b.call("kfree", {object});
  EXPECT_EQ(b.only<MappedMemoryFreed>().dma, DmaAddr{buffer.value() + 0x10});
  EXPECT_EQ(b.only<MappedMemoryFreed>().freed, buffer + 0x10);
  b.log.clear();
  b.call("kfree", {object});
  EXPECT_EQ(b.event_names(), Names{}) << "what is there by now is somebody else's";
}

// kmem_cache_free(cache, object).
TEST_P(ProbesOfDma, TellAnObjectOfACacheThatIsFreedWhileItIsMapped) {
  const std::uint64_t object = ProbeBench::direct_map + buffer.value() + 0x10;
  const std::uint64_t cache = ProbeBench::direct_map;
  map(100, to_device, buffer.value() + 0x10);
  b.log.clear();
  b.call("kmem_cache_free", {cache, object + 0x400});
  b.call("kmem_cache_free", {object, cache});
  EXPECT_EQ(b.event_names(), Names{}) << "others' memory, and a cache that is not freed";
  b.call("kmem_cache_free", {cache, object});
  EXPECT_EQ(b.only<MappedMemoryFreed>().freed, buffer + 0x10);
}

TEST_P(ProbesOfDma, TellPagesThatAreFreedWhileTheyAreMapped) {
  const std::string free_pages = is_7_3() ? "__free_frozen_pages" : "free_unref_page";
  map(100, to_device, buffer.value() + 0x10);
  b.log.clear();
  b.call(free_pages, {b.page(PhysAddr{buffer.value() - 2 * page_size}), 1});
  EXPECT_EQ(b.event_names(), Names{}) << "the two pages before it";
  b.call(free_pages, {b.page(PhysAddr{buffer.value() - page_size}), 1});
  EXPECT_EQ(b.only<MappedMemoryFreed>().freed, PhysAddr{buffer.value() - page_size});
}

TEST_P(ProbesOfDma, DoNotMindMemoryThatIsFreedBehindItsUnmap) {
  map(100, to_device, buffer.value() + 0x10);
  unmap(buffer.value() + 0x10, 100, to_device, [] { return 0; });
  b.log.clear();
  b.call("kfree", {ProbeBench::direct_map + buffer.value() + 0x10});
  EXPECT_EQ(b.event_names(), Names{});
}

TEST_P(ProbesOfDma, TellAMappingWithItsDeviceAndBuffer) {
  b.set_variable("sme_me_mask", ProbeBench::me_mask);
  map(100, to_device, buffer.value() + 0x10 + ProbeBench::me_mask);
  EXPECT_EQ(b.event_names(), Names{"dma_map"});
  const auto mapped = b.only<DmaMapped>();
  EXPECT_EQ(b.name(mapped.device), "0000:00:02.0");
  EXPECT_EQ(mapped.kind, DmaMappingKind::page);
  EXPECT_EQ(mapped.dma, DmaAddr{buffer.value() + 0x10 + ProbeBench::me_mask});
  EXPECT_EQ(mapped.phys, buffer + 0x10);
  EXPECT_EQ(mapped.bytes, 100u);
  EXPECT_EQ(mapped.direction, DmaDirection::to_device);
  EXPECT_EQ(mapped.path, DmaPath::direct);
  EXPECT_TRUE(mapped.encrypted);
  EXPECT_EQ(b.log.events().front().agent, (Agent{AgentKind::cpu, 0}));
}

TEST_P(ProbesOfDma, TellNothingBeforeTheCallHasReturned) {
  map(100, to_device, 0, [&] {
    EXPECT_TRUE(b.log.events().empty());
    return buffer.value() + 0x10;
  });
  EXPECT_EQ(b.log.events().size(), 1u);
  EXPECT_FALSE(b.only<DmaMapped>().encrypted);
}

TEST_P(ProbesOfDma, SayWhetherWhatTheyTellFollowsFromACallThatHasReturned) {
  struct Listener final : EventSink {
    explicit Listener(const Probes& asked) : probes{&asked} {}
    void on_event(const Event&) override { answers.push_back(probes->is_behind_call()); }
    const Probes* probes;
    std::vector<bool> answers;
  } listener{*b.probes};
  b.tracer.attach(listener);
  map(100, to_device, buffer.value() + 0x10);
  b.call("kfree", {ProbeBench::direct_map + buffer.value() + 0x10});
  b.tracer.detach(listener);
  EXPECT_EQ(listener.answers, (std::vector<bool>{true, false}))
      << "the mapping exists now; the object will go";
  EXPECT_FALSE(b.probes->is_behind_call());
}

TEST_P(ProbesOfDma, SayWhichFunctionMadeAMapping) {
  map(100, to_device, 0x5000);
  const SiteId site = b.probes->mapped_by(b.device_id(), DmaAddr{0x5063});
  EXPECT_TRUE(b.name(site).starts_with("driver_queue+0x")) << b.name(site);
  EXPECT_EQ(b.probes->mapped_by(b.device_id(), DmaAddr{0x5064}), 0u) << "behind it";
  b.log.clear();
  // Through a helper of the ring, which is nobody's mistake.
  b.cpu.gpr[CpuView::rsp] -= 8;
  b.guest.put(b.cpu.stack(), (b.at("driver_queue") + 0x80).value());
  b.cpu.gpr[CpuView::rsp] -= 8;
  b.guest.put(b.cpu.stack(), (b.at("virtqueue_add_split") + 0x40).value());
  b.cpu.gpr[CpuView::rdi] = b.dev();
  b.cpu.gpr[CpuView::rdx] = b.cpu.gpr[CpuView::rsi] = 0x6000;
  b.execute(b.at("dma_alloc_attrs"));
  b.guest.put(VirtAddr{0x6000}, std::uint64_t{0x6000});
  b.cpu.gpr[CpuView::rax] = 1;
  b.cpu.gpr[CpuView::rsp] += 8;
  b.execute(b.at("virtqueue_add_split") + 0x40);
  EXPECT_EQ(b.name(b.probes->mapped_by(b.device_id(), DmaAddr{0x6000})), "driver_queue+0x80");
}

TEST_P(ProbesOfDma, TellABounceInTheOrderOfTheModelKernel) {
  b.set_mask(0xffff'ffff);
  map(5000, to_device, 0, [&] {
    b.bounce(buffer + 0x10, 5000, DmaDirection::to_device, 3);
    return (ProbeBench::pool + 3 * 2048).value();
  });
  EXPECT_EQ(b.event_names(), (Names{"swiotlb_bounced", "swiotlb_alloc", "swiotlb_bounce", "dma_map"}));
  const auto bounced = b.only<SwiotlbBounced>();
  EXPECT_EQ(bounced.dev_addr, DmaAddr{buffer.value() + 0x10});
  EXPECT_EQ(bounced.dma_mask, 0xffff'ffffu);
  EXPECT_EQ(bounced.size, 5000u);
  EXPECT_TRUE(bounced.force);
  const auto allocated = b.only<SwiotlbAllocated>();
  EXPECT_EQ(allocated.slot, 3u);
  EXPECT_EQ(allocated.slots, 3u);
  EXPECT_EQ(allocated.area, 0u);
  EXPECT_EQ(allocated.bounce, ProbeBench::pool + 3 * 2048);
  EXPECT_EQ(allocated.orig, buffer + 0x10);
  const auto copied = b.only<SwiotlbCopied>();
  EXPECT_EQ(copied.orig, buffer + 0x10);
  EXPECT_EQ(copied.bounce, ProbeBench::pool + 3 * 2048);
  EXPECT_EQ(copied.bytes, 5000u);
  EXPECT_TRUE(copied.to_pool);
  EXPECT_EQ(b.only<DmaMapped>().path, DmaPath::swiotlb);
  EXPECT_EQ(b.pools, (std::vector<std::pair<PhysAddr, std::uint64_t>>{{ProbeBench::pool, 1 << 20}}));
}

TEST_P(ProbesOfDma, TellAnUnmapThatCopiesBack) {
  b.set_slot(300, buffer.value(), 4096, 0);
  b.set_slot(301, buffer.value() + 2048, 2048, 0);
  const PhysAddr at = ProbeBench::pool + 300 * 2048;
  unmap(at.value(), 4096, from_device, [&] {
    b.release(at, 4096, DmaDirection::from_device);
    return std::uint64_t{0};
  });
  EXPECT_EQ(b.event_names(), (Names{"swiotlb_bounce", "swiotlb_release", "dma_unmap"}));
  EXPECT_FALSE(b.only<SwiotlbCopied>().to_pool);
  EXPECT_EQ(b.only<SwiotlbReleased>().slot, 300u);
  EXPECT_EQ(b.only<SwiotlbReleased>().slots, 2u);
  EXPECT_TRUE(b.only<DmaUnmapped>().copied_back);
  b.log.clear();
  b.set_slot(300, buffer.value(), 2048, 0);
  unmap(at.value(), 2048, to_device, [&] {
    b.release(at, 2048, DmaDirection::to_device);
    return std::uint64_t{0};
  });
  EXPECT_EQ(b.event_names(), (Names{"swiotlb_release", "dma_unmap"}));
  EXPECT_FALSE(b.only<DmaUnmapped>().copied_back);
}

TEST_P(ProbesOfDma, CountAFullPoolAsTheKernelDoes) {
  // 429 of 512 slots in use, the longest run 58 of a set; a request of 172,032 bytes takes 84.
  for (std::uint64_t i = 0; i < ProbeBench::pool_slots; ++i) b.set_slot(i, 1, 2048, 0);
  for (std::uint64_t i = 0; i < 58; ++i)
    b.set_slot(128 - 58 + i, error, 0, static_cast<std::uint32_t>(58 - i));
  b.guest.put(ProbeBench::tlb + 0x800, std::uint64_t{198});
  b.guest.put(ProbeBench::tlb + 0x810, std::uint64_t{231});
  map(172032, to_device, 0, [&] {
    b.call("swiotlb_tbl_map_single", b.map_single_arguments(buffer, 172032), error);
    return error;
  });
  EXPECT_EQ(b.event_names(), (Names{"swiotlb_bounced", "swiotlb_full", "dma_map_failed"}));
  const auto full = b.only<SwiotlbFull>();
  EXPECT_EQ(full.bytes, 172032u);
  EXPECT_EQ(full.slots_wanted, 84u);
  EXPECT_EQ(full.segment_slots, 128u);
  EXPECT_EQ(full.slots_total, 512u);
  EXPECT_EQ(full.slots_used, 429u);
  EXPECT_EQ(full.longest_run, 58u);
  EXPECT_FALSE(full.growth_possible);
  EXPECT_FALSE(full.endless_search);
  EXPECT_EQ(failure().reason, DmaFailure::pool_full);
}

TEST_P(ProbesOfDma, CountTheOffsetInASlotWhereTheDeviceKeepsIt) {
  // NVMe: min_align_mask 4095. swiotlb_align_offset() keeps the bits below a slot; 6.10 has them in the size.
  b.guest.put(ProbeBench::pci + 0x1480 + b.kernel.offset("device_dma_parameters", "min_align_mask"),
              std::uint32_t{0xfff});
  const PhysAddr orig = buffer + 0x634;
  b.call("swiotlb_tbl_map_single", b.map_single_arguments(orig, 1000),
         (ProbeBench::pool + 4 * 2048 + 0x634).value());
  EXPECT_EQ(b.only<SwiotlbAllocated>().slot, 4u);
  EXPECT_EQ(b.only<SwiotlbAllocated>().slots, 2u) << "1000 + 0x634 bytes";
}

TEST_P(ProbesOfDma, TellAPartialSyncThatTheKernelDrops) {
  // min_align_mask 4095 and a buffer at 0x634 in its page: bytes of the second slot before that offset.
  b.guest.put(ProbeBench::pci + 0x1480 + b.kernel.offset("device_dma_parameters", "min_align_mask"),
              std::uint32_t{0xfff});
  b.set_slot(8, buffer.value() + 0x634, 3000, 0);
  b.set_slot(9, buffer.value() + 0x634 + 2048, 3000 - 2048, 0);
  const PhysAddr at = ProbeBench::pool + 9 * 2048 + 0x100;
  b.call(sync("dma_sync_single_for_cpu"), {b.dev(), at.value(), 64, from_device}, [&] {
    std::vector<std::uint64_t> copy{b.dev(), at.value(), 64, from_device};
    if (!is_6_1()) copy.push_back(ProbeBench::tlb.value());
    b.call("swiotlb_bounce", copy);
    return std::uint64_t{0};
  });
  if (is_6_1()) {
    EXPECT_EQ(b.event_names(), (Names{"swiotlb_dropped", "dma_sync"}));
    EXPECT_TRUE(b.only<SwiotlbDropped>().negative_offset);
    EXPECT_FALSE(b.only<DmaSynced>().copied);
  } else {
    EXPECT_EQ(b.event_names(), (Names{"swiotlb_bounce", "dma_sync"}));
    EXPECT_EQ(b.only<SwiotlbCopied>().orig, buffer + 0x634 + 2048 - 0x534);
    EXPECT_TRUE(b.only<DmaSynced>().copied);
  }
  EXPECT_TRUE(b.only<DmaSynced>().for_cpu);
  EXPECT_EQ(b.only<DmaSynced>().bytes, 64u);
}

TEST_P(ProbesOfDma, TellNoCopyOfSlotsThatAreFree) {
  b.call(sync("dma_sync_single_for_device"), {b.dev(), (ProbeBench::pool + 0x800).value(), 64, to_device},
         [&] {
           b.call("swiotlb_bounce",
                  {b.dev(), (ProbeBench::pool + 0x800).value(), 64, 1, ProbeBench::tlb.value()});
           return std::uint64_t{0};
         });
  EXPECT_EQ(b.event_names(), Names{"dma_sync"});
  EXPECT_FALSE(b.only<DmaSynced>().for_cpu);
  EXPECT_FALSE(b.only<DmaSynced>().copied);
}

TEST_P(ProbesOfDma, SayWhyAMappingFailed) {
  const auto fail = [&](const ProbeBench::Body& inside = [] { return error; }) {
    b.log.clear();
    map(100, to_device, 0, inside);
    return failure().reason;
  };
  const auto fail_bounced = [&](std::uint64_t bounce, bool released) {
    return fail([&] {
      b.call("swiotlb_tbl_map_single", b.map_single_arguments(buffer, 100), bounce);
      if (released)
        b.call(is_6_1() ? "swiotlb_tbl_unmap_single" : "__swiotlb_tbl_unmap_single",
               {b.dev(), bounce, 100, 1, 0, ProbeBench::tlb.value()});
      return error;
    });
  };
  b.set_mask(0xff'ffff);
  EXPECT_EQ(fail(), DmaFailure::mask_overflow);
  EXPECT_EQ(failure().mask, 0xff'ffffu);
  EXPECT_EQ(failure().address, DmaAddr{buffer.value() + 0x10});
  EXPECT_EQ(fail_bounced(error, false), DmaFailure::pool_full);
  EXPECT_EQ(fail_bounced(ProbeBench::pool.value(), true), DmaFailure::pool_beyond_mask);
  b.guest.put(ProbeBench::tlb + b.kernel.offset("io_tlb_mem", "nslabs"), std::uint64_t{0});
  EXPECT_EQ(fail_bounced(error, false), DmaFailure::no_pool);
  EXPECT_TRUE(b.log.all<SwiotlbFull>().empty());
  b.set_device("dma_mask", 0);
  EXPECT_EQ(fail(), DmaFailure::mask_unset);
}

TEST_P(ProbesOfDma, SayWhyAnIommuRefused) {
  b.use_iommu();
  const auto fail = [&](std::string_view function, std::uint64_t result) {
    b.log.clear();
    map(100, to_device, 0, [&] {
      if (!function.empty()) b.call(function, {1, 0x1000, buffer.value(), 4096}, result);
      return error;
    });
    return failure().reason;
  };
  EXPECT_EQ(fail("iommu_dma_alloc_iova", 0), DmaFailure::iova_exhausted);
  EXPECT_EQ(fail(is_7_3() ? "iommu_map_nosync" : "__iommu_map", static_cast<std::uint32_t>(-12)),
            DmaFailure::iommu_map);
  EXPECT_EQ(fail("", 0), DmaFailure::no_pool) << "an untrusted device, and no pool to bounce through";
  EXPECT_TRUE(b.log.all<IommuMapped>().empty());
}

TEST_P(ProbesOfDma, ReportADirectionThatIsNoneAtOnce) {
  const auto arguments = is_7_3() ? std::vector<std::uint64_t>{b.dev(), buffer.value(), 64, 3, 0}
                                  : std::vector<std::uint64_t>{b.dev(), b.page(buffer), 0, 64, 3, 0};
  b.call(is_7_3() ? "dma_map_phys" : "dma_map_page_attrs", arguments, [&] {
    EXPECT_EQ(failure().reason, DmaFailure::invalid_direction);
    return error;
  });
  EXPECT_EQ(b.log.events().size(), 1u) << "BUG: it does not return";
}

TEST_P(ProbesOfDma, TellPeerToPeerMemoryAndNonsenseFromRam) {
  if (is_7_3()) return;  // dma_map_phys() takes an address
  b.call("dma_map_page_attrs", {b.dev(), b.page(PhysAddr{1ull << 40}), 0, 64, 1, 0}, error);
  EXPECT_EQ(failure().reason, DmaFailure::p2pdma_bounce);
  b.log.clear();
  b.call("dma_map_page_attrs", {b.dev(), 0xffff'c900'0000'1000, 0, 64, 1, 0}, error);
  EXPECT_EQ(failure().reason, DmaFailure::invalid_memory) << "no struct page";
}

TEST_P(ProbesOfDma, TellResourcesByTheirKind) {
  const auto call = [&](std::uint64_t result) {
    if (is_7_3())
      b.call("dma_map_phys", {b.dev(), 0xfe00'0000, 4096, 0, dma_attr::mmio.bits}, result);
    else
      b.call("dma_map_resource", {b.dev(), 0xfe00'0000, 4096, 0, 0}, result);
  };
  call(0xfe00'0000);
  EXPECT_EQ(b.only<DmaMapped>().kind, DmaMappingKind::resource);
  EXPECT_EQ(b.only<DmaMapped>().phys, PhysAddr{0xfe00'0000});
  if (is_7_3()) {
    call(error);
    EXPECT_EQ(failure().reason, DmaFailure::p2pdma_bounce) << "the mask reaches it, so the guest is why";
    b.log.clear();
  }
  b.set_mask(0xffff);
  call(error);
  EXPECT_EQ(failure().reason, DmaFailure::resource_mask);
  EXPECT_EQ(failure().mask, 0xffffu);
}

TEST_P(ProbesOfDma, TellEachSegmentOfAList) {
  // Two entries, the second through a chain; an IOMMU merges the first two into one segment of 0x3000 bytes.
  const VirtAddr list{0xffff'8880'0200'0000};
  const auto entry = [&](VirtAddr at, PhysAddr phys, std::uint32_t bytes, std::uint64_t bits) {
    b.guest.put(at, b.page(phys) | bits);
    b.guest.put(at + 8, std::uint32_t{0});
    b.guest.put(at + 12, bytes);
    b.guest.put(at + 16, std::uint64_t{0});
    b.guest.put(at + 24, std::uint64_t{0});
  };
  const auto segment = [&](VirtAddr at, std::uint64_t dma, std::uint32_t bytes) {
    b.guest.put(at + 16, dma);
    b.guest.put(at + 24, bytes);
  };
  entry(list, buffer, 0x1000, 0);
  b.guest.put(list + 32, (list + 0x200).value() | 1);
  entry(list + 0x200, buffer + 0x8000, 0x2000, 0);
  entry(list + 0x220, buffer + 0x20000, 0x800, 2);
  b.use_iommu();
  b.leaf = Observer::IommuLeaf{buffer, true};
  b.call("__dma_map_sg_attrs", {b.dev(), list.value(), 3, to_device, 0}, [&] {
    segment(list, 0xfff0'0000, 0x3000);
    segment(list + 0x200, 0xffe0'0000, 0x800);
    return std::uint64_t{0xdead'0000'0000'0002};  // an int: the upper half is anything
  });
  auto mapped = b.log.all<DmaMapped>();
  ASSERT_EQ(mapped.size(), 2u);
  EXPECT_EQ(mapped[0].kind, DmaMappingKind::sg);
  EXPECT_EQ(mapped[0].dma, DmaAddr{0xfff0'0000});
  EXPECT_EQ(mapped[0].phys, buffer);
  EXPECT_EQ(mapped[0].bytes, 0x3000u);
  EXPECT_EQ(mapped[0].path, DmaPath::iommu);
  EXPECT_TRUE(mapped[0].encrypted);
  EXPECT_EQ(mapped[1].phys, buffer + 0x20000) << "the third entry";
  b.log.clear();
  b.call("dma_unmap_sg_attrs", {b.dev(), list.value(), 3, to_device, 0}, [&] {
    segment(list, 0, 0);
    segment(list + 0x200, 0, 0);
    return std::uint64_t{0};
  });
  const auto unmapped = b.log.all<DmaUnmapped>();
  ASSERT_EQ(unmapped.size(), 2u);
  EXPECT_EQ(unmapped[1].dma, DmaAddr{0xffe0'0000});
  EXPECT_EQ(unmapped[1].bytes, 0x800u);
  b.log.clear();
  b.call("__dma_map_sg_attrs", {b.dev(), list.value(), 3, to_device, 0}, static_cast<std::uint32_t>(-12));
  EXPECT_EQ(failure().kind, DmaMappingKind::sg);
  EXPECT_EQ(failure().phys, buffer);
}

TEST_P(ProbesOfDma, SayWhichSegmentsOfAListWereCopied) {
  const VirtAddr list{0xffff'8880'0200'0000};
  const PhysAddr bounce = ProbeBench::pool + 2 * 2048;
  b.set_slot(2, buffer.value(), 2048, 0);
  for (const std::uint64_t i : {0u, 1u}) {
    b.guest.put(list + i * 32, b.page(buffer) | (i == 1 ? 2 : 0));
    b.guest.put(list + i * 32 + 8, std::uint32_t{0});
    b.guest.put(list + i * 32 + 12, std::uint32_t{2048});
    b.guest.put(list + i * 32 + 16, i == 0 ? bounce.value() : buffer.value());
    b.guest.put(list + i * 32 + 24, std::uint32_t{2048});
  }
  b.call(sync("dma_sync_sg_for_cpu"), {b.dev(), list.value(), 2, from_device}, [&] {
    b.call("swiotlb_bounce", {b.dev(), bounce.value(), 2048, from_device, ProbeBench::tlb.value()});
    return std::uint64_t{0};
  });
  const auto synced = b.log.all<DmaSynced>();
  ASSERT_EQ(synced.size(), 2u);
  EXPECT_TRUE(synced[0].copied);
  EXPECT_FALSE(synced[1].copied);
}

TEST_P(ProbesOfDma, EndWithAListThatBitesItsTail) {
  const VirtAddr list{0xffff'8880'0200'0000};
  b.guest.put(list, list.value() | 1);
  b.guest.put(list + 32, std::uint64_t{0});
  b.call("__dma_map_sg_attrs", {b.dev(), list.value(), 0xffff'ffff, to_device, 0}, 5);
  EXPECT_TRUE(b.log.all<DmaMapped>().empty());
}

TEST_P(ProbesOfDma, TellCoherentMemoryByWhereItsPagesAre) {
  const VirtAddr cpu_address{0xffff'c900'1000'0000}, handle{0xffff'8880'0300'0000};
  b.guest.write(cpu_address, Bytes(16));
  b.guest.place(cpu_address, buffer, false);
  b.call("dma_alloc_attrs", {b.dev(), 0x3000, handle.value(), 0xcc0, 0}, [&] {
    b.guest.put(handle, buffer.value());
    return cpu_address.value();
  });
  const auto mapped = b.only<DmaMapped>();
  EXPECT_EQ(mapped.kind, DmaMappingKind::coherent);
  EXPECT_EQ(mapped.phys, buffer);
  EXPECT_EQ(mapped.dma, DmaAddr{buffer.value()});
  EXPECT_EQ(mapped.bytes, 0x3000u);
  EXPECT_EQ(mapped.direction, DmaDirection::bidirectional);
  b.call("dma_free_attrs", {b.dev(), 0x3000, cpu_address.value(), buffer.value(), 0});
  EXPECT_EQ(b.only<DmaUnmapped>().kind, DmaMappingKind::coherent);
  EXPECT_EQ(b.only<DmaUnmapped>().dma, DmaAddr{buffer.value()});
}

TEST_P(ProbesOfDma, TellPagesThatWereAllocatedForDmaOnce) {
  const VirtAddr handle{0xffff'8880'0300'0000}, table{0xffff'8880'0301'0000}, list = table + 0x100;
  b.guest.put(table, list.value());
  b.guest.put(list, b.page(buffer));
  b.guest.put(list + 16, buffer.value());
  b.call("dma_alloc_noncontiguous", {b.dev(), 0x2000, 0, 0xcc0, 0}, [&] {
    b.call("__dma_alloc_pages", {b.dev(), 0x2000, handle.value(), 0, 0xcc0}, [&] {
      b.guest.put(handle, buffer.value());
      return b.page(buffer);
    });
    return table.value();
  });
  EXPECT_EQ(b.only<DmaMapped>().phys, buffer);
  EXPECT_EQ(b.only<DmaMapped>().bytes, 0x2000u);
  b.call("dma_free_noncontiguous", {b.dev(), 0x2000, table.value(), 0}, [&] {
    b.guest.put(list + 16, std::uint64_t{0});
    return std::uint64_t{0};
  });
  EXPECT_EQ(b.only<DmaUnmapped>().dma, DmaAddr{buffer.value()});
}

TEST_P(ProbesOfDma, SayWhyAnAllocationFailed) {
  const std::string pages = is_6_1() ? "__alloc_pages" : "__alloc_pages_noprof";
  const auto fail = [&](std::string_view function, std::uint64_t result) {
    b.log.clear();
    b.call("dma_alloc_attrs", {b.dev(), 0x1000, 0x9000, 0xcc0, 0}, [&] {
      if (!function.empty()) b.call(function, {}, result);
      return std::uint64_t{0};
    });
    return failure().reason;
  };
  b.set_device("coherent_dma_mask", 0xffff'ffff);
  EXPECT_EQ(fail("", 0), DmaFailure::no_memory);
  EXPECT_EQ(fail(pages, 0), DmaFailure::no_memory);
  EXPECT_EQ(fail(pages, 1), DmaFailure::coherent_mask);
  EXPECT_EQ(failure().mask, 0xffff'ffffu);
  EXPECT_EQ(fail("dma_direct_alloc_from_pool", 0), DmaFailure::atomic_pool_empty);
  EXPECT_EQ(fail("__set_memory_enc_pgtable", static_cast<std::uint32_t>(-5)), DmaFailure::conversion_failed);
}

TEST_P(ProbesOfDma, PassTheBusyPageAllocatorByWhereNothingIsAllocatedForDma) {
  b.call(is_6_1() ? "__alloc_pages" : "__alloc_pages_noprof", {}, 1);
  EXPECT_FALSE(b.probed.contains(
      b.at("driver_queue") + 0x10 +
      b.kernel.at(is_6_1() ? "__alloc_pages" : "__alloc_pages_noprof").page_offset() / 0x100));
}

TEST_P(ProbesOfDma, TellIommuMappingsWithANumberForEachDomain) {
  const std::string map_function = is_7_3() ? "iommu_map_nosync" : "__iommu_map";
  b.call(map_function, {0xffff'8880'0000'1000, 0x10000, buffer.value(), 8192, 3, 0}, 0);
  b.call(map_function, {0xffff'8880'0000'2000, 0x10000, buffer.value(), 8192, 3, 0}, 0);
  b.call("__iommu_unmap", {0xffff'8880'0000'2000, 0x10000, 8192}, 8192);
  b.call("__iommu_unmap", {0xffff'8880'0000'2000, 0x10000, 8192}, std::uint64_t{0});
  const auto mapped = b.log.all<IommuMapped>();
  ASSERT_EQ(mapped.size(), 2u);
  EXPECT_NE(mapped[0].domain, mapped[1].domain);
  EXPECT_EQ(mapped[0].iova, DmaAddr{0x10000});
  EXPECT_EQ(b.only<IommuUnmapped>().domain, mapped[1].domain);
  EXPECT_EQ(b.only<IommuUnmapped>().bytes, 8192u);
}

TEST_P(ProbesOfDma, TellABounceBufferThatIsClearedAfterTheCopy) {
  if (is_7_3()) return;  // since 6.10 only the padding is zeroed
  b.use_iommu();
  b.call("dma_map_page_attrs", {b.dev(), b.page(buffer), 0x10, 100, from_device, 0}, [&] {
    b.call("iommu_dma_map_page", {b.dev(), b.page(buffer), 0x10, 100, from_device, 0}, [&] {
      b.bounce(buffer + 0x10, 100, DmaDirection::from_device, 6);
      return std::uint64_t{0xfff0'0000};
    });
    return std::uint64_t{0xfff0'0000};
  });
  EXPECT_EQ(b.only<DmaMapped>().path, DmaPath::iommu);
  if (!is_6_1()) {
    EXPECT_TRUE(b.log.all<SwiotlbCleared>().empty());
    return;
  }
  EXPECT_EQ(b.event_names(),
            (Names{"swiotlb_bounced", "swiotlb_alloc", "swiotlb_bounce", "swiotlb_cleared", "dma_map"}));
  EXPECT_EQ(b.only<SwiotlbCleared>().bounce, ProbeBench::pool + 6 * 2048);
  EXPECT_EQ(b.only<SwiotlbCleared>().orig, buffer + 0x10);
  EXPECT_EQ(b.only<SwiotlbCleared>().bytes, 4096u) << "iova_align(size)";
}

TEST_P(ProbesOfDma, TellMappingsThatAreMadeInPieces) {
  if (!is_7_3()) return;  // dma_iova_link() came with 6.16
  b.use_iommu();
  const VirtAddr state{0xffff'8880'0300'0000};
  b.guest.put(state, std::uint64_t{0x10'0000});
  b.call("dma_iova_link", {b.dev(), state.value(), buffer.value(), 0, 0x1000, to_device, 0}, 0);
  b.call("dma_iova_link", {b.dev(), state.value(), buffer.value() + 0x8000, 0x1000, 0x2000, to_device, 0}, 0);
  const auto mapped = b.log.all<DmaMapped>();
  ASSERT_EQ(mapped.size(), 2u);
  EXPECT_EQ(mapped[1].dma, DmaAddr{0x10'1000});
  EXPECT_EQ(mapped[1].phys, buffer + 0x8000);
  b.call("dma_iova_destroy", {b.dev(), state.value(), 0x3000, to_device, 0});
  EXPECT_EQ(b.log.all<DmaUnmapped>().size(), 2u);
}

TEST_P(ProbesOfDma, ReportAnUnmapOfAnAddressThatIsNone) {
  unmap(error, 64, to_device, [] { return 0; });
  EXPECT_EQ(b.event_names(), Names{"dma_debug"});
  EXPECT_EQ(b.only<DmaDebugReport>().kind, DmaDebugKind::invalid_free);
}

TEST_P(ProbesOfDma, GiveUpOnWhatIsNotMapped) {
  map(64, to_device, 0, [&] {
    b.guest.unmap(b.device());
    return buffer.value();
  });
  const auto mapped = b.only<DmaMapped>();
  EXPECT_EQ(mapped.device, 0u);
  EXPECT_EQ(mapped.bytes, 64u);
}

TEST(BounceSearch, IsSeenWhereItDoesNotEnd) {
  ProbeBench b;
  b.cpu.gpr[CpuView::rsp] -= 0x100;
  b.guest.put(b.cpu.stack(), (b.at("driver_queue") + 0x10).value());
  const auto arguments = b.map_single_arguments(buffer, 4096);
  constexpr CpuView::Register registers[] = {CpuView::rdi, CpuView::rsi, CpuView::rdx,
                                             CpuView::rcx, CpuView::r8,  CpuView::r9};
  for (std::size_t i = 0; i < std::size(registers); ++i) b.cpu.gpr[registers[i]] = arguments[i];
  b.execute(b.at("swiotlb_tbl_map_single"));
  b.cpu.gpr[CpuView::rsp] -= 0x80;
  b.probes->check_progress(b.cpu, 1'000'000);
  b.probes->check_progress(b.cpu, 90'000'000);
  EXPECT_TRUE(b.log.events().empty());
  b.cpu.rflags = 0x200;
  b.probes->check_progress(b.cpu, 120'000'000);
  EXPECT_TRUE(b.log.events().empty()) << "it can be interrupted";
  b.cpu.rflags = 0;
  b.probes->check_progress(b.cpu, 130'000'000);
  b.probes->check_progress(b.cpu, 240'000'000);
  b.probes->check_progress(b.cpu, 350'000'000);
  EXPECT_TRUE(b.only<SwiotlbFull>().endless_search);
  EXPECT_EQ(b.only<SwiotlbFull>().slots_wanted, 2u);
}

}  // namespace
}  // namespace cbit::linux
