// A virtio console: one port without a name, or several with names and control messages (MULTIPORT).
// VIRTIO 1.2, 5.3.
//
// Output goes to the port's peer when the transmit queue is notified. Input goes into receive buffers when
// there is some (input_available()) and whenever the driver adds buffers; it waits in the peer meanwhile, as
// it does for a port that the guest has not opened. A driver that does not take MULTIPORT has port 0 alone.
//
// A writable buffer in a transmit queue, a readable one in a receive queue, and a control message that is
// cut short stop the device; a message about a port that is not there is ignored.
// Threading: one thread, that of the machine.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "dev/console_peer.hpp"
#include "dev/virtio/virtio_device.hpp"
#include "spec/virtio_console.hpp"

namespace cbit::dev {

struct VirtioConsolePort {
  std::string name;      // what the guest finds it by, /dev/virtio-ports/NAME; at most 255 bytes
  bool console = false;  // the guest runs a terminal on it, hvcN, rather than a raw port
};

struct VirtioConsoleOptions {
  VirtioOptions virtio;
  std::uint16_t queue_size = 64;         // of all queues; a power of two
  std::vector<VirtioConsolePort> ports;  // none: a single console without MULTIPORT; at most 31
  std::uint16_t columns = 0;             // 0: the size is not told
  std::uint16_t rows = 0;
};

class VirtioConsole final : public VirtioDevice {
 public:
  static constexpr std::size_t ports_max = 31;

  // Errors (usage): options that contradict each other, a queue size that is no power of two, too many ports,
  // names that are too long.
  static OrError<std::unique_ptr<VirtioConsole>> create(bus::SystemBus& bus, bus::DmaPortConfig port,
                                                        const VirtioConsoleOptions& options);
  [[nodiscard]] std::uint16_t device_id() const override { return spec::virtio_id_console; }

  [[nodiscard]] std::size_t port_count() const { return ports_.size(); }
  // nullptr, as at first: output is lost. The peer outlives the device, or is taken away.
  void set_peer(std::size_t port, ConsolePeer* peer) { ports_[port].peer = peer; }
  // The peer has input that it did not have.
  void input_available(std::size_t port);
  // The emergency write: a driver that has no queues yet, or none any more. Little: one byte.
  void write_config(std::uint32_t offset, ConstByteSpan from) override;

 protected:
  OrTrouble<void> kicked(std::uint16_t queue) override;
  [[nodiscard]] ConstByteSpan config_space() const override { return bytes_of(config_); }
  void on_reset() override;
  // Peers are the host's.
  void transfer_type(StateStream& s) override;

 private:
  struct Port {
    VirtioConsolePort options;
    ConsolePeer* peer = nullptr;
    bool open = false;  // by the guest
    Bytes waiting;      // input that no buffer was there for
  };

  VirtioConsole(bus::SystemBus& bus, bus::DmaPortConfig port, const VirtioConsoleOptions& options);
  [[nodiscard]] bool multiport() const { return has(spec::virtio_console_feature::multiport); }
  // Which port a queue belongs to; the number of ports: none.
  [[nodiscard]] std::size_t port_of(std::uint16_t queue) const;

  OrTrouble<std::uint32_t> transmit(Port& port, const VirtChain& chain);
  OrTrouble<void> fill(std::size_t port);
  // Into the next buffer: how much of it fitted.
  OrTrouble<std::size_t> deliver(VirtQueue& ring, ConstByteSpan text);
  OrTrouble<std::uint32_t> control(const VirtChain& chain);
  void answer(const spec::VirtioConsoleControl& message);
  void say(const spec::VirtioConsoleControl& message, std::string_view name = {});
  OrTrouble<void> flush_control();

  spec::VirtioConsoleConfig config_;
  std::vector<Port> ports_;
  std::deque<Bytes> unsent_;  // control messages without a buffer
};

}  // namespace cbit::dev
