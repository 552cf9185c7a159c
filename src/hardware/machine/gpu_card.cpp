#include "machine/gpu_card.hpp"

#include <utility>

namespace cbit {

GpuCard plug_gpu(Machine& machine, DmaPortConfig config, std::uint64_t vram_bytes) {
  auto vram = std::make_unique<RamBar>(vram_bytes);
  RamBar& memory = *vram;
  auto gpu = std::make_unique<Gpu>(machine.bus(), std::move(config), memory);
  Gpu& device = *gpu;
  const PhysRange memory_bar = machine.add_bar(std::move(vram), vram_bytes);
  const PhysRange register_bar = machine.add_bar(std::move(gpu), Gpu::register_bytes);
  return {device, memory, register_bar, memory_bar};
}

}  // namespace cbit
