#include "machine/gpu_card.hpp"

#include <utility>

namespace cbit::machine {

GpuCard plug_gpu(Machine& machine, bus::DmaPortConfig config, std::uint64_t vram_bytes) {
  auto vram = std::make_unique<bus::RamBar>(vram_bytes);
  bus::RamBar& memory = *vram;
  auto gpu = std::make_unique<dev::Gpu>(machine.bus(), std::move(config), memory);
  dev::Gpu& device = *gpu;
  const mem::PhysRange memory_bar = machine.add_bar(std::move(vram), vram_bytes);
  const mem::PhysRange register_bar = machine.add_bar(std::move(gpu), dev::Gpu::register_bytes);
  return {device, memory, register_bar, memory_bar};
}

}  // namespace cbit::machine
