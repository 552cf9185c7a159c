// A driver's end of a virtio device, whatever its transport: the same tests hold for a device that is called
// directly and for one behind PCI, modern or legacy, with MSI-X.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "dev/virtio/virtio_pci.hpp"
#include "virtio_board.hpp"

namespace cbit::dev {

enum class Transport : std::uint8_t { direct, pci };

inline std::string transport_name(const testing::TestParamInfo<Transport>& info) {
  return info.param == Transport::direct ? "Direct" : "Pci";
}

// Names are VirtioDevice's.
class DriverEnd {
 public:
  virtual ~DriverEnd() = default;
  [[nodiscard]] virtual VirtioDevice& hardware() = 0;
  [[nodiscard]] virtual std::uint64_t device_features() = 0;
  virtual void set_driver_features(std::uint64_t features) = 0;
  [[nodiscard]] virtual std::uint8_t status() = 0;
  virtual void set_status(std::uint8_t status) = 0;
  [[nodiscard]] virtual std::uint16_t queue_size_max(std::uint16_t queue) = 0;
  [[nodiscard]] virtual bool queue_enabled(std::uint16_t queue) = 0;
  virtual void enable_queue(std::uint16_t queue, const VirtQueueConfig& config) = 0;
  virtual void notify(std::uint16_t queue) = 0;
  virtual void read_config(std::uint32_t offset, ByteSpan to) = 0;
  virtual void write_config(std::uint32_t offset, ConstByteSpan from) = 0;
  [[nodiscard]] virtual std::vector<VirtioInterrupt> interrupts() = 0;

  [[nodiscard]] bool broken() { return hardware().broken(); }
  [[nodiscard]] bool has(std::uint64_t feature) { return hardware().has(feature); }
};

class DirectEnd final : public DriverEnd {
 public:
  explicit DirectEnd(std::unique_ptr<VirtioDevice> device) : device_{std::move(device)} {
    device_->on_interrupt([this](const VirtioInterrupt& i) { interrupts_.push_back(i); });
  }
  VirtioDevice& hardware() override { return *device_; }
  std::uint64_t device_features() override { return device_->device_features(); }
  void set_driver_features(std::uint64_t features) override { device_->set_driver_features(features); }
  std::uint8_t status() override { return device_->status(); }
  void set_status(std::uint8_t status) override { device_->set_status(status); }
  std::uint16_t queue_size_max(std::uint16_t queue) override { return device_->queue_size_max(queue); }
  bool queue_enabled(std::uint16_t queue) override { return device_->queue_enabled(queue); }
  void enable_queue(std::uint16_t queue, const VirtQueueConfig& config) override {
    device_->enable_queue(queue, config);
  }
  void notify(std::uint16_t queue) override { device_->notify(queue); }
  void read_config(std::uint32_t offset, ByteSpan to) override { device_->read_config(offset, to); }
  void write_config(std::uint32_t offset, ConstByteSpan from) override {
    device_->write_config(offset, from);
  }
  std::vector<VirtioInterrupt> interrupts() override { return interrupts_; }

 private:
  std::unique_ptr<VirtioDevice> device_;
  std::vector<VirtioInterrupt> interrupts_;
};

// What both PCI interfaces share: MSI-X, whose vector 0 is for configuration changes, and n + 1 for queue n.
class PciEnd : public DriverEnd {
 public:
  static constexpr std::uint32_t first_message = 0x40;

