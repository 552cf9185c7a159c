// A virtio 9P transport in front of a server of one shared folder. include/uapi/linux/virtio_9p.h; the queue
// and its size are QEMU's (hw/9pfs/virtio-9p-device.c).
//
// A request without a 9P header, or without room for an answer that tells an error, stops the device.
// Whatever else is wrong with it is answered (p9/server.hpp). Threading: one thread.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "dev/p9/server.hpp"
#include "dev/virtio/virtio_device.hpp"
#include "spec/virtio_9p.hpp"

namespace cbit::dev {

struct Virtio9pOptions {
  VirtioOptions virtio;
  std::uint16_t queue_size = 128;  // a power of two
  std::string tag = "share";       // what the guest mounts it by; 1 to 32 bytes
  std::size_t fids_max = P9Server::default_fids_max;
  // What the server's answers go through; none: they go straight to the guest.
  std::function<Bytes(const std::function<Bytes()>& answer)> through;
};

class Virtio9p final : public VirtioDevice {
 public:
  // The folder outlives the device. Errors (usage): options that contradict each other, a queue size that is
  // no power of two, a tag that is empty or too long.
  static OrError<std::unique_ptr<Virtio9p>> create(bus::SystemBus& bus, bus::DmaPortConfig port,
                                                   const SharedFolder& folder,
                                                   const Virtio9pOptions& options);
  [[nodiscard]] std::uint16_t device_id() const override { return spec::virtio_id_9p; }
  [[nodiscard]] const P9Server& server() const { return server_; }

 protected:
  OrTrouble<void> kicked(std::uint16_t queue) override;
  [[nodiscard]] ConstByteSpan config_space() const override { return config_; }
  void on_reset() override { server_.reset(); }

 private:
  Virtio9p(bus::SystemBus& bus, bus::DmaPortConfig port, const SharedFolder& folder,
           const Virtio9pOptions& options);
  OrTrouble<std::uint32_t> handle(const VirtChain& chain);

  P9Server server_;
  std::function<Bytes(const std::function<Bytes()>&)> through_;
  Bytes config_;
};

}  // namespace cbit::dev
