// A machine with memory management and a SWIOTLB, without the DMA API above it.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bus/dma_port.hpp"
#include "kernel/dma/swiotlb.hpp"
#include "support/small_machine.hpp"

namespace cbit::kernel {

struct SwiotlbBoardConfig {
  Platform platform = Platform::sev;
  KernelVersion version = KernelVersion::v6_1;
  std::string_view parameter = "512,1";  // swiotlb=
  bool dynamic = false;
  unsigned cpus = 1;
  std::uint64_t memory_bytes = 64 << 20;
};

class SwiotlbBoard {
 public:
  // Addresses of the buffers that tests map: RAM that nothing else uses.
  static constexpr PhysAddr buffers{32 << 20};

  explicit SwiotlbBoard(const SwiotlbBoardConfig& config = {})
      : machine{machine::Machine::create(
                    {.platform = config.platform, .memory_bytes = config.memory_bytes, .cpus = config.cpus})
                    .value()},
        cc{config.platform, machine->paging().view.layout},
        mm{Mm::create(*machine, cc, config.version).value()},
        port{machine->bus(), {.device = "test", .requester = 8}} {
    EXPECT_TRUE(mm->page_allocator().allocate_at(buffers, (4 << 20) / page_size));
    machine->tracer().attach(log);
    dev.name = "0000:00:01.0";
    dev.dma_mask = bit_mask(64);
    dev.coherent_dma_mask = bit_mask(64);
    const SwiotlbOptions options = parse_swiotlb(config.parameter).value();
    const auto sizing = size_swiotlb(cc, config.memory_bytes, false, config.cpus, options);
    if (sizing) swiotlb = Swiotlb::create_default(*mm, cc, config.version, *sizing, config.dynamic).value();
  }

  [[nodiscard]] paging::Mmu& cpu(unsigned n = 0) { return mm->cpu(n); }

  Result<PhysAddr, SwiotlbRefusal> map(PhysAddr at, std::uint64_t bytes,
                                       DmaDirection direction = DmaDirection::to_device, DmaAttrs attrs = {},
                                       unsigned n = 0) {
    return swiotlb->tbl_map_single(cpu(n), dev, at, bytes, bytes, 0, direction, attrs);
  }
  bool unmap(PhysAddr bounce, std::uint64_t bytes, DmaDirection direction = DmaDirection::to_device,
             DmaAttrs attrs = {}, unsigned n = 0) {
    return swiotlb->tbl_unmap_single(cpu(n), dev, bounce, bytes, direction, attrs);
  }

  // Bytes as the CPU writes and reads them through the direct map.
  void put(PhysAddr at, ConstByteSpan data) { ASSERT_TRUE(cpu().write(mm->phys_to_virt(at), data)); }
  Bytes seen(PhysAddr at, std::uint64_t bytes) {
    Bytes data(bytes);
    EXPECT_TRUE(cpu().read(mm->phys_to_virt(at), data));
    return data;
  }
  // Bytes as the device reads and writes them at their address without key bits.
  Bytes device_sees(PhysAddr at, std::uint64_t bytes) {
    Bytes data(bytes);
    EXPECT_TRUE(port.read(DmaAddr{at.value()}, data));
    return data;
  }
  void device_writes(PhysAddr at, ConstByteSpan data) { ASSERT_TRUE(port.write(DmaAddr{at.value()}, data)); }
  Bytes raw(PhysAddr at, std::uint64_t bytes) { return with_key(at, bytes, no_key); }
  Bytes with_key(PhysAddr at, std::uint64_t bytes, KeyId key) {
    Bytes data(bytes);
    EXPECT_TRUE(machine->memory().peek(at, data, key));
    return data;
  }
  [[nodiscard]] KeyId key() const { return machine->paging().view.encrypted_key; }

  [[nodiscard]] std::vector<std::string> messages() const {
    std::vector<std::string> texts;
    for (const KernelMessage& message : log.all<KernelMessage>()) texts.push_back(message.text);
    return texts;
  }

  test::EventLog log;
  std::unique_ptr<machine::Machine> machine;
  CcPlatform cc;
  std::unique_ptr<Mm> mm;
  bus::DmaPort port;
  Device dev;
  std::unique_ptr<Swiotlb> swiotlb;
};

}  // namespace cbit::kernel
