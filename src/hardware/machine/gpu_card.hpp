// A GPU in a slot of the board: its registers and its video memory have addresses.
#pragma once

#include "dev/gpu/gpu.hpp"
#include "machine/machine.hpp"

namespace cbit::machine {

struct GpuCard {
  dev::Gpu& gpu;      // owned by the machine, as its BARs
  bus::RamBar& vram;  // for looking at; a driver uses the BAR
  mem::PhysRange registers;
  mem::PhysRange memory;
};

// `vram_bytes` is a power of two, at least a page; the PCI hole must have room for it.
[[nodiscard]] GpuCard plug_gpu(Machine& machine, bus::DmaPortConfig config, std::uint64_t vram_bytes);

}  // namespace cbit::machine
