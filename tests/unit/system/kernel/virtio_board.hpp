// A model kernel with a virtio disk that no driver has taken yet.
#pragma once

#include <memory>

#include "dev/block_backend.hpp"
#include "dev/virtio/virtio_blk.hpp"
#include "kernel/virtio/virtio_blk_driver.hpp"
#include "unit/system/kernel/dma_board.hpp"

namespace cbit::kernel {

// Little memory and a bounce pool of 8 MiB: quick to boot.
inline const machine::MachineConfig small_guest{.memory_bytes = 256ull << 20};
inline const DmaConfig small_pool{.swiotlb = {.slots = 4096}};

class VirtioDisk : public DmaBoard {
 public:
  static constexpr std::uint64_t disk_bytes = 8 << 20;

  explicit VirtioDisk(Platform platform, const dev::VirtioBlkOptions& options = {},
                      const DmaConfig& dma_config = small_pool,
                      const machine::MachineConfig& machine_config = small_guest)
      : DmaBoard{platform, dma_config, machine_config}, parent{kernel->add_device(pci_function())} {
    auto created = dev::VirtioBlk::create(machine->bus(), {.device = "vda", .requester = parent.requester},
                                          disk, options);
    EXPECT_TRUE(created) << created.error().message;
    hardware = std::move(*created);
  }

  // Probes, and gives the status byte of the device afterwards.
  std::uint8_t probe(const VirtioDriverOptions& options = {}) {
    auto probed = VirtioBlkDriver::probe(*kernel, *hardware, parent, options);
    error = probed ? std::optional<Errno>{} : probed.error();
    driver = probed ? std::move(*probed) : nullptr;
    return hardware->status();
  }
  [[nodiscard]] Bytes on_disk(std::uint64_t sector, std::uint64_t bytes) const {
    const auto part = disk.contents().subspan(sector * dev::sector_size, bytes);
    return {part.begin(), part.end()};
  }
  [[nodiscard]] std::uint64_t pool_used() { return dma().swiotlb() == nullptr ? 0 : slots_used(); }

  dev::MemoryDisk disk{pattern_bytes(disk_bytes, 11)};
  Device& parent;
  std::unique_ptr<dev::VirtioBlk> hardware;
  std::unique_ptr<VirtioBlkDriver> driver;
  std::optional<Errno> error;

 private:
  static Device pci_function() {
    Device device;
    device.driver = "virtio-pci";
    return device;
  }
};

}  // namespace cbit::kernel
