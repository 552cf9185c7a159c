// The words of `--map`: how a buffer becomes reachable for a device, and what the command and its reports
// know about each kind. How it is done: maps/.
#pragma once

#include "base/enumerators.hpp"
#include "base/words.hpp"
#include "cbit/dma_types.hpp"

namespace cbit::explain {

enum class MapKind : std::uint8_t {
  streaming,        // dma_map_single
  coherent,         // dma_alloc_coherent(GFP_KERNEL)
  coherent_atomic,  // dma_alloc_coherent(GFP_ATOMIC)
  raw_phys,         // no DMA API: the driver hands out the buffer's physical address
  resource,         // dma_map_resource of another device's BAR
  user_mr,          // ibv_reg_mr() of an application's memory
  ttm_bo,           // a graphics buffer, seen through TTM's vmap
  virtio_blk,       // a request to a virtio disk: the device is that disk
};

inline constexpr Word<MapKind> map_kind_words[] = {{"streaming", MapKind::streaming},
                                                   {"coherent", MapKind::coherent},
                                                   {"coherent-atomic", MapKind::coherent_atomic},
                                                   {"raw-phys", MapKind::raw_phys},
                                                   {"resource", MapKind::resource},
                                                   {"user-mr", MapKind::user_mr},
                                                   {"ttm-bo", MapKind::ttm_bo},
                                                   {"virtio-blk", MapKind::virtio_blk}};
[[nodiscard]] constexpr std::string_view to_string(MapKind kind) { return word_of(map_kind_words, kind); }

struct MapKindInfo {
  MapKind kind{};
  DmaDirection default_direction = DmaDirection::to_device;
  bool can_sync = false;         // --sync has a meaning
  bool takes_key_id = false;     // --key-id has
  bool takes_attrs = false;      // the driver passes attributes to the DMA API itself
  bool has_own_machine = false;  // the device comes with one
  std::string_view cpu_view = "the buffer, through the kernel's mapping";  // who the CPU's view belongs to
};
inline constexpr MapKindInfo map_kinds[] = {
    {.kind = MapKind::streaming, .can_sync = true, .takes_key_id = true, .takes_attrs = true},
    {.kind = MapKind::coherent, .default_direction = DmaDirection::from_device, .takes_attrs = true},
    {.kind = MapKind::coherent_atomic, .default_direction = DmaDirection::from_device, .takes_attrs = true},
    {.kind = MapKind::raw_phys, .takes_key_id = true},
    {.kind = MapKind::resource, .takes_attrs = true},
    {.kind = MapKind::user_mr,
     .default_direction = DmaDirection::from_device,
     .takes_key_id = true,
     .cpu_view = "the buffer, as the application reads it while the region lives"},
    {.kind = MapKind::ttm_bo,
     .default_direction = DmaDirection::from_device,
     .cpu_view = "the buffer, through TTM's vmap"},
    {.kind = MapKind::virtio_blk, .has_own_machine = true},
};
static_assert(has_row_each<&MapKindInfo::kind>(map_kinds));

[[nodiscard]] constexpr const MapKindInfo& info_of(MapKind kind) {
  return map_kinds[static_cast<std::size_t>(kind)];
}

}  // namespace cbit::explain
