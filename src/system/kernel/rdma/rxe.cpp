#include "kernel/rdma/rxe.hpp"

#include "base/assert.hpp"

namespace cbit::kernel {
namespace {

// A packet of the largest MTU with its headers takes two pages.
constexpr std::uint64_t skb_pages = 2;
constexpr std::uint64_t skb_bytes = skb_pages * page_size;

}  // namespace

Result<std::unique_ptr<Rxe>, Errno> Rxe::create(Kernel& kernel, dev::rdma::Fabric& fabric,
                                                const RxeConfig& config) {
  std::unique_ptr<Rxe> rxe{new Rxe{kernel}};
  rxe->device_ = &kernel.add_device({.name = config.nic});
  CBIT_TRY(kernel.dma().set_mask(*rxe->device_, bit_mask(config.mask_bits)));
  CBIT_TRY(kernel.dma().set_coherent_mask(*rxe->device_, bit_mask(config.mask_bits)));
  rxe->nic_ = std::make_unique<dev::rdma::PacketNic>(
      kernel.machine().bus(), bus::DmaPortConfig{.device = config.nic, .requester = rxe->device_->requester},
      fabric);
  Rxe* const self = rxe.get();
  rxe->nic_->on_received(
      [self](dev::rdma::PortAddress source, std::uint64_t bytes) { self->received(source, bytes); });
  Tracer& tracer = kernel.machine().tracer();
  rxe->engine_ = std::make_unique<dev::rdma::Engine>(
      rxe->memory_, tracer,
      dev::rdma::EngineConfig{
          .device = tracer.intern(config.name), .agent = kernel.cpu(0).agent(), .limits = {}},
      [self](dev::rdma::PortAddress to, const dev::rdma::Packet& packet, mem::Snapshot&& payload) {
        dev::rdma::WirePacket wire;
        wire.put(packet, std::move(payload));
        self->transmit(to, wire.joined());
      });
  rxe->ib_ =
      std::make_unique<IbDevice>(kernel, config.name, *rxe->engine_, fabric, rxe->nic_->address(), nullptr);

  const auto skb = kernel.mm().alloc_pages(skb_pages);
  if (!skb) return tl::unexpected{Errno::enomem};
  rxe->skb_ = *skb;
  for (std::uint32_t i = 0; i < config.receive_buffers; ++i) {
    const auto at = kernel.mm().alloc_pages(skb_pages);
    if (!at) return tl::unexpected{Errno::enomem};
    ReceiveBuffer buffer{*at};
    const bool posted = rxe->post(buffer);
    rxe->receives_.push_back(buffer);
    if (!posted) return tl::unexpected{Errno::eio};
  }
  return rxe;
}

Rxe::~Rxe() {
  nic_.reset();
  paging::Mmu& cpu = kernel_->cpu(0);
  for (const ReceiveBuffer& buffer : receives_) {
    if (buffer.dma != dma_mapping_error)
      kernel_->dma().unmap_single(cpu, *device_, buffer.dma, skb_bytes, DmaDirection::from_device);
    kernel_->mm().free_pages(buffer.at, skb_pages);
  }
  if (skb_ != VirtAddr{}) kernel_->mm().free_pages(skb_, skb_pages);
}

bool Rxe::post(ReceiveBuffer& buffer) {
  Dma& dma = kernel_->dma();
  buffer.dma = dma.map_single(kernel_->cpu(0), *device_, buffer.at, skb_bytes, DmaDirection::from_device);
  if (dma.mapping_error(*device_, buffer.dma)) return false;
  nic_->post_receive(buffer.dma, skb_bytes);
  return true;
}

// rxe_send(): an skb, mapped by the network adapter's driver for as long as it takes to send it.
void Rxe::transmit(dev::rdma::PortAddress to, ConstByteSpan packet) {
  paging::Mmu& cpu = kernel_->cpu(0);
  Dma& dma = kernel_->dma();
  const auto written = cpu.write(skb_, packet);
  CBIT_ASSERT(written);  // the kernel's own page
  const DmaAddr at = dma.map_single(cpu, *device_, skb_, packet.size(), DmaDirection::to_device);
  if (dma.mapping_error(*device_, at)) {
    ++dropped_;
    return;
  }
  if (!nic_->transmit(to, at, packet.size())) ++dropped_;
  dma.unmap_single(cpu, *device_, at, packet.size(), DmaDirection::to_device);
}

void Rxe::received(dev::rdma::PortAddress source, std::uint64_t bytes) {
  paging::Mmu& cpu = kernel_->cpu(0);
  ReceiveBuffer buffer = receives_.front();
  receives_.pop_front();
  kernel_->dma().unmap_single(cpu, *device_, buffer.dma, skb_bytes, DmaDirection::from_device);
  UnfilledBytes packet(bytes);
  const auto read = cpu.read(buffer.at, packet);
  CBIT_ASSERT(read);
  if (post(buffer)) {
    receives_.push_back(buffer);
  } else {
    kernel_->mm().free_pages(buffer.at, skb_pages);  // one buffer fewer from now on
    ++dropped_;
  }
  engine_->receive(source, dev::rdma::WirePacket::of(std::move(packet)));
}

}  // namespace cbit::kernel
