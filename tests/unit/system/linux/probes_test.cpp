// Probes on a kernel: how it is found and lost, and what it tells besides DMA: page attributes, its log, its
// modules.
#include "linux/probes/probes.hpp"

#include <gtest/gtest.h>

#include "probe_bench.hpp"

namespace cbit::linux {
namespace {

using test::ProbeBench;
using test::Style;
using test::TestKernel;

constexpr PhysAddr memory{0x3000'0000};
using Names = std::vector<std::string>;

class ProbesOf : public testing::TestWithParam<Style> {
 protected:
  ProbeBench b{GetParam()};
};

std::string name_of_style(const testing::TestParamInfo<Style>& style) {
  constexpr const char* names[] = {"v6_1", "v6_12", "v7_3"};
  return names[static_cast<std::size_t>(style.param)];
}
INSTANTIATE_TEST_SUITE_P(, ProbesOf, testing::Values(Style::v6_1, Style::v6_12, Style::v7_3), name_of_style);

TEST_P(ProbesOf, AKernelAreThereFromItsFirstFunctionOn) {
  ProbeBench waiting{GetParam(), false};
  EXPECT_EQ(waiting.probed.size(), 512u) << "one for each place that KASLR has";
  EXPECT_TRUE(waiting.probed.contains(waiting.at("x86_64_start_kernel")));
  EXPECT_FALSE(waiting.probed.contains(waiting.at("dma_alloc_attrs")));
  waiting.execute(waiting.kernel.at("x86_64_start_kernel") + 0x20'0000);  // user code, or another kernel
  EXPECT_EQ(waiting.kernels_found, 1u) << "the banner tells where it is, not the address that ran";
  EXPECT_EQ(waiting.probes->running()->slide(), ProbeBench::slide);
  EXPECT_TRUE(waiting.probed.contains(waiting.at("dma_alloc_attrs")));
  EXPECT_FALSE(waiting.probed.contains(waiting.at("x86_64_start_kernel")));
  EXPECT_TRUE(waiting.probes->missing().empty()) << waiting.probes->missing().front();
}

TEST_P(ProbesOf, AnotherKernelStayOff) {
  ProbeBench waiting{GetParam(), false};
  waiting.guest.put_text(waiting.kernel.kernel().banner_at() + ProbeBench::slide + 20, "other");
  waiting.execute(waiting.at("x86_64_start_kernel"));
  EXPECT_EQ(waiting.kernels_found, 0u);
  EXPECT_EQ(waiting.probes->running(), nullptr);
  EXPECT_EQ(waiting.probed.size(), 512u);
  EXPECT_EQ(waiting.probes->site_of(waiting.at("dma_alloc_attrs")), 0u);
}

TEST_P(ProbesOf, AKernelThatRunsAlreadySayNothingOfMappingsThatAreOlder) {
  ProbeBench late{GetParam(), false};
  late.guest.put(late.at("modules"), late.at("modules").value());
  EXPECT_TRUE(late.probes->attach(late.cpu));
  EXPECT_FALSE(late.probes->attach(late.cpu));
  late.call("dma_free_attrs", {late.dev(), 0x1000, 0x9000, 0x5000, 0});
  EXPECT_TRUE(late.log.events().empty());
  b.call("dma_free_attrs", {b.dev(), 0x1000, 0x9000, 0x5000, 0});
  EXPECT_EQ(b.event_names(), Names{"dma_unmap"}) << "watched from its start, it is a mistake";
}

TEST_P(ProbesOf, AKernelEndWithIt) {
  b.call("machine_kexec", {0});
  EXPECT_EQ(b.kernels_forgotten, 1u);
  EXPECT_EQ(b.probes->running(), nullptr);
  EXPECT_EQ(b.probed.size(), 512u) << "the next one is waited for";
  b.execute(b.at("x86_64_start_kernel"));
  EXPECT_EQ(b.kernels_found, 2u);
  b.probes->reset();
  EXPECT_EQ(b.kernels_forgotten, 2u);
}

TEST_P(ProbesOf, CodeThatIsFreedAreTakenAway) {
  EXPECT_TRUE(b.probed.contains(b.at("early_set_memory_enc_dec")));
  b.call("free_initmem", {});
  EXPECT_FALSE(b.probed.contains(b.at("early_set_memory_enc_dec")));
  EXPECT_TRUE(b.probed.contains(b.at("dma_alloc_attrs")));
}

TEST_P(ProbesOf, MemoryTellAConversionOfTheDirectMap) {
  b.set_variable("sme_me_mask", ProbeBench::me_mask);
  const VirtAddr at{ProbeBench::direct_map + memory.value()};
  for (std::uint64_t i = 0; i < 3; ++i) {
    b.guest.write(at + i * page_size, Bytes(1));
    b.guest.place(at + i * page_size, memory + i * page_size, false);
  }
  b.call("set_memory_decrypted", {at.value(), 3}, [&] {
    b.call("__set_memory_enc_pgtable", {at.value(), 3, 0xff00}, 0);
    return std::uint64_t{0};
  });
  EXPECT_EQ(b.event_names(), Names{"set_memory"});
  const auto conversion = b.only<PageConversion>();
  EXPECT_EQ(conversion.first, memory);
  EXPECT_EQ(conversion.pages, 3u);
  EXPECT_FALSE(conversion.encrypted) << "a bool: the rest of the register is anything";
  EXPECT_FALSE(conversion.converts_contents);
  EXPECT_TRUE(b.name(conversion.site).starts_with("driver_queue+0x"));
  b.log.clear();
  b.call("__set_memory_enc_pgtable", {at.value(), 3, 1}, static_cast<std::uint32_t>(-5));
  EXPECT_TRUE(b.log.events().empty()) << "it failed";
}

TEST_P(ProbesOf, MemoryTellAConversionOfAnotherMappingInItsPieces) {
  const VirtAddr at{0xffff'c900'1000'0000};
  for (const std::uint64_t i : {0u, 1u, 2u}) b.guest.write(at + i * page_size, Bytes(1));
  b.guest.place(at, memory, true);
  b.guest.place(at + page_size, memory + page_size, true);
  b.guest.place(at + 2 * page_size, memory + 0x10'0000, true);
  b.call("__set_memory_enc_pgtable", {at.value(), 3, 1}, 0);
  EXPECT_EQ(b.event_names(), (Names{"mapping_removed", "set_memory", "mapping_added", "mapping_removed",
                                    "set_memory", "mapping_added"}));
  const auto conversions = b.log.all<PageConversion>();
  EXPECT_EQ(conversions[0].pages, 2u);
  EXPECT_EQ(conversions[1].first, memory + 0x10'0000);
  EXPECT_TRUE(conversions[1].encrypted);
  EXPECT_EQ(b.log.all<MappingAdded>()[1].at, at + 2 * page_size);
}

// cpa_process_alias() changes the direct map with it.
TEST_P(ProbesOf, MemoryTellNoOtherMappingWhereTheKernelsImageIsConverted) {
  const VirtAddr at = b.at("x86_64_start_kernel").page();
  b.guest.write(at, Bytes(1));
  b.guest.place(at, memory, true);
  b.call("__set_memory_enc_pgtable", {at.value(), 1, 1}, 0);
  EXPECT_EQ(b.event_names(), Names{"set_memory"});
  EXPECT_TRUE(b.only<PageConversion>().encrypted);
}

TEST_P(ProbesOf, MemoryTellThatAnEarlyConversionConvertsContents) {
  const VirtAddr at{0xffff'8880'0000'0000 + memory.value() + 0x800};
  b.guest.write(at.page(), Bytes(2 * page_size));
  b.guest.place(at, memory, false);
  b.guest.place(at.page() + page_size, memory + page_size, false);
  b.call("early_set_memory_enc_dec", {at.value(), 0x1000, 0}, 0);
  EXPECT_TRUE(b.log.events().empty()) << "memory is not encrypted here";
  b.set_variable("sme_me_mask", ProbeBench::me_mask);
  b.call("early_set_memory_enc_dec", {at.value(), 0x1000, 0}, 0);
  EXPECT_TRUE(b.only<PageConversion>().converts_contents);
  EXPECT_EQ(b.only<PageConversion>().pages, 2u) << "the range touches two";
}

TEST_P(ProbesOf, MemoryTellMappingsAndTheirEnd) {
  b.set_variable("sme_me_mask", ProbeBench::me_mask);
  const VirtAddr at{0xffff'c900'1000'0000}, vma{0xffff'8880'0500'0000};
  b.guest.write(at, Bytes(2 * page_size));
  b.guest.place(at, memory, true);
  b.guest.place(at + page_size, memory + page_size, true);
  b.call("vmap", {0x1000, 2, 4, 0}, at.value());
  EXPECT_EQ(b.only<MappingAdded>().kind, "vmap");
  EXPECT_EQ(b.only<MappingAdded>().pages, 2u);
  EXPECT_TRUE(b.only<MappingAdded>().encrypted);
  b.call("vunmap", {at.value()});
  EXPECT_EQ(b.only<MappingRemoved>().at, at);
  b.log.clear();
  b.call("__ioremap_caller", {memory.value() + 0x10, 0x100, 0, 0, 0}, at.value() + 0x10);
  EXPECT_EQ(b.only<MappingAdded>().kind, "ioremap");
  EXPECT_EQ(b.only<MappingAdded>().pages, 1u);
  b.call("iounmap", {at.value() + 0x10});
  EXPECT_EQ(b.only<MappingRemoved>().pages, 1u);
  b.log.clear();
  b.call("vm_area_free", {vma.value()});
  b.call("remap_pfn_range",
         {vma.value(), 0x7f00'0000'0000, memory.page_number(), 0x3000, ProbeBench::me_mask | 0x27}, 0);
  EXPECT_EQ(b.event_names(), Names{"mapping_added"});
  EXPECT_EQ(b.only<MappingAdded>().kind, "user");
  EXPECT_EQ(b.only<MappingAdded>().pages, 3u);
  EXPECT_TRUE(b.only<MappingAdded>().encrypted);
  b.call("vm_area_free", {vma.value()});
  EXPECT_EQ(b.only<MappingRemoved>().first, memory);
}

// printk_sprint() writes the text, and its flags through the pointer that it was given.
void print(ProbeBench& b, std::string_view text, std::uint32_t flags) {
  const VirtAddr record{0xffff'8880'0600'0000}, flags_at = record + 0x1000;
  b.call("printk_sprint", {record.value(), 1024, 0, flags_at.value(), 0, 0}, [&] {
    b.guest.write(record, test::bytes_from(text));
    b.guest.put(flags_at, flags);
    return 0xffff'0000 | text.size();  // a u16 in AX
  });
}
std::vector<std::string> lines_of(const ProbeBench& b) {
  std::vector<std::string> lines;
  for (const KernelMessage& message : b.log.all<KernelMessage>()) lines.push_back(message.text);
  return lines;
}

TEST_P(ProbesOf, TheLogTellWholeLines) {
  print(b, "virtio_blk virtio0: [vda] 2048 512-byte logical blocks", 2);
  print(b, "e820: ", 0);
  print(b, "usable", 8);
  EXPECT_EQ(lines_of(b).size(), 1u) << "the second may go on";
  print(b, " memory", 8 | 2);
  print(b, "odd\x1b[2J\n  second", 2);
  EXPECT_EQ(lines_of(b), (Names{"virtio_blk virtio0: [vda] 2048 512-byte logical blocks",
                                "e820: usable memory", "odd?[2J", "  second"}));
}

TEST_P(ProbesOf, TheLogEndALineWhenSomebodyElsePrints) {
  print(b, "smpboot: ", 0);
  b.cpu.gpr[CpuView::rsp] += 0x4000;
  b.guest.write(b.cpu.stack() - 0x1000, Bytes(0x1100));
  print(b, "from another stack", 2);
  b.cpu.gpr[CpuView::rsp] -= 0x4000;
  print(b, "too late", 8);
  EXPECT_EQ(lines_of(b), (Names{"smpboot: ", "from another stack"}));
  b.probes->finish();
  EXPECT_EQ(lines_of(b).back(), "too late");
}

TEST_P(ProbesOf, AKernelSayWhereItStops) {
  b.call("__warn", {0, 0, 0, 0, 0, 0});
  b.call(GetParam() == Style::v7_3 ? "vpanic" : "panic", {0});
  b.call("make_task_dead", {9});
  ASSERT_EQ(b.stops.size(), 3u);
  EXPECT_EQ(b.stops[0].first, KernelStop::warning);
  EXPECT_TRUE(b.name(b.stops[0].second).starts_with("driver_queue+0x"));
  EXPECT_EQ(b.stops[1].first, KernelStop::panic);
  EXPECT_EQ(b.stops[2].first, KernelStop::oops);
}

TEST_P(ProbesOf, ADriverTellWhatItLeavesBehind) {
  const VirtAddr handle{0xffff'8880'0300'0000};
  const auto alloc = [&](std::uint64_t dma) {
    b.call("dma_alloc_attrs", {b.dev(), 0x1000, handle.value(), 0xcc0, 0}, [&] {
      b.guest.put(handle, dma);
      return std::uint64_t{1};
    });
  };
  alloc(0x1000);
  alloc(0x8000);
  b.call("device_unbind_cleanup", {b.dev()}, [&] {
    b.call("dma_free_attrs", {b.dev(), 0x1000, 1, 0x1000, 0});  // managed
    return std::uint64_t{0};
  });
  const auto report = b.only<DmaDebugReport>();
  EXPECT_EQ(report.kind, DmaDebugKind::leak);
  EXPECT_EQ(report.dma, DmaAddr{0x8000});
  EXPECT_EQ(report.text.substr(0, report.text.find('\n')),
            "device driver has pending DMA allocations while released from device [count=1]");
  b.call("dma_free_attrs", {b.dev(), 0x1000, 1, 0x8000, 0});
  b.log.clear();
  b.call("device_unbind_cleanup", {b.dev()});
  EXPECT_TRUE(b.log.events().empty());
}

TEST_P(ProbesOf, AModuleNameItsCodeWhileItIsLoaded) {
  const VirtAddr module{0xffff'ffff'c000'4000}, text{0xffff'ffff'c000'0000};
  const auto member = [&](std::string_view path) { return module + b.kernel.offset("module", path); };
  b.guest.write(module, Bytes(0x2000));
  b.guest.put_text(member("name"), "driver");
  if (GetParam() == Style::v6_1) {
    b.guest.put(member("core_layout.base"), text.value());
    b.guest.put(member("core_layout.size"), std::uint32_t{0x1000});
  } else {
    b.guest.put(member("mem"), text.value());
    b.guest.put(member("mem") + b.kernel.offset("module_memory", "size"), std::uint32_t{0x1000});
  }
  const VirtAddr list = module + 0x1000, table = list + 0x40, names = list + 0x100;
  b.guest.put(member("kallsyms"), list.value());
  b.guest.put(list, table.value());
  b.guest.put(list + 8, std::uint32_t{1});
  b.guest.put(list + 16, names.value());
  b.guest.put_text(names + 1, "driver_probe");
  b.guest.put(table, std::uint32_t{1});
  b.guest.put(table + 4, std::uint8_t{2});
  b.guest.put(table + 8, (text + 0x100).value());
  EXPECT_EQ(b.probes->site_of(text + 0x110), 0u);
  b.call("do_init_module", {module.value()}, [&] {
    EXPECT_EQ(b.name(b.probes->site_of(text + 0x120)), "driver_probe+0x20 [driver]");
    return std::uint64_t{0};
  });
  EXPECT_EQ(b.name(b.probes->site_of(text + 0x120)), "driver_probe+0x20 [driver]");
  b.call("free_module", {module.value()});
  EXPECT_EQ(b.probes->site_of(text + 0x120), 0u) << "another may be there next";
}

TEST(Probes, NameWhatAKernelDoesNotHave) {
  struct Nothing : CallTracker::Processor, Observer {
    void add_probe(VirtAddr) override {}
    void remove_probe(VirtAddr) override {}
  } nothing;
  std::vector<test::TestSymbol> symbols;
  for (unsigned i = 0; i < 300; ++i)
    symbols.push_back({TestKernel::text.value() + i, 'T', "f" + std::to_string(i)});
  symbols.push_back({TestKernel::text.value() + 1000, 't', "swiotlb_bounce"});
  symbols.push_back({TestKernel::text.value() + 1001, 't', "swiotlb_bounce"});
  symbols.push_back({TestKernel::text.value() + 1002, 't', "vmap"});
  constexpr std::uint64_t at = 0xffff'ffff'8200'0000;
  const auto kernel = Kernel::open(
      test::write_elf(
          {{.name = ".rodata", .at = at, .bytes = write_kallsyms(symbols, test::KallsymsLayout::v6_1, at)}}),
      "vmlinux");
  ASSERT_TRUE(kernel);
  Clock clock;
  Tracer tracer{clock};
  const Probes probes{**kernel, tracer, nothing, nothing};
  const auto has = [&](std::string_view text) {
    return std::ranges::find(probes.missing(), text) != probes.missing().end();
  };
  EXPECT_TRUE(has("dma_alloc_attrs: no symbol of that name"));
  EXPECT_TRUE(has("swiotlb_bounce: several symbols of that name"));
  EXPECT_TRUE(has("vmap: the kernel's types do not describe it"));
  EXPECT_FALSE(has("dma_iova_link: no symbol of that name")) << "not every version has it";
}

}  // namespace
}  // namespace cbit::linux
