// The members of the kernel's structures that cbit reads, and where they lie in one kernel.
//
// One row per member (fields.cpp); where versions differ, a row has several spellings. A member that a kernel
// does not have is absent, and whoever reads it gives up on what it would have told.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "linux/btf.hpp"

namespace cbit::linux {

enum class Field : std::uint8_t {
  device_name,
  device_init_name,
  device_parent,
  device_bus,
  device_driver,
  device_dma_mask,
  device_coherent_mask,
  device_bus_limit,
  device_dma_parms,
  device_io_tlb_mem,
  device_dma_ops,
  device_dma_iommu,
  driver_name,
  driver_owner,
  parms_min_align_mask,
  pci_dev_device,
  pci_dev_bus,
  pci_dev_devfn,
  pci_dev_untrusted,
  pci_bus_number,
  sg_page_link,
  sg_offset,
  sg_length,
  sg_dma_address,
  sg_dma_length,
  sg_table_list,
  sg_table_entries,
  sg_table_segments,
  iova_state_address,
  slot_orig,
  slot_alloc_size,
  slot_list,
  slot_pad_slots,
  area_used,
  pool_start,
  pool_end,
  pool_areas_count,
  pool_area_slots,
  pool_areas,
  pool_slots,
  tlb_slots_count,
  tlb_force_bounce,
  tlb_can_grow,
  tlb_default_pool,
  module_state,
  module_list,
  module_name,
  module_symbols,
  module_core_base,
  module_core_size,
  module_init_base,
  module_init_size,
  module_memory,
  module_orc_count,
  module_orc_offsets,
  module_orc_entries,
  memory_base,
  memory_size,
  symbols_table,
  symbols_count,
  symbols_names,
  task_comm,
  task_pid,
  hot_current_task,
  count_
};

// Sizes of structures that stand in arrays.
enum class Stride : std::uint8_t { page, scatterlist, io_tlb_slot, io_tlb_area, module_memory, count_ };

class Fields {
 public:
  Fields() = default;
  explicit Fields(const Btf& btf);

  [[nodiscard]] const std::optional<BtfField>& operator[](Field field) const {
    return fields_[static_cast<std::size_t>(field)];
  }
  [[nodiscard]] std::optional<std::uint64_t> operator[](Stride stride) const {
    return strides_[static_cast<std::size_t>(stride)];
  }
  [[nodiscard]] bool has(Field field) const { return (*this)[field].has_value(); }

 private:
  std::array<std::optional<BtfField>, static_cast<std::size_t>(Field::count_)> fields_;
  std::array<std::optional<std::uint64_t>, static_cast<std::size_t>(Stride::count_)> strides_;
};

}  // namespace cbit::linux
