#include "kernel/virtio/virtio_net_driver.hpp"

namespace cbit::kernel {
namespace {

constexpr std::uint64_t virtio_net_driver_features =
    dev::virtio_net_feature::mac | dev::virtio_net_feature::status;
constexpr std::uint64_t slot_bytes = 2048;
constexpr std::uint32_t legacy_header_bytes = 10;

}  // namespace

Result<std::unique_ptr<VirtioNetDriver>, Errno> VirtioNetDriver::probe(Kernel& kernel,
                                                                       dev::VirtioDevice& hardware,
                                                                       Device& parent,
                                                                       const VirtioDriverOptions& options) {
  std::unique_ptr<VirtioNetDriver> driver{new VirtioNetDriver{kernel, hardware, parent, options}};
  CBIT_TRY(driver->binding_.negotiate(virtio_net_driver_features));
  if (const auto started = driver->start(kernel.cpu(0)); !started) {
    driver->binding_.add_status(spec::virtio_status::failed);
    return tl::unexpected{started.error()};
  }
  return driver;
}

Result<void, Errno> VirtioNetDriver::start(paging::Mmu& cpu) {
  rx_ = CBIT_TRY(Vring::create(cpu, binding_, 0, "input.0"));
  tx_ = CBIT_TRY(Vring::create(cpu, binding_, 1, "output.0"));
  const std::uint64_t pages = align_up((1 + rx_->size()) * slot_bytes, page_size) / page_size;
  const auto at = binding_.kernel().mm().alloc_pages(pages);
  if (!at) return tl::unexpected{Errno::enomem};
  buffers_ = *at;
  buffer_pages_ = pages;
  if (!cpu.fill(buffers_, pages * page_size, std::byte{0})) return tl::unexpected{Errno::efault};
  binding_.add_status(spec::virtio_status::driver_ok);
  live_ = true;
  for (std::uint32_t slot = 0; slot < rx_->size(); ++slot) CBIT_TRY(add_receive_buffer(cpu, slot));
  rx_->kick(cpu);
  return {};
}

VirtioNetDriver::~VirtioNetDriver() {
  if (live_) binding_.reset();
  rx_.reset();
  tx_.reset();
  if (buffer_pages_ != 0) binding_.kernel().mm().free_pages(buffers_, buffer_pages_);
}

std::uint32_t VirtioNetDriver::header_bytes() const {
  return binding_.has(spec::virtio_feature::version_1) ? sizeof(dev::VirtioNetHdr) : legacy_header_bytes;
}

Result<void, Errno> VirtioNetDriver::add_receive_buffer(paging::Mmu& cpu, std::uint32_t slot) {
  const VirtAddr at = buffers_ + (1 + slot) * slot_bytes;
  const VringBuffer buffer{binding_.kernel().mm().virt_to_phys(at), header_bytes() + dev::ethernet_frame_max};
  return rx_->add(cpu, {}, {&buffer, 1}, slot);
}

Result<void, Errno> VirtioNetDriver::send(paging::Mmu& cpu, VirtAddr frame, std::uint32_t bytes) {
  if (bytes < dev::ethernet_header_bytes || bytes > dev::ethernet_frame_max)
    return tl::unexpected{Errno::einval};
  const Mm& mm = binding_.kernel().mm();
  const VringBuffer out[] = {{mm.virt_to_phys(buffers_), header_bytes()}, {mm.virt_to_phys(frame), bytes}};
  CBIT_TRY(tx_->add(cpu, out, {}, 0));
  if (!tx_->kick(cpu)) return tl::unexpected{Errno::eio};
  if (tx_->get(cpu)) return {};
  return tl::unexpected{tx_->broken() ? Errno::eio : Errno::etimedout};
}

// receive_small: a length that no frame has is a mistake of the device ("short packet", "rx error").
std::optional<Bytes> VirtioNetDriver::receive(paging::Mmu& cpu) {
  while (const auto used = rx_->get(cpu)) {
    const VirtAddr at = buffers_ + (1 + used->token) * slot_bytes;
    const bool sane = used->length >= header_bytes() + dev::ethernet_header_bytes &&
                      used->length <= header_bytes() + dev::ethernet_frame_max;
    Bytes frame(sane ? used->length - header_bytes() : 0);
    const bool read = sane && cpu.read(at + header_bytes(), frame).has_value();
    if (add_receive_buffer(cpu, used->token)) rx_->kick(cpu);
    if (read) return frame;
    binding_.print("virtio_net: short packet or rx error");
  }
  return std::nullopt;
}

}  // namespace cbit::kernel
