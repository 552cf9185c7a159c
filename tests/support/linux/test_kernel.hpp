// A kernel small enough for a test: symbols, types and functions as a version has them, at made-up addresses
// and offsets.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "linux/kernel.hpp"
#include "support/linux/btf_writer.hpp"
#include "support/linux/fake_guest.hpp"
#include "support/linux/kallsyms_writer.hpp"

namespace cbit::test {

enum class Style { v6_1, v6_12, v7_3 };

class TestKernel {
 public:
  static constexpr VirtAddr text{0xffff'ffff'8100'0000};
  static constexpr VirtAddr init_text{0xffff'ffff'8300'0000};
  static constexpr VirtAddr data{0xffff'ffff'8280'0000};
  static constexpr std::string_view banner = "Linux version 6.1.0-test (builder@host) (gcc) #1 SMP\n";
  static constexpr std::uint64_t function_bytes = 0x100;  // each function is so long

  explicit TestKernel(Style style = Style::v6_1);
  // The same for all tests.
  static const TestKernel& of(Style style);

  [[nodiscard]] const linux::Kernel& kernel() const { return *kernel_; }
  [[nodiscard]] Style style() const { return style_; }
  // A vmlinux.
  [[nodiscard]] const Bytes& file() const { return file_; }
  // Where the file has it.
  [[nodiscard]] VirtAddr at(std::string_view symbol) const { return addresses_.at(std::string{symbol}); }
  [[nodiscard]] std::uint64_t offset(std::string_view structure, std::string_view member) const;

  // The banner, and every variable as zeros, in the memory of a guest where KASLR has moved it.
  void load_into(FakeGuest& guest, std::uint64_t slide) const;

 private:
  void add_functions();
  void add_variables();
  [[nodiscard]] Bytes types() const;

  Style style_;
  std::vector<TestSymbol> symbols_;
  std::map<std::string, VirtAddr, std::less<>> addresses_;
  Bytes file_;
  std::unique_ptr<linux::Kernel> kernel_;
};

namespace kernel_parts {

// Declarations of include/linux/dma-mapping.h, dma-map-ops.h, swiotlb.h, iommu.h, set_memory.h and of the
// functions' files; in 6.1, 6.12 and 7.3.
struct Function {
  std::string_view name;
  std::string_view parameters;
  std::string_view styles;  // "1": 6.1, "2": 6.12, "3": 7.3
};
inline constexpr Function functions[] = {
    {"dma_map_page_attrs", "dev page offset size dir attrs", "123"},
    {"dma_map_phys", "dev phys size dir attrs", "3"},
    {"dma_unmap_page_attrs", "dev addr size dir attrs", "123"},
    {"dma_unmap_phys", "dev addr size dir attrs", "3"},
    {"__dma_map_sg_attrs", "dev sg nents dir attrs", "123"},
    {"dma_unmap_sg_attrs", "dev sg nents dir attrs", "123"},
    {"dma_map_resource", "dev phys_addr size dir attrs", "123"},
    {"dma_unmap_resource", "dev addr size dir attrs", "123"},
    {"dma_sync_single_for_cpu", "dev addr size dir", "1"},
    {"dma_sync_single_for_device", "dev addr size dir", "1"},
    {"__dma_sync_single_for_cpu", "dev addr size dir", "23"},
    {"__dma_sync_single_for_device", "dev addr size dir", "23"},
    {"dma_sync_sg_for_cpu", "dev sg nelems dir", "1"},
    {"dma_sync_sg_for_device", "dev sg nelems dir", "1"},
    {"__dma_sync_sg_for_device", "dev sg nelems dir", "23"},
    {"__dma_sync_sg_for_cpu", "dev sg nelems dir", "23"},
    {"dma_alloc_attrs", "dev size dma_handle flag attrs", "123"},
    {"dma_free_attrs", "dev size cpu_addr dma_handle attrs", "123"},
    {"__dma_alloc_pages", "dev size dma_handle dir gfp", "123"},
    {"dma_free_pages", "dev size page dma_handle dir", "123"},
    {"dma_alloc_noncontiguous", "dev size dir gfp attrs", "123"},
    {"dma_free_noncontiguous", "dev size sgt dir", "123"},
    {"swiotlb_tbl_map_single", "dev orig_addr mapping_size alloc_size alloc_align_mask dir attrs", "1"},
    {"swiotlb_tbl_map_single", "dev orig_addr mapping_size alloc_align_mask dir attrs", "23"},
    {"swiotlb_tbl_unmap_single", "dev tlb_addr mapping_size dir attrs", "1"},
    {"__swiotlb_tbl_unmap_single", "dev tlb_addr mapping_size dir attrs pool", "23"},
    {"swiotlb_bounce", "dev tlb_addr size dir", "1"},
    {"swiotlb_bounce", "dev tlb_addr size dir mem", "23"},
    {"__iommu_map", "domain iova paddr size prot gfp", "12"},
    {"iommu_map_nosync", "domain iova paddr size prot gfp", "3"},
    {"__iommu_unmap", "domain iova size iotlb_gather", "123"},
    {"iommu_dma_map_page", "dev page offset size dir attrs", "12"},
    {"iommu_dma_map_phys", "dev phys size dir attrs", "3"},
    {"iommu_dma_alloc_iova", "domain size dma_limit dev", "123"},
    {"__set_memory_enc_pgtable", "addr numpages enc", "123"},
    {"set_memory_decrypted", "addr numpages", "123"},
    {"dma_direct_alloc_from_pool", "dev size dma_handle gfp", "123"},
    {"dma_direct_alloc", "dev size dma_handle gfp attrs", "123"},
    {"__dma_direct_alloc_pages.constprop.0", "", "12"},
    {"__alloc_pages", "gfp order preferred_nid nodemask", "1"},
    {"__alloc_pages_noprof", "gfp order preferred_nid nodemask", "23"},
    {"printk_sprint", "text size facility flags fmt args", "123"},
    {"__warn", "file line caller taint regs args", "123"},
    {"panic", "fmt", "12"},
    {"vpanic", "fmt args", "3"},
    {"make_task_dead", "signr", "123"},
    {"device_unbind_cleanup", "dev", "123"},
    {"do_init_module", "mod", "123"},
    {"free_module", "mod", "123"},
    {"free_initmem", "", "123"},
    {"machine_kexec", "image", "123"},
    {"swiotlb_update_mem_attributes", "", "123"},
    {"atomic_pool_expand", "pool pool_size gfp", "123"},
    {"driver_queue", "", "123"},
    {"dma_iova_link", "dev state phys offset size dir attrs", "3"},
    {"dma_iova_destroy", "dev state mapped_len dir attrs", "3"},
    {"vmap", "pages count flags prot", "123"},
    {"vunmap", "addr", "123"},
    {"__ioremap_caller", "phys_addr size pcm caller encrypted", "123"},
    {"iounmap", "addr", "123"},
    {"remap_pfn_range", "vma addr pfn size prot", "123"},
    {"vm_area_free", "vma", "123"},
    {"kfree", "object", "123"},
    {"kmem_cache_free", "s x", "123"},
    {"free_unref_page", "page order", "12"},
    {"__free_frozen_pages", "page order fpi_flags", "3"},
    {"virtqueue_add_split", "", "123"},
};
inline constexpr Function init_functions[] = {
    {"early_set_memory_enc_dec", "vaddr size enc", "123"},
    {"mem_encrypt_init", "", "123"},
    {"x86_64_start_kernel", "", "123"},
};
inline constexpr std::string_view variables[] = {
    "page_offset_base", "vmemmap_base", "sme_me_mask", "io_tlb_default_mem",
    "iommu_dma_ops",    "pci_bus_type", "modules",     "phys_base",
};
inline constexpr std::uint64_t variable_bytes = 0x100;

struct Structure {
  std::string_view name;
  std::uint32_t bytes;
  struct Part {
    std::string_view path;
    std::uint32_t offset;
    std::uint32_t bytes;
    std::uint32_t bit = 64;  // below 64: a bit field of one bit
  };
  std::vector<Part> parts;
};

inline std::vector<Structure> structures(Style style) {
  const bool pools = style != Style::v6_1;
  std::vector<Structure> made = {
      {"kobject", 0x40, {{"name", 0, 8}}},
      {"device_driver", 0x40, {{"name", 8, 8}, {"owner", 0x18, 8}}},
      {"device_dma_parameters", 0x10, {{"min_align_mask", 4, 4}}},
      {"pci_bus", 0x100, {{"number", 0xd8, 1}}},
      {"scatterlist",
       32,
       {{"page_link", 0, 8},
        {"offset", 8, 4},
        {"length", 12, 4},
        {"dma_address", 16, 8},
        {"dma_length", 24, 4}}},
      {"sg_table", 16, {{"sgl", 0, 8}, {"nents", 8, 4}, {"orig_nents", 12, 4}}},
      {"page", 64, {{"flags", 0, 8}}},
      {"dma_iova_state", 16, {{"addr", 0, 8}}},
      {"io_tlb_area", 16, {{"used", 0, 8}, {"index", 8, 4}}},
      {"list_head", 16, {{"next", 0, 8}, {"prev", 8, 8}}},
      {"mod_kallsyms", 32, {{"symtab", 0, 8}, {"num_symtab", 8, 4}, {"strtab", 16, 8}}},
      {"module_layout", 32, {{"base", 0, 8}, {"size", 8, 4}}},
      {"module_memory", 40, {{"base", 0, 8}, {"size", 12, 4}}},
      {"mod_arch_specific", 24, {{"num_orcs", 0, 4}, {"orc_unwind_ip", 8, 8}, {"orc_unwind", 16, 8}}},
      {"task_struct", 0x1000, {{"comm", 0xb00, 16}, {"pid", 0xa00, 4}}},
  };
  if (pools) {
    made.push_back({"io_tlb_slot",
                    24,
                    {{"orig_addr", 0, 8}, {"alloc_size", 8, 8}, {"list", 16, 2}, {"pad_slots", 18, 2}}});
    made.push_back({"io_tlb_pool",
                    0x40,
                    {{"start", 0, 8},
                     {"end", 8, 8},
                     {"nareas", 0x24, 4},
                     {"area_nslabs", 0x28, 4},
                     {"areas", 0x30, 8},
                     {"slots", 0x38, 8}}});
  } else {
    made.push_back({"io_tlb_slot", 24, {{"orig_addr", 0, 8}, {"alloc_size", 8, 8}, {"list", 16, 4}}});
  }
  return made;
}

}  // namespace kernel_parts

inline std::uint64_t TestKernel::offset(std::string_view structure, std::string_view member) const {
  const auto field = kernel_->btf()->field(structure, member);
  if (!field) std::abort();
  return field->offset();
}

// Members of 1, 2, 4 and 8 bytes are numbers, of 16 texts.
inline Bytes TestKernel::types() const {
  BtfWriter writer;
  std::map<std::uint32_t, std::uint32_t> numbers;
  for (const std::uint32_t bytes : {1u, 2u, 4u, 8u})
    numbers[bytes] = writer.integer("u" + std::to_string(bytes), bytes);
  numbers[16] = writer.array(numbers[1], 16);
  std::map<std::string, std::uint32_t, std::less<>> made;
  const auto add = [&](const kernel_parts::Structure& structure,
                       std::vector<BtfWriter::Member> members = {}) {
    for (const auto& [path, at, bytes, bit] : structure.parts)
      members.push_back({path, numbers[bytes], bit < 64 ? at * 8 + bit : at * 8, bit < 64 ? 1u : 0u});
    made[std::string{structure.name}] = writer.structure(structure.name, structure.bytes, members);
  };
  for (const kernel_parts::Structure& structure : kernel_parts::structures(style_)) add(structure);
  kernel_parts::Structure device{"device",
                                 0x200,
                                 {{"parent", 0x40, 8},
                                  {"init_name", 0x50, 8},
                                  {"bus", 0x60, 8},
                                  {"driver", 0x68, 8},
                                  {"dma_ops", 0x100, 8},
                                  {"dma_mask", 0x108, 8},
                                  {"coherent_dma_mask", 0x110, 8},
                                  {"bus_dma_limit", 0x118, 8},
                                  {"dma_parms", 0x128, 8},
                                  {"dma_io_tlb_mem", 0x140, 8}}};
  if (style_ == Style::v6_12) device.parts.push_back({"dma_iommu", 0x1a0, 1, 6});
  if (style_ == Style::v7_3) {
    writer.enumeration("struct_device_flags", "DEV_FLAG_DMA_IOMMU");  // bit 1
    device.parts.push_back({"flags", 0x1b0, 8});
  }
  add(device, {{"kobj", made["kobject"], 0}});
  add({"pci_dev", 0x400, {{"bus", 0x10, 8}, {"devfn", 0x38, 4}, {"untrusted", 0x300, 1, 4}}},
      {{"dev", made["device"], 0xd0 * 8}});
  if (style_ == Style::v6_1)
    add({"io_tlb_mem",
         0x60,
         {{"start", 0, 8},
          {"end", 8, 8},
          {"nslabs", 0x18, 8},
          {"force_bounce", 0x31, 1},
          {"nareas", 0x34, 4},
          {"area_nslabs", 0x38, 4},
          {"areas", 0x40, 8},
          {"slots", 0x48, 8}}});
  else
    add({"io_tlb_mem", 0x60, {{"nslabs", 0x40, 8}, {"force_bounce", 0x50, 1}}},
        {{"defpool", made["io_tlb_pool"], 0}});
  std::vector<BtfWriter::Member> parts = {{"list", made["list_head"], 8 * 8},
                                          {"arch", made["mod_arch_specific"], 0x300 * 8}};
  if (style_ == Style::v6_1) {
    parts.push_back({"core_layout", made["module_layout"], 0x140 * 8});
    parts.push_back({"init_layout", made["module_layout"], 0x180 * 8});
  } else {
    parts.push_back({"mem", writer.array(made["module_memory"], 7), 0x140 * 8});
  }
  add({"module", 0x400, {{"state", 0, 4}, {"name", 0x18, 16}, {"kallsyms", 0x280, 8}}}, parts);
  if (style_ == Style::v6_12) add({"pcpu_hot", 64, {{"current_task", 8, 8}}});
  const char mark = "123"[static_cast<std::size_t>(style_)];
  const auto declare = [&](const kernel_parts::Function& function) {
    if (function.styles.find(mark) == function.styles.npos || function.name.find('.') != function.name.npos)
      return;
    std::vector<BtfWriter::Parameter> parameters;
    for (std::string_view rest = function.parameters; !rest.empty();) {
      const std::size_t end = std::min(rest.find(' '), rest.size());
      parameters.push_back({rest.substr(0, end), numbers[8]});
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    writer.function(function.name, numbers[8], parameters);
  };
  for (const kernel_parts::Function& function : kernel_parts::functions) declare(function);
  for (const kernel_parts::Function& function : kernel_parts::init_functions) declare(function);
  return writer.section();
}

inline void TestKernel::add_functions() {
  const char mark = "123"[static_cast<std::size_t>(style_)];
  const auto add = [&](VirtAddr& next, const kernel_parts::Function& function) {
    if (function.styles.find(mark) == function.styles.npos) return;
    addresses_[std::string{function.name}] = next;
    symbols_.push_back({next.value(), 'T', std::string{function.name}});
    next += function_bytes;
  };
  symbols_.push_back({text.value(), 'T', "_text"});
  symbols_.push_back({text.value(), 'T', "_stext"});
  VirtAddr next = text + 0x1000;
  for (const kernel_parts::Function& function : kernel_parts::functions) add(next, function);
  for (unsigned i = 0; i < 300; ++i)
    symbols_.push_back({(next + i * 0x10).value(), 't', "other_" + std::to_string(i)});
  symbols_.push_back({text.value() + 0x10'0000, 'T', "_etext"});
  add_variables();
  VirtAddr init = init_text;
  symbols_.push_back({init.value(), 'T', "_sinittext"});
  for (const kernel_parts::Function& function : kernel_parts::init_functions) add(init, function);
  symbols_.push_back({init_text.value() + 0x10000, 'T', "_einittext"});
  symbols_.push_back({init_text.value() + 0x20000, 'B', "_end"});
}

inline void TestKernel::add_variables() {
  VirtAddr next = data;
  for (const std::string_view name : kernel_parts::variables) {
    addresses_[std::string{name}] = next;
    symbols_.push_back({next.value(), 'D', std::string{name}});
    next += kernel_parts::variable_bytes;
  }
  if (style_ == Style::v7_3) {  // per-CPU data is linked with the image
    addresses_["current_task"] = next;
    symbols_.push_back({next.value(), 'D', "current_task"});
    return;
  }
  const std::string_view name = style_ == Style::v6_1 ? "current_task" : "pcpu_hot";
  addresses_[std::string{name}] = VirtAddr{0x1f000};
  symbols_.insert(symbols_.begin(), {0x1f000, 'A', std::string{name}});
}

inline TestKernel::TestKernel(Style style) : style_{style} {
  add_functions();
  constexpr std::uint64_t rodata_at = 0xffff'ffff'8200'0000;
  const KallsymsLayout layout = style == Style::v6_1    ? KallsymsLayout::v6_1
                                : style == Style::v6_12 ? KallsymsLayout::v6_4
                                                        : KallsymsLayout::v7;
  const Bytes rodata = ByteWriter{}
                           .text(banner)
                           .put('\0')
                           .align(4096)
                           .append(write_kallsyms(symbols_, layout, rodata_at + 4096))
                           .bytes();
  // No function has a frame: its return address is where the stack pointer points, whatever it calls.
  constexpr std::uint64_t orc_at = rodata_at + 0x40'0000;
  const bool newest = style == Style::v7_3;
  const std::uint16_t rule =
      static_cast<std::uint16_t>((newest ? 3 : 5) | (style == Style::v6_1 ? 0 : 2) << 8);
  ByteWriter offsets, rules;
  for (const VirtAddr first : {text, init_text}) {
    offsets.put(static_cast<std::uint32_t>(first - (VirtAddr{orc_at} + offsets.size())));
    rules.put(std::int16_t{8}).put(std::int16_t{0}).put(rule);
  }
  file_ = write_elf({{.name = ".rodata", .at = rodata_at, .bytes = rodata},
                     {.name = ".BTF", .at = rodata_at + 0x20'0000, .bytes = types()},
                     {.name = ".orc_unwind_ip", .at = orc_at, .bytes = offsets.bytes()},
                     {.name = ".orc_unwind", .at = orc_at + 0x1000, .bytes = rules.bytes()}});
  auto kernel = linux::Kernel::open(file_, "vmlinux");
  if (!kernel) std::abort();
  kernel_ = *std::move(kernel);
}

inline const TestKernel& TestKernel::of(Style style) {
  static const TestKernel kernels[] = {TestKernel{Style::v6_1}, TestKernel{Style::v6_12},
                                       TestKernel{Style::v7_3}};
  return kernels[static_cast<std::size_t>(style)];
}

inline void TestKernel::load_into(FakeGuest& guest, std::uint64_t slide) const {
  guest.put_text(kernel_->banner_at() + slide, banner);
  guest.write(data + slide, Bytes(kernel_parts::variable_bytes * (std::size(kernel_parts::variables) + 1)));
}

}  // namespace cbit::test
