// The PCI transport of a virtio device. VIRTIO 1.2, 4.1.
//
//   BAR 0  the legacy interface, ports: of legacy and transitional devices
//   BAR 1  MSI-X: one vector per queue, and one for configuration changes
//   BAR 4  0000h common configuration · 1000h ISR · 2000h device configuration · 3000h notifications, four
//          bytes per queue; of all but legacy devices. The PCI configuration access capability reaches it too
//
// Without MSI-X interrupts are INTA#. Registers take accesses of any width; what is not there reads as zeros.
//
// The device itself does not know its transport: what this class does to it is what a direct driver does by
// calls. Nothing that a guest writes is a Fault or an assertion. Threading: one thread, that of the machine.
#pragma once

#include <memory>
#include <vector>

#include "bus/pci/function.hpp"
#include "dev/virtio/virtio_device.hpp"
#include "spec/virtio_pci.hpp"

namespace cbit::dev {

// How a device of this type names itself. Types that are older than virtio 1.0 have transitional numbers.
[[nodiscard]] bus::PciIdentity virtio_pci_identity(std::uint16_t type, bool legacy_interface);

class VirtioPci final : public bus::PciFunction {
 public:
  // `msix`: else there is INTA# alone.
  explicit VirtioPci(std::unique_ptr<VirtioDevice> device, bool msix = true);

  [[nodiscard]] VirtioDevice& device() { return *device_; }
  [[nodiscard]] const VirtioDevice& device() const { return *device_; }

 protected:
  void on_reset() override;
  void transfer_device(StateStream& s) override;
  void before_config_read(std::uint32_t offset, std::size_t bytes) override;
  void after_config_write(std::uint32_t offset, std::size_t bytes) override;

 private:
  static constexpr unsigned legacy_bar = 0;
  static constexpr unsigned msix_bar = 1;
  static constexpr unsigned modern_bar = 4;

  class Modern final : public bus::MmioRegion {
   public:
    explicit Modern(VirtioPci& owner) : owner_{&owner} {}
    Result<void> read(std::uint64_t offset, ByteSpan to) override;
    Result<void> write(std::uint64_t offset, ConstByteSpan from) override;

   private:
    VirtioPci* owner_;
  };
  class Legacy final : public bus::PioRegion {
   public:
    explicit Legacy(VirtioPci& owner) : owner_{&owner} {}
    std::uint32_t read(std::uint16_t offset, unsigned bytes) override;
    void write(std::uint16_t offset, unsigned bytes, std::uint32_t value) override;

   private:
    // Where device configuration begins.
    [[nodiscard]] std::uint32_t config_at() const;
    VirtioPci* owner_;
  };
  // What the driver has said of a queue; it takes effect when it is enabled.
  struct Queue {
    VirtQueueConfig config;
    std::uint16_t vector = spec::virtio_msi_no_vector;
    void transfer(StateStream& s) { s(config, vector); }
  };

  void add_modern_interface();
  std::uint32_t add_structure(std::uint8_t type, std::uint32_t offset, std::uint32_t length,
                              std::uint8_t bytes);
  // The selected queue; nullptr: there is no such queue.
  [[nodiscard]] Queue* selected();
  [[nodiscard]] bool selected_enabled() const { return device_->queue_enabled(queue_select_); }
  [[nodiscard]] spec::VirtioPciCommon common();
  void set_common(std::size_t field, const spec::VirtioPciCommon& written);
  void set_queue_field(std::size_t field, const spec::VirtioPciCommon& written);
  void write_common(std::uint64_t offset, ConstByteSpan from);
  void place_selected(std::uint32_t page);
  void set_status(std::uint8_t status);
  [[nodiscard]] std::uint16_t checked_vector(std::uint16_t vector) const;
  // Where the PCI configuration access capability points to; false: nowhere.
  [[nodiscard]] bool window(std::uint32_t& offset, std::uint32_t& bytes) const;
  [[nodiscard]] bool covers_window(std::uint32_t offset, std::size_t bytes) const;

  void forget();
  void raise(const VirtioInterrupt& interrupt);
  [[nodiscard]] std::uint8_t take_isr();

  std::unique_ptr<VirtioDevice> device_;
  Modern modern_{*this};
  Legacy legacy_{*this};
  std::uint32_t window_at_ = 0;  // the capability; 0: none

  std::vector<Queue> queues_;
  std::uint32_t device_feature_select_ = 0;
  std::uint32_t driver_feature_select_ = 0;
  std::uint16_t queue_select_ = 0;
  std::uint16_t config_vector_ = spec::virtio_msi_no_vector;
  std::uint8_t generation_ = 0;
  std::uint8_t isr_ = 0;
};

}  // namespace cbit::dev
