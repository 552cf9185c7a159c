#include "linux/fields.hpp"

#include <string_view>

namespace cbit::linux {
namespace {

struct FieldRow {
  Field field;
  std::string_view structure;
  std::string_view path;
};
// The first that a kernel has counts. Comments say since when.
constexpr FieldRow field_rows[] = {
    {Field::device_name, "device", "kobj.name"},
    {Field::device_init_name, "device", "init_name"},
    {Field::device_parent, "device", "parent"},
    {Field::device_bus, "device", "bus"},
    {Field::device_driver, "device", "driver"},
    {Field::device_dma_mask, "device", "dma_mask"},
    {Field::device_coherent_mask, "device", "coherent_dma_mask"},
    {Field::device_bus_limit, "device", "bus_dma_limit"},
    {Field::device_dma_parms, "device", "dma_parms"},
    {Field::device_io_tlb_mem, "device", "dma_io_tlb_mem"},
    {Field::device_dma_ops, "device", "dma_ops"},
    {Field::device_dma_iommu, "device", "dma_iommu"},  // 6.12; 7.3 see below
    {Field::driver_name, "device_driver", "name"},
    {Field::driver_owner, "device_driver", "owner"},
    {Field::parms_min_align_mask, "device_dma_parameters", "min_align_mask"},
    {Field::pci_dev_device, "pci_dev", "dev"},
    {Field::pci_dev_bus, "pci_dev", "bus"},
    {Field::pci_dev_devfn, "pci_dev", "devfn"},
    {Field::pci_dev_untrusted, "pci_dev", "untrusted"},
    {Field::pci_bus_number, "pci_bus", "number"},
    {Field::sg_page_link, "scatterlist", "page_link"},
    {Field::sg_offset, "scatterlist", "offset"},
    {Field::sg_length, "scatterlist", "length"},
    {Field::sg_dma_address, "scatterlist", "dma_address"},
    {Field::sg_dma_length, "scatterlist", "dma_length"},
    {Field::sg_table_list, "sg_table", "sgl"},
    {Field::sg_table_entries, "sg_table", "orig_nents"},
    {Field::sg_table_segments, "sg_table", "nents"},
    {Field::iova_state_address, "dma_iova_state", "addr"},  // 6.16
    {Field::slot_orig, "io_tlb_slot", "orig_addr"},
    {Field::slot_alloc_size, "io_tlb_slot", "alloc_size"},
    {Field::slot_list, "io_tlb_slot", "list"},
    {Field::slot_pad_slots, "io_tlb_slot", "pad_slots"},  // 6.10
    {Field::area_used, "io_tlb_area", "used"},
    {Field::pool_start, "io_tlb_pool", "start"},  // 6.6: a structure of its own
    {Field::pool_start, "io_tlb_mem", "start"},
    {Field::pool_end, "io_tlb_pool", "end"},
    {Field::pool_end, "io_tlb_mem", "end"},
    {Field::pool_areas_count, "io_tlb_pool", "nareas"},
    {Field::pool_areas_count, "io_tlb_mem", "nareas"},
    {Field::pool_area_slots, "io_tlb_pool", "area_nslabs"},
    {Field::pool_area_slots, "io_tlb_mem", "area_nslabs"},
    {Field::pool_areas, "io_tlb_pool", "areas"},
    {Field::pool_areas, "io_tlb_mem", "areas"},
    {Field::pool_slots, "io_tlb_pool", "slots"},
    {Field::pool_slots, "io_tlb_mem", "slots"},
    {Field::tlb_slots_count, "io_tlb_mem", "nslabs"},
    {Field::tlb_force_bounce, "io_tlb_mem", "force_bounce"},
    {Field::tlb_can_grow, "io_tlb_mem", "can_grow"},
    {Field::tlb_default_pool, "io_tlb_mem", "defpool"},
    {Field::module_state, "module", "state"},
    {Field::module_list, "module", "list"},
    {Field::module_name, "module", "name"},
    {Field::module_symbols, "module", "kallsyms"},
    {Field::module_core_base, "module", "core_layout.base"},
    {Field::module_core_size, "module", "core_layout.size"},
    {Field::module_init_base, "module", "init_layout.base"},
    {Field::module_init_size, "module", "init_layout.size"},
    {Field::module_memory, "module", "mem"},  // 6.4, instead of the layouts
    {Field::module_orc_count, "module", "arch.num_orcs"},
    {Field::module_orc_offsets, "module", "arch.orc_unwind_ip"},
    {Field::module_orc_entries, "module", "arch.orc_unwind"},
    {Field::memory_base, "module_memory", "base"},
    {Field::memory_size, "module_memory", "size"},
    {Field::symbols_table, "mod_kallsyms", "symtab"},
    {Field::symbols_count, "mod_kallsyms", "num_symtab"},
    {Field::symbols_names, "mod_kallsyms", "strtab"},
    {Field::task_comm, "task_struct", "comm"},
    {Field::task_pid, "task_struct", "pid"},
    {Field::hot_current_task, "pcpu_hot", "current_task"},  // 6.2 to 6.14
};

struct StrideRow {
  Stride stride;
  std::string_view structure;
};
constexpr StrideRow stride_rows[] = {
    {Stride::page, "page"},
    {Stride::scatterlist, "scatterlist"},
    {Stride::io_tlb_slot, "io_tlb_slot"},
    {Stride::io_tlb_area, "io_tlb_area"},
    {Stride::module_memory, "module_memory"},
};

// 7.3: bits of struct device are bits of one bitmap, numbered by an enumeration.
std::optional<BtfField> device_flag(const Btf& btf, std::string_view name) {
  auto flags = btf.field("device", "flags");
  const auto bit = btf.enumerator("struct_device_flags", name);
  if (!flags || !bit || *bit >= flags->bits) return std::nullopt;
  return BtfField{.bit_offset = flags->bit_offset + *bit, .bits = 1, .bit_field = true};
}

}  // namespace

Fields::Fields(const Btf& btf) {
  for (const FieldRow& row : field_rows) {
    auto& field = fields_[static_cast<std::size_t>(row.field)];
    if (!field) field = btf.field(row.structure, row.path);
  }
  auto& iommu = fields_[static_cast<std::size_t>(Field::device_dma_iommu)];
  if (!iommu) iommu = device_flag(btf, "DEV_FLAG_DMA_IOMMU");
  for (const StrideRow& row : stride_rows)
    strides_[static_cast<std::size_t>(row.stride)] = btf.size_of(row.structure);
}

}  // namespace cbit::linux
