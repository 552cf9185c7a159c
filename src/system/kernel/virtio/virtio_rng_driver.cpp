#include "kernel/virtio/virtio_rng_driver.hpp"

#include <algorithm>

namespace cbit::kernel {
namespace {

constexpr std::uint32_t data_bytes = cache_line_size;  // data[SMP_CACHE_BYTES]

}  // namespace

Result<std::unique_ptr<VirtioRngDriver>, Errno> VirtioRngDriver::probe(Kernel& kernel,
                                                                       dev::VirtioDevice& hardware,
                                                                       Device& parent,
                                                                       const VirtioDriverOptions& options) {
  std::unique_ptr<VirtioRngDriver> driver{new VirtioRngDriver{kernel, hardware, parent, options}};
  CBIT_TRY(driver->binding_.negotiate(0));
  if (const auto started = driver->start(kernel.cpu(0)); !started) {
    driver->binding_.add_status(spec::virtio_status::failed);
    return tl::unexpected{started.error()};
  }
  return driver;
}

Result<void, Errno> VirtioRngDriver::start(paging::Mmu& cpu) {
  queue_ = CBIT_TRY(Vring::create(cpu, binding_, 0, "input"));
  const auto page = binding_.kernel().mm().alloc_pages(1);
  if (!page) return tl::unexpected{Errno::enomem};
  data_ = *page;
  binding_.add_status(spec::virtio_status::driver_ok);
  live_ = true;
  return {};
}

VirtioRngDriver::~VirtioRngDriver() {
  if (live_) binding_.reset();
  queue_.reset();
  if (data_ != VirtAddr{}) binding_.kernel().mm().free_pages(data_, 1);
}

// The device's length is not believed beyond the buffer.
Result<std::uint32_t, Errno> VirtioRngDriver::request_entropy(paging::Mmu& cpu) {
  const VringBuffer buffer{binding_.kernel().mm().virt_to_phys(data_), data_bytes};
  CBIT_TRY(queue_->add(cpu, {}, {&buffer, 1}, 0));
  if (!queue_->kick(cpu)) return tl::unexpected{Errno::eio};
  const auto used = queue_->get(cpu);
  if (!used) return tl::unexpected{queue_->broken() ? Errno::eio : Errno::etimedout};
  if (used->length == 0) return tl::unexpected{Errno::eio};
  return std::min(used->length, data_bytes);
}

Result<Bytes, Errno> VirtioRngDriver::read(paging::Mmu& cpu, std::size_t bytes) {
  Bytes entropy;
  while (entropy.size() < bytes) {
    const std::uint32_t came = CBIT_TRY(request_entropy(cpu));
    Bytes part(std::min<std::size_t>(came, bytes - entropy.size()));
    if (!cpu.read(data_, part)) return tl::unexpected{Errno::efault};
    entropy.insert(entropy.end(), part.begin(), part.end());
  }
  return entropy;
}

}  // namespace cbit::kernel
