// A booted model kernel with one device, and the four views of its memory that the tests compare: the CPU's,
// the device's, the other key's and the DRAM's.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "bus/dma_port.hpp"
#include "kernel/dma/iommu_dma.hpp"
#include "kernel/kernel.hpp"
#include "support/sizes.hpp"
#include "support/small_machine.hpp"

namespace cbit::kernel {

inline constexpr std::uint64_t c_bit_47 = 1ull << 47;
inline constexpr std::uint64_t small_pool_slots = 1024;

// A kernel buffer: pages that a driver got from the page allocator.
struct KernelBuffer {
  VirtAddr at;
  PhysAddr phys;
  std::uint64_t bytes = 0;
};

class DmaBoard {
 public:
  // 8 GiB of RAM, and a SWIOTLB of 2 MiB unless the configuration sizes it: a large one takes long to clear.
  // POWER's secure guests have one by force, as they have none else (arch/powerpc/platforms/pseries/svm.c:
  // init_svm), or as `power_pool` says.
  explicit DmaBoard(Platform platform, DmaConfig dma_config = {},
                    machine::MachineConfig machine_config = {.memory_bytes = 8 * gib},
                    bool power_pool = true) {
    machine_config.platform = platform;
    if (!dma_config.swiotlb.slots) dma_config.swiotlb.slots = small_pool_slots;
    if (platform == Platform::pef) dma_config.swiotlb.force = power_pool;
    machine_config.iommu |= dma_config.iommu != IommuMode::none;
    machine = machine::Machine::create(machine_config).value();
    machine->tracer().attach(log);
    kernel = Kernel::boot(*machine, dma_config).value();
    log.clear();
  }

  Dma& dma() { return kernel->dma(); }
  paging::Mmu& cpu() { return kernel->cpu(0); }

  // A PCI device with masks of so many bits, and the wires to match.
  Device& add_device(unsigned mask_bits = 64, unsigned coherent_bits = 0, bool untrusted = false) {
    Device device;
    device.driver = "testdrv";
    device.dma_mask = bit_mask(mask_bits);
    device.coherent_dma_mask = bit_mask(coherent_bits != 0 ? coherent_bits : mask_bits);
    device.untrusted = untrusted;
    return kernel->add_device(device);
  }
  bus::DmaPort port(const Device& dev, unsigned address_bits = 64) {
    return bus::DmaPort{machine->bus(),
                        {.device = dev.name, .requester = dev.requester, .address_bits = address_bits}};
  }

  // A page-aligned buffer that holds `contents`; `first` names its place.
  KernelBuffer buffer(ConstByteSpan contents, std::optional<PhysAddr> first = std::nullopt) {
    const std::uint64_t pages = std::max<std::uint64_t>(1, align_up(contents.size(), page_size) / page_size);
    if (first)
      EXPECT_TRUE(kernel->mm().page_allocator().allocate_at(*first, pages));
    else
      first = kernel->mm().page_allocator().allocate(pages);
    const VirtAddr at = kernel->mm().phys_to_virt(*first);
    EXPECT_TRUE(cpu().write(at, contents));
    return {at, *first, contents.size()};
  }
  KernelBuffer buffer(std::uint64_t bytes, std::uint64_t seed) { return buffer(pattern_bytes(bytes, seed)); }

  // What a load through this kernel address sees.
  Bytes seen(VirtAddr at, std::uint64_t bytes) { return seen_by(cpu(), at, bytes); }
  Bytes seen(const KernelBuffer& b) { return seen(b.at, b.bytes); }
  static Bytes seen_by(paging::Mmu& mmu, VirtAddr at, std::uint64_t bytes) {
    Bytes data(bytes);
    EXPECT_TRUE(mmu.read(at, data));
    return data;
  }
  static Bytes read_by(bus::DmaPort& port, DmaAddr at, std::uint64_t bytes) {
    Bytes data(bytes);
    EXPECT_TRUE(port.read(at, data));
    return data;
  }
  // What the host sees, and a reader with the platform's key.
  Bytes raw(PhysAddr at, std::uint64_t bytes) { return with_key(at, bytes, no_key); }
  Bytes plain(PhysAddr at, std::uint64_t bytes) {
    return with_key(at, bytes, machine->paging().view.encrypted_key);
  }
  Bytes with_key(PhysAddr at, std::uint64_t bytes, KeyId key) {
    Bytes data(bytes);
    EXPECT_TRUE(machine->memory().peek(at, data, key));
    return data;
  }

  // Where the bytes of a mapping are: the bounce, the pages behind an IOVA, or the buffer itself.
  PhysAddr target(const Device& dev, DmaAddr dma) {
    if (dev.iommu != nullptr) return iommu_iova_to_phys(dev, dma).value();
    return PhysAddr{dma.value() & ~kernel->cc().me_mask()};
  }
  bool bounced(const Device& dev, DmaAddr at) {
    return dma().swiotlb() != nullptr && dma().swiotlb()->contains(dev, target(dev, at));
  }
  std::uint64_t slots_used() { return dma().swiotlb()->usage().io_tlb_used; }

  std::vector<std::string> messages() const {
    std::vector<std::string> texts;
    for (const auto& message : log.all<KernelMessage>()) texts.push_back(message.text);
    return texts;
  }
  std::vector<std::string> complaints() const {
    std::vector<std::string> texts;
    for (const auto& report : log.all<DmaDebugReport>()) texts.push_back(report.text);
    return texts;
  }
  std::vector<DmaFailure> failures() const {
    std::vector<DmaFailure> reasons;
    for (const auto& failure : log.all<DmaMapFailed>()) reasons.push_back(failure.reason);
    return reasons;
  }
  // True when one of the decisions was taken by this function and its rule contains all the words.
  bool decided(std::string_view function, std::initializer_list<std::string_view> words) const {
    const auto steps = log.all<StepTaken>();
    return std::any_of(steps.begin(), steps.end(), [&](const StepTaken& step) {
      return step.source.ends_with(function) &&
             std::all_of(words.begin(), words.end(),
                         [&](std::string_view word) { return step.rule.find(word) != std::string::npos; });
    });
  }

  test::EventLog log;
  std::unique_ptr<machine::Machine> machine;
  std::unique_ptr<Kernel> kernel;
};

inline bool contains(const std::vector<std::string>& texts, std::string_view part) {
  return std::any_of(texts.begin(), texts.end(),
                     [&](const std::string& text) { return text.find(part) != std::string::npos; });
}

}  // namespace cbit::kernel
