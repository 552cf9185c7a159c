// cbit as a library: a driver's DMA code under unit test, on any platform, with the real ciphertext.
//
// A Sandbox is an emulated machine with a model kernel. Driver code calls the DMA API on it by Linux's names;
// the test plays the hardware with device_read() and device_write(), looks at memory from all sides, and asks
// problems() what the driver did wrong.
//
//   const std::vector<std::byte> packet(1500, std::byte{0x5a});
//   cbit::Sandbox box{{.platform = cbit::Platform::sev}};
//   const auto nic = box.add_device({.name = "nic"});
//   const auto buffer = box.kmalloc(1500);
//   const auto dma = box.dma_map_single(nic, buffer, 1500, cbit::DmaDirection::from_device);
//   ASSERT_FALSE(box.dma_mapping_failed(nic, dma));  // dma-debug reports who does not ask
//   ASSERT_TRUE(box.device_write(nic, dma, packet));
//   box.dma_unmap_single(nic, dma, 1500, cbit::DmaDirection::from_device);
//   EXPECT_EQ(box.read(buffer, 1500), packet);
//   EXPECT_TRUE(box.problems().empty());
//
// Errors: bad options throw std::invalid_argument, whose text names the option and the remedy; so does what
// no driver can have: a DeviceId of another Sandbox, kfree() of what kmalloc() did not return, and read(),
// write(), virt_to_phys(), host_view() and segments of dma_map_sg() where the kernel has no memory. kmalloc()
// throws std::bad_alloc when the machine's memory is used up, and any call may when the host's is. API calls
// report what Linux's do (dma_mapping_error, nullopt, 0 segments). Nothing else throws.
// Threading: one thread per Sandbox; Sandboxes are independent.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cbit/addr.hpp"
#include "cbit/dma_types.hpp"
#include "cbit/kernel_config.hpp"
#include "cbit/platform.hpp"

namespace cbit {

class Sandbox {
 public:
  struct Options {
    Platform platform = Platform::plain;
    KernelVersion kernel = KernelVersion::v6_1;
    IommuMode iommu = IommuMode::none;
    std::uint64_t memory_bytes = 4ull << 30;  // 16 MiB .. 1 TiB
    unsigned c_bit = 47;                      // 32 .. 51, above RAM
    unsigned cpus = 1;                        // 1 .. 256
    std::string swiotlb;                      // the kernel's swiotlb= parameter
    bool dma_debug = true;                    // CONFIG_DMA_API_DEBUG
    std::uint64_t seed = 1;                   // keys and tweaks; the same seed gives the same bytes
  };

  struct DeviceOptions {
    std::string name = "device";
    unsigned mask_bits = 64;           // dma_set_mask
    unsigned coherent_mask_bits = 64;  // dma_set_coherent_mask
    std::uint32_t min_align_mask = 0;
    std::uint32_t max_segment_size = 64 * 1024;
    bool untrusted = false;
  };

  enum class DeviceId : std::uint32_t {};

  struct Coherent {
    VirtAddr cpu;
    DmaAddr dma;
    std::uint64_t bytes = 0;
  };

  struct Segment {
    VirtAddr at;
    std::uint64_t length = 0;
    DmaAddr dma = dma_mapping_error;  // after dma_map_sg
    std::uint64_t dma_length = 0;
  };

  // A cause of the catalogue (docs/causes.md), found in what the driver and its device did.
  struct Problem {
    std::string name;  // "page-still-private"
    std::string title;
    std::string device;
    std::string evidence;
    std::string kernel_message;  // what Linux would print; empty when it says nothing
    std::string remedy;
  };

  explicit Sandbox(const Options& options);
  ~Sandbox();
  Sandbox(Sandbox&&) noexcept;
  Sandbox& operator=(Sandbox&&) = delete;

  [[nodiscard]] DeviceId add_device(const DeviceOptions& options);

  // ---- memory, as kernel code has it ----
  // Contiguous pages of the direct map, zeroed.
  [[nodiscard]] VirtAddr kmalloc(std::uint64_t bytes);
  void kfree(VirtAddr at);
  [[nodiscard]] std::vector<std::byte> read(VirtAddr from, std::size_t bytes);
  void write(VirtAddr to, std::span<const std::byte> bytes);
  [[nodiscard]] PhysAddr virt_to_phys(VirtAddr at) const;

  // ---- the DMA API ----
  [[nodiscard]] DmaAddr dma_map_single(DeviceId device, VirtAddr at, std::uint64_t bytes,
                                       DmaDirection direction, DmaAttrs attrs = {});
  void dma_unmap_single(DeviceId device, DmaAddr dma, std::uint64_t bytes, DmaDirection direction,
                        DmaAttrs attrs = {});
  [[nodiscard]] bool dma_mapping_failed(DeviceId device, DmaAddr dma);  // dma_mapping_error()
  void dma_sync_single_for_cpu(DeviceId device, DmaAddr dma, std::uint64_t bytes, DmaDirection direction);
  void dma_sync_single_for_device(DeviceId device, DmaAddr dma, std::uint64_t bytes, DmaDirection direction);
  // Number of DMA segments; 0 on failure.
  [[nodiscard]] std::size_t dma_map_sg(DeviceId device, std::span<Segment> segments, DmaDirection direction,
                                       DmaAttrs attrs = {});
  void dma_unmap_sg(DeviceId device, std::span<Segment> segments, DmaDirection direction,
                    DmaAttrs attrs = {});
  [[nodiscard]] std::optional<Coherent> dma_alloc_coherent(DeviceId device, std::uint64_t bytes,
                                                           bool atomic = false);
  void dma_free_coherent(DeviceId device, const Coherent& buffer);
  [[nodiscard]] std::uint64_t dma_max_mapping_size(DeviceId device) const;
  // The driver's remove(): mappings that are still alive become problems. Returns how many there were.
  std::size_t release_device(DeviceId device);

  // ---- the hardware ----
  // What the device finds at a bus address; nullopt when the bus or the platform refuses.
  [[nodiscard]] std::optional<std::vector<std::byte>> device_read(DeviceId device, DmaAddr from,
                                                                  std::size_t bytes);
  [[nodiscard]] bool device_write(DeviceId device, DmaAddr to, std::span<const std::byte> bytes);

  // ---- looking ----
  // The same memory as the host's software reads it: ciphertext where the guest or the kernel encrypts it.
  [[nodiscard]] std::vector<std::byte> host_view(VirtAddr from, std::size_t bytes) const;
  [[nodiscard]] std::uint64_t swiotlb_slots_used() const;
  [[nodiscard]] std::uint64_t bytes_bounced() const;

  // What went wrong so far, in order; complete after release_device().
  [[nodiscard]] std::vector<Problem> problems() const;
  [[nodiscard]] bool has_problem(std::string_view name) const;
  // What the kernel logged.
  [[nodiscard]] std::vector<std::string> kernel_log() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace cbit
