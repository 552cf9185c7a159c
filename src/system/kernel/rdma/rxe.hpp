// Software RDMA over a plain network adapter: drivers/infiniband/sw/rxe.
//
// The transport runs on a CPU, which reads and writes regions through the kernel's mapping, so no encryption
// is in its way. Only packets (skbs) go through the DMA API, one streaming mapping each, and bounce where
// those do.
#pragma once

#include "dev/rdma/packet_nic.hpp"
#include "kernel/rdma/ib_device.hpp"

namespace cbit::kernel {

struct RxeConfig {
  std::string name = "rxe0";
  std::string nic = "0000:00:04.0";  // the network adapter below
  unsigned mask_bits = 64;
  std::uint32_t receive_buffers = 64;  // 1 ..
};

class Rxe {
 public:
  // ENOMEM: no pages for receive buffers; EIO: a mask that is not supported, or buffers that cannot be
  // mapped.
  static Result<std::unique_ptr<Rxe>, Errno> create(Kernel& kernel, dev::rdma::Fabric& fabric,
                                                    const RxeConfig& config);
  ~Rxe();
  Rxe(const Rxe&) = delete;
  Rxe& operator=(const Rxe&) = delete;

  [[nodiscard]] IbDevice& ib() { return *ib_; }
  // The network adapter's.
  [[nodiscard]] Device& device() { return *device_; }
  [[nodiscard]] bus::DmaPort& port() { return nic_->port(); }
  // Packets that could not be mapped or sent, and are lost.
  [[nodiscard]] std::uint64_t dropped() const { return dropped_; }

 private:
  struct CpuMemory final : dev::rdma::RegionMemory {
    explicit CpuMemory(paging::Mmu& mmu) : cpu{&mmu} {}
    Result<void> read(std::uint64_t at, ByteSpan to) override { return cpu->read(VirtAddr{at}, to); }
    Result<void, std::uint64_t> write(std::uint64_t at, ConstByteSpan from) override {
      const auto done = cpu->write(VirtAddr{at}, from);
      if (!done) return tl::unexpected{done.error().address - at};
      return {};
    }
    paging::Mmu* cpu;
  };
  struct ReceiveBuffer {
    VirtAddr at;
    DmaAddr dma = dma_mapping_error;
  };

  explicit Rxe(Kernel& kernel) : kernel_{&kernel}, memory_{kernel.cpu(0)} {}
  bool post(ReceiveBuffer& buffer);
  void transmit(dev::rdma::PortAddress to, ConstByteSpan packet);
  void received(dev::rdma::PortAddress source, std::uint64_t bytes);

  Kernel* kernel_;
  CpuMemory memory_;
  Device* device_ = nullptr;
  std::unique_ptr<dev::rdma::PacketNic> nic_;
  std::unique_ptr<dev::rdma::Engine> engine_;
  std::unique_ptr<IbDevice> ib_;
  VirtAddr skb_;                        // the packet on its way out
  std::deque<ReceiveBuffer> receives_;  // in the order in which the adapter fills them
  std::uint64_t dropped_ = 0;
};

}  // namespace cbit::kernel