  PciEnd(VirtioBoard& board, std::unique_ptr<VirtioDevice> device)
      : board_{&board},
        number_{spec::pci_device_of(device->port().config().requester)},
        function_{std::move(device)} {
    board.pci.plug(number_, function_);
    board.assign_resources();
    board.enable_bus_master(number_);
    for (unsigned n = 0; n <= function_.device().queue_count(); ++n) {
      const std::uint64_t entry = board.bar(number_, 1) + 16 * n;
      board.write(entry, 0xfee0'0000u);
      board.write(entry + 8, first_message + n);
      board.write(entry + 12, 0u);
    }
    board.set_config(number_, board.capability(number_, 0x11) + 2, std::uint16_t{0x8000});
  }
  VirtioDevice& hardware() override { return function_.device(); }
  VirtioPci& function() { return function_; }
  std::vector<VirtioInterrupt> interrupts() override {
    std::vector<VirtioInterrupt> seen;
    for (const bus::MessageInterrupt& message : board_->messages.seen) {
      const std::uint32_t vector = message.data - first_message;
      if (vector == 0)
        seen.push_back({VirtioInterrupt::Kind::config, 0});
      else
        seen.push_back({VirtioInterrupt::Kind::queue, static_cast<std::uint16_t>(vector - 1)});
    }
    return seen;
  }

 protected:
  [[nodiscard]] VirtioBoard& board() { return *board_; }
  [[nodiscard]] unsigned number() const { return number_; }

 private:
  VirtioBoard* board_;
  unsigned number_;
  VirtioPci function_;
};

// By the structures that the capabilities name, as drivers/virtio/virtio_pci_modern_dev.c does.
class ModernEnd final : public PciEnd {
 public:
  ModernEnd(VirtioBoard& board, std::unique_ptr<VirtioDevice> device) : PciEnd{board, std::move(device)} {
    common_ = structure(1);
    isr_ = structure(3);
    device_ = structure(4);
    notify_ = structure(2);
    multiplier_ = board.config<std::uint32_t>(number(), capability(2) + 16);
    set_config_vector();
  }
  std::uint64_t device_features() override {
    write(0, 0u);
    const std::uint64_t low = read<std::uint32_t>(4);
    write(0, 1u);
    return low | std::uint64_t{read<std::uint32_t>(4)} << 32;
  }
  void set_driver_features(std::uint64_t features) override {
    write(8, 0u);
    write(12, static_cast<std::uint32_t>(features));
    write(8, 1u);
    write(12, static_cast<std::uint32_t>(features >> 32));
  }
  std::uint8_t status() override { return read<std::uint8_t>(20); }
  void set_status(std::uint8_t status) override {
    write(20, status);
    if (status == 0) set_config_vector();
  }
  std::uint16_t queue_size_max(std::uint16_t queue) override {
    write(22, queue);
    return read<std::uint16_t>(24);
  }
  bool queue_enabled(std::uint16_t queue) override {
    write(22, queue);
    return read<std::uint16_t>(28) == 1;
  }
  void enable_queue(std::uint16_t queue, const VirtQueueConfig& config) override {
    write(22, queue);
    write(24, static_cast<std::uint16_t>(config.size));
    write(26, static_cast<std::uint16_t>(queue + 1));
    const DmaAddr areas[] = {config.descriptors, config.available, config.used};
    for (std::uint64_t at = 32; const DmaAddr area : areas) {
      write(at, static_cast<std::uint32_t>(area.value()));
      write(at + 4, static_cast<std::uint32_t>(area.value() >> 32));
      at += 8;
    }
    write(28, std::uint16_t{1});
  }
  void notify(std::uint16_t queue) override {
    write(22, queue);
    board().write(notify_ + std::uint64_t{read<std::uint16_t>(30)} * multiplier_, queue);
  }
  void read_config(std::uint32_t offset, ByteSpan to) override {
    for (std::size_t n = 0; n < to.size(); ++n)
      to[n] = std::byte{board().read<std::uint8_t>(device_ + offset + n)};
  }
  void write_config(std::uint32_t offset, ConstByteSpan from) override {
    ASSERT_TRUE(board().bus.io_write(PhysAddr{device_ + offset}, from));
  }

  [[nodiscard]] std::uint64_t common_at() const { return common_; }
  [[nodiscard]] std::uint64_t isr_at() const { return isr_; }
  // Where the capability of a structure is in configuration space.
  [[nodiscard]] std::uint32_t capability(std::uint8_t type) {
    for (unsigned n = 0;; ++n) {
      const std::uint32_t at = board().capability(number(), 9, n);
      if (at == 0 || board().config<std::uint8_t>(number(), at + 3) == type) return at;
    }
  }

