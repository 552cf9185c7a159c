// A kernel that runs: where it is, what an address is called, its modules, its tasks and devices.
#include "linux/running.hpp"

#include <gtest/gtest.h>

#include "linux/device.hpp"
#include "linux/task.hpp"
#include "support/linux/test_kernel.hpp"

namespace cbit::linux {
namespace {

using test::ByteWriter;
using test::FakeGuest;
using test::Style;
using test::TestKernel;

constexpr std::uint64_t slide = 0x1560'0000;
constexpr VirtAddr module_at{0xffff'ffff'c000'4000};
constexpr VirtAddr module_text{0xffff'ffff'c000'0000};

// A module in a guest's memory, as its kernel's types lay it out.
void put_module(FakeGuest& guest, const TestKernel& made, VirtAddr at, VirtAddr text, std::string_view name) {
  const auto member = [&](std::string_view path) { return at + made.offset("module", path); };
  guest.write(at, Bytes(0x400));
  guest.put_text(member("name"), name);
  if (made.style() == Style::v6_1) {
    guest.put(member("core_layout.base"), text.value());
    guest.put(member("core_layout.size"), std::uint32_t{0x1000});
    guest.put(member("init_layout.base"), (text + 0x8000).value());
    guest.put(member("init_layout.size"), std::uint32_t{0x100});
  } else {
    const std::uint64_t stride = *made.kernel().btf()->size_of("module_memory");
    const auto put = [&](std::uint64_t type, VirtAddr base, std::uint32_t bytes) {
      guest.put(member("mem") + type * stride + made.offset("module_memory", "base"), base.value());
      guest.put(member("mem") + type * stride + made.offset("module_memory", "size"), bytes);
    };
    put(0, text, 0x1000);
    put(4, text + 0x8000, 0x100);
  }
  const VirtAddr list = at + 0x1000, table = at + 0x1100, names = at + 0x1400;
  guest.put(member("kallsyms"), list.value());
  guest.put(list, table.value());
  guest.put(list + 8, std::uint32_t{3});
  guest.put(list + 16, names.value());
  guest.write(names, ByteWriter{}
                         .put('\0')
                         .text("queue_rq")
                         .put('\0')
                         .text("init_module")
                         .put('\0')
                         .text("data")
                         .put('\0')
                         .bytes());
  const auto symbol = [](std::uint32_t symbol_name, std::uint8_t info, VirtAddr value) {
    return ByteWriter{}
        .put(symbol_name)
        .put(info)
        .put(std::uint8_t{0})
        .put(std::uint16_t{1})
        .put(value.value())
        .put(std::uint64_t{16})
        .bytes();
  };
  guest.write(table, symbol(1, 2, text + 0x100));
  guest.write(table + 24, symbol(10, 0x12, text + 0x8000));
  guest.write(table + 48, symbol(22, 1, text + 0x200));
}

class LinuxRunning : public testing::TestWithParam<Style> {
 protected:
  LinuxRunning() : made{TestKernel::of(GetParam())}, running{made.kernel(), slide} {
    made.load_into(guest, slide);
  }

  const TestKernel& made;
  FakeGuest guest;
  RunningKernel running;
};

std::string style_name(const testing::TestParamInfo<Style>& style) {
  constexpr const char* names[] = {"v6_1", "v6_12", "v7_3"};
  return names[static_cast<std::size_t>(style.param)];
}
INSTANTIATE_TEST_SUITE_P(, LinuxRunning, testing::Values(Style::v6_1, Style::v6_12, Style::v7_3), style_name);

TEST_P(LinuxRunning, IsFoundWhereItsBannerIs) {
  EXPECT_EQ(find_slide(made.kernel(), guest), slide);
  FakeGuest nowhere;
  EXPECT_EQ(find_slide(made.kernel(), nowhere), std::nullopt) << "not mapped yet";
  FakeGuest unmoved;
  made.load_into(unmoved, 0);
  EXPECT_EQ(find_slide(made.kernel(), unmoved), 0u) << "nokaslr";
  guest.put_text(made.kernel().banner_at() + slide + 40, "another");
  EXPECT_EQ(find_slide(made.kernel(), guest), std::nullopt) << "another build of the same version";
}

TEST_P(LinuxRunning, NamesAddressesAsTheKernelPrintsThem) {
  const VirtAddr function = made.at("virtqueue_add_split") + slide;
  EXPECT_EQ(running.address_of("virtqueue_add_split"), function);
  EXPECT_EQ(running.describe(function + 0x1c), "virtqueue_add_split+0x1c");
  EXPECT_EQ(running.describe(function), "virtqueue_add_split+0x0");
  EXPECT_EQ(running.describe(VirtAddr{0x1234}), "0x1234");
  EXPECT_FALSE(running.locate(made.at("sme_me_mask") + slide)) << "data is no code";
  EXPECT_TRUE(running.is_text(function + 1));
  EXPECT_TRUE(running.is_text(made.at("mem_encrypt_init") + slide));
  EXPECT_FALSE(running.is_text(made.at("virtqueue_add_split"))) << "the kernel is not there";
  EXPECT_TRUE(running.is_function_start(function));
  EXPECT_FALSE(running.is_function_start(function + 1));
}

TEST_P(LinuxRunning, ReadsAModuleAndNamesItsCode) {
  put_module(guest, made, module_at, module_text, "virtio_blk");
  auto module = read_module(made.kernel(), guest, module_at);
  ASSERT_TRUE(module);
  EXPECT_EQ(module->name, "virtio_blk");
  EXPECT_EQ(module->core.first, module_text);
  EXPECT_EQ(module->core.bytes, 0x1000u);
  EXPECT_EQ(module->init.first, module_text + 0x8000);
  EXPECT_EQ(module->symbols.size(), 2u) << "functions, not data";
  running.modules().add(*std::move(module));
  EXPECT_EQ(running.describe(module_text + 0x11c), "queue_rq+0x1c [virtio_blk]");
  EXPECT_EQ(running.describe(module_text + 0x8004), "init_module+0x4 [virtio_blk]");
  EXPECT_EQ(running.describe(module_text + 0x10), "0xffffffffc0000010 [virtio_blk]")
      << "before its first symbol";
  running.modules().forget_init(module_at);
  EXPECT_FALSE(running.is_text(module_text + 0x8004));
  running.modules().forget(module_at);
  EXPECT_EQ(running.describe(module_text + 0x11c), "0xffffffffc000011c");
}

TEST_P(LinuxRunning, WalksTheListOfModules) {
  put_module(guest, made, module_at, module_text, "virtio_ring");
  put_module(guest, made, module_at + 0x20000, module_text + 0x20000, "virtio_blk");
  const std::uint64_t list = made.offset("module", "list");
  const VirtAddr head = made.at("modules") + slide;
  guest.put(head, (module_at + list).value());
  guest.put(module_at + list, (module_at + 0x20000 + list).value());
  guest.put(module_at + 0x20000 + list, head.value());
  running.modules().read_list(made.kernel(), guest, head);
  EXPECT_EQ(running.modules().size(), 2u);
  ASSERT_NE(running.modules().named("virtio_blk"), nullptr);
  EXPECT_EQ(running.modules().named("virtio_blk")->at, module_at + 0x20000);
  EXPECT_EQ(running.modules().named("nothing"), nullptr);
  guest.put(module_at + 0x20000 + list, (module_at + list).value());
  running.modules().read_list(made.kernel(), guest, head);
  EXPECT_EQ(running.modules().size(), 2u) << "a list that bites its tail ends";
}

TEST_P(LinuxRunning, DoesNotTakeWhatIsNoModule) {
  EXPECT_FALSE(read_module(made.kernel(), guest, VirtAddr{0x1000}));
  put_module(guest, made, module_at, module_text, "forming");
  guest.put(module_at + made.offset("module", "state"), std::uint32_t{3});
  EXPECT_FALSE(read_module(made.kernel(), guest, module_at)) << "MODULE_STATE_UNFORMED";
}

TEST_P(LinuxRunning, KnowsTheTaskOfACpu) {
  const VirtAddr task{0xffff'8881'0000'0000};
  std::uint64_t offset = made.at(GetParam() == Style::v6_12 ? "pcpu_hot" : "current_task").value();
  if (GetParam() == Style::v6_12) offset += made.offset("pcpu_hot", "current_task");
  if (GetParam() == Style::v7_3) offset += slide;
  CpuView cpu{.gs_base = 0xffff'8881'3fc0'0000, .memory = &guest};
  EXPECT_FALSE(current_task(running, cpu)) << "not mapped";
  guest.put(VirtAddr{cpu.gs_base + offset}, task.value());
  guest.write(task, Bytes(0x1000));
  guest.put_text(task + 0xb00, "kworker/0:1");
  guest.put(task + 0xa00, std::uint32_t{17});
  auto found = current_task(running, cpu);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->comm, "kworker/0:1");
  EXPECT_EQ(found->pid, 17u);
  std::swap(cpu.gs_base, cpu.kernel_gs_base);
  EXPECT_EQ(current_task(running, cpu)->pid, 17u) << "before SWAPGS";
}

TEST_P(LinuxRunning, KnowsADevice) {
  const VirtAddr pci{0xffff'8880'0100'0000}, device = pci + made.offset("pci_dev", "dev");
  const VirtAddr more = pci + 0x1000;
  const auto member = [&](std::string_view path) { return device + made.offset("device", path); };
  guest.write(pci, Bytes(0x2000));
  guest.put_text(more, "0000:00:02.0");
  guest.put(member("kobj.name"), more.value());
  guest.put_text(more + 0x40, "virtio-pci");
  const VirtAddr driver = more + 0x80;
  guest.put(driver + made.offset("device_driver", "name"), (more + 0x40).value());
  guest.put(driver + made.offset("device_driver", "owner"), module_at.value());
  put_module(guest, made, module_at, module_text, "virtio_pci");
  guest.put(member("driver"), driver.value());
  guest.put(member("bus"), (made.at("pci_bus_type") + slide).value());
  const VirtAddr bus = more + 0x200;
  guest.put(bus + made.offset("pci_bus", "number"), std::uint8_t{3});
  guest.put(pci + made.offset("pci_dev", "bus"), bus.value());
  guest.put(pci + made.offset("pci_dev", "devfn"), std::uint32_t{0x10});
  guest.put(pci + made.offset("pci_dev", "untrusted"), std::uint8_t{1u << 4});
  guest.put(more + 0x400, std::uint64_t{0xffff'ffff});
  guest.put(member("dma_mask"), (more + 0x400).value());
  guest.put(member("coherent_dma_mask"), std::uint64_t{0xffff'ffff'ffff});
  guest.put(member("bus_dma_limit"), std::uint64_t{0xfff'ffff});

  Device found = read_device(running, guest, device);
  EXPECT_EQ(found.name, "0000:00:02.0");
  EXPECT_EQ(found.driver, "virtio-pci");
  EXPECT_EQ(found.module, "virtio_pci");
  EXPECT_EQ(found.requester, 0x310);
  EXPECT_EQ(found.dma_mask, 0xffff'ffffu);
  EXPECT_EQ(found.limit(found.coherent_mask), 0xfff'ffffu);
  EXPECT_TRUE(found.untrusted);
  EXPECT_FALSE(found.iommu);

  if (GetParam() == Style::v6_1) guest.put(member("dma_ops"), (made.at("iommu_dma_ops") + slide).value());
  if (GetParam() == Style::v6_12) guest.put(member("dma_iommu"), std::uint8_t{1u << 6});
  if (GetParam() == Style::v7_3) guest.put(member("flags"), std::uint64_t{1u << 1});
  guest.put(member("bus"), std::uint64_t{0});
  guest.put(member("dma_mask"), std::uint64_t{0});
  found = read_device(running, guest, device);
  EXPECT_TRUE(found.iommu);
  EXPECT_EQ(found.requester, std::nullopt) << "no PCI function";
  EXPECT_EQ(found.dma_mask, std::nullopt);
  EXPECT_EQ(read_device(running, guest, VirtAddr{0x5000}).name, "") << "not mapped";
}

TEST(Kernel, SaysWhatItWasBuiltWithout) {
  const TestKernel& made = TestKernel::of(Style::v6_1);
  EXPECT_TRUE(made.kernel().encrypts_memory());
  EXPECT_TRUE(made.kernel().lacks().empty());
  std::vector<test::TestSymbol> symbols;
  for (unsigned i = 0; i < 300; ++i)
    symbols.push_back({TestKernel::text.value() + i, 'T', "f" + std::to_string(i)});
  constexpr std::uint64_t at = 0xffff'ffff'8200'0000;
  const auto small = Kernel::open(
      test::write_elf(
          {{.name = ".rodata", .at = at, .bytes = write_kallsyms(symbols, test::KallsymsLayout::v6_1, at)}}),
      "vmlinux");
  ASSERT_TRUE(small) << small.error().message;
  EXPECT_FALSE((*small)->encrypts_memory());
  EXPECT_EQ((*small)->lacks()[0], "memory encryption (CONFIG_AMD_MEM_ENCRYPT)");
  EXPECT_EQ((*small)->lacks().size(), 6u);
}

TEST(Kernel, TakesTheSymbolsOfAVmlinuxWithoutKallsyms) {
  const Bytes names = ByteWriter{}.put('\0').text("dma_map_page_attrs").put('\0').bytes();
  const Bytes symbol = ByteWriter{}
                           .put(std::uint32_t{1})
                           .put(std::uint8_t{2})
                           .put(std::uint8_t{0})
                           .put(std::uint16_t{1})
                           .put(TestKernel::text.value())
                           .put(std::uint64_t{16})
                           .bytes();
  const auto kernel =
      Kernel::open(test::write_elf({{.name = ".text", .at = TestKernel::text.value(), .bytes = Bytes(64)},
                                    {.name = ".symtab", .bytes = symbol, .type = SHT_SYMTAB, .flags = 0},
                                    {.name = ".strtab", .bytes = names, .type = SHT_STRTAB, .flags = 0}}),
                   "vmlinux");
  ASSERT_TRUE(kernel) << kernel.error().message;
  EXPECT_EQ((*kernel)->symbols().find("dma_map_page_attrs")->at, TestKernel::text);
}

}  // namespace
}  // namespace cbit::linux
