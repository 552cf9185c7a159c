// A machine with a booted model kernel, everything that watches it, and test devices to plug in: what
// `explain`, the experiments, the matrix and the library's users run on.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "dev/test_dma.hpp"
#include "kernel/kernel.hpp"
#include "machine/machine.hpp"
#include "watch/counters.hpp"
#include "watch/explainer.hpp"

namespace cbit::testbed {

struct TestbedConfig {
  machine::MachineConfig machine;  // `iommu` follows from dma.iommu
  kernel::DmaConfig dma;
};

// What a driver and the bus know about one test device.
struct TestDeviceConfig {
  std::string name = "0000:00:03.0";
  unsigned mask_bits = 64;           // dma_set_mask(DMA_BIT_MASK(n)); 1..64
  unsigned coherent_mask_bits = 64;  // dma_set_coherent_mask
  std::uint64_t bus_limit = 0;
  std::uint32_t min_align_mask = 0;
  std::uint32_t max_segment_size = 64 * 1024;
  bool untrusted = false;
  bool trusted = false;        // the guest has accepted it (TDISP): an SEV-SNP guest with the kernel `next`
  unsigned address_bits = 64;  // address lines of the device itself
};

// The driver's struct device and the hardware behind it.
struct TestDevice {
  kernel::Device& driver;
  dev::TestDma& hardware;
};

class Testbed {
 public:
  // Errors (usage) come from the machine or the kernel and name the option to change.
  // The sinks get all events from the boot on, or from its end if they do not hear it, and are detached when
  // the Testbed goes.
  static OrError<std::unique_ptr<Testbed>> create(const TestbedConfig& config, const EventSinks& sinks = {});

  ~Testbed();

  // dma_set_mask() and dma_set_coherent_mask() are called as a driver's probe does; their refusal is an
  // Error; so is a trusted device where there are none.
  OrError<TestDevice> add_device(const TestDeviceConfig& config);

  [[nodiscard]] const TestbedConfig& config() const { return config_; }
  [[nodiscard]] machine::Machine& machine() { return *machine_; }
  [[nodiscard]] kernel::Kernel& kernel() { return *kernel_; }
  [[nodiscard]] mem::Memory& memory() { return machine_->memory(); }
  [[nodiscard]] Tracer& tracer() { return machine_->tracer(); }
  [[nodiscard]] watch::Explainer& explainer() { return *explainer_; }
  [[nodiscard]] const watch::Counters& counters() const { return counters_; }

  // The key that the platform's CPU uses for its own, encrypted memory; no_key on a plain machine.
  [[nodiscard]] KeyId cpu_key() const;
  // The key of one page: on MKTME that of the page's KeyID.
  [[nodiscard]] KeyId cpu_key(PhysAddr page) const;

 private:
  explicit Testbed(const TestbedConfig& config) : config_{config} {}

  void attach(const EventSinks& sinks, bool before_boot);

  TestbedConfig config_;
  std::unique_ptr<machine::Machine> machine_;
  std::optional<watch::Explainer> explainer_;
  watch::Counters counters_;
  std::unique_ptr<kernel::Kernel> kernel_;
  std::vector<std::unique_ptr<dev::TestDma>> hardware_;
  EventSinks sinks_;  // that are attached
};

}  // namespace cbit::testbed