 private:
  std::uint64_t structure(std::uint8_t type) {
    const std::uint32_t at = capability(type);
    EXPECT_NE(at, 0u);
    return board().bar(number(), board().config<std::uint8_t>(number(), at + 4)) +
           board().config<std::uint32_t>(number(), at + 8);
  }
  template <class T>
  T read(std::uint64_t offset) {
    return board().read<T>(common_ + offset);
  }
  template <class T>
  void write(std::uint64_t offset, T value) {
    board().write(common_ + offset, value);
  }
  void set_config_vector() { write(16, std::uint16_t{0}); }

  std::uint64_t common_ = 0;
  std::uint64_t isr_ = 0;
  std::uint64_t device_ = 0;
  std::uint64_t notify_ = 0;
  std::uint32_t multiplier_ = 0;
};

// As drivers/virtio/virtio_pci_legacy_dev.c does. A queue lies in one piece, from a page on.
class LegacyEnd final : public PciEnd {
 public:
  LegacyEnd(VirtioBoard& board, std::unique_ptr<VirtioDevice> device) : PciEnd{board, std::move(device)} {
    ports_ = static_cast<std::uint16_t>(board.bar(number(), 0));
    set_config_vector();
  }
  std::uint64_t device_features() override { return in(0, 4); }
  void set_driver_features(std::uint64_t features) override {
    out(4, 4, static_cast<std::uint32_t>(features));
  }
  std::uint8_t status() override { return static_cast<std::uint8_t>(in(18, 1)); }
  void set_status(std::uint8_t status) override {
    out(18, 1, status);
    if (status == 0) set_config_vector();
  }
  std::uint16_t queue_size_max(std::uint16_t queue) override {
    out(14, 2, queue);
    return static_cast<std::uint16_t>(in(12, 2));
  }
  bool queue_enabled(std::uint16_t queue) override {
    out(14, 2, queue);
    return in(8, 4) != 0;
  }
  void enable_queue(std::uint16_t queue, const VirtQueueConfig& config) override {
    out(14, 2, queue);
    out(22, 2, queue + 1u);
    out(8, 4, static_cast<std::uint32_t>(config.descriptors.value() >> 12));
  }
  void disable_queue(std::uint16_t queue) {
    out(14, 2, queue);
    out(8, 4, 0);
  }
  void notify(std::uint16_t queue) override { out(16, 2, queue); }
  void read_config(std::uint32_t offset, ByteSpan to) override {
    for (std::size_t n = 0; n < to.size(); ++n)
      to[n] = static_cast<std::byte>(in(static_cast<std::uint16_t>(24 + offset + n), 1));
  }
  void write_config(std::uint32_t offset, ConstByteSpan from) override {
    for (std::size_t n = 0; n < from.size(); ++n)
      out(static_cast<std::uint16_t>(24 + offset + n), 1, std::to_integer<std::uint32_t>(from[n]));
  }

 private:
  std::uint32_t in(std::uint16_t offset, unsigned bytes) {
    return board().ports.read(static_cast<std::uint16_t>(ports_ + offset), bytes);
  }
  void out(std::uint16_t offset, unsigned bytes, std::uint32_t value) {
    board().ports.write(static_cast<std::uint16_t>(ports_ + offset), bytes, value);
  }
  void set_config_vector() { out(20, 2, 0); }

  std::uint16_t ports_ = 0;
};

// A device that does not offer VERSION_1 has the legacy interface alone.
inline std::unique_ptr<DriverEnd> connect(VirtioBoard& board, Transport transport,
                                          std::unique_ptr<VirtioDevice> device) {
  if (transport == Transport::direct) return std::make_unique<DirectEnd>(std::move(device));
  if ((device->device_features() & spec::virtio_feature::version_1) == 0)
    return std::make_unique<LegacyEnd>(board, std::move(device));
  return std::make_unique<ModernEnd>(board, std::move(device));
}

}  // namespace cbit::dev
