#include "kernel/rdma/dma_heap.hpp"

namespace cbit::kernel {
namespace {

// The heap's orders 8, 4 and 0: the largest block that is not longer than what is left.
std::uint64_t chunk_of(std::uint64_t pages) {
  if (pages >= 256) return 256;
  return pages >= 16 ? 16 : 1;
}

}  // namespace

Result<std::unique_ptr<DmaBuf>, Errno> DmaBuf::allocate(Kernel& kernel, paging::Mmu& cpu,
                                                        std::uint64_t bytes) {
  if (kernel.dma().config().version < KernelVersion::v7_2 || !kernel.cc().has(CcAttr::mem_encrypt))
    return tl::unexpected{Errno::enoent};
  if (bytes == 0) return tl::unexpected{Errno::einval};
  Mm& mm = kernel.mm();
  std::unique_ptr<DmaBuf> buffer{new DmaBuf{kernel, cpu}};
  const paging::SiteScope site{cpu, kernel.machine().tracer().intern("system_heap_allocate")};
  for (std::uint64_t left = align_up(bytes, page_size) / page_size; left != 0;) {
    const std::uint64_t count = chunk_of(left);
    const auto at = mm.alloc_pages(count);
    if (!at || !cpu.fill(*at, count * page_size, std::byte{0}) || !mm.set_memory_decrypted(cpu, *at, count))
      return tl::unexpected{Errno::enomem};
    buffer->chunks_.push_back({*at, count});
    for (std::uint64_t i = 0; i < count; ++i) buffer->pages_.push_back(mm.virt_to_phys(*at + i * page_size));
    left -= count;
  }
  return buffer;
}

DmaBuf::~DmaBuf() {
  Mm& mm = kernel_->mm();
  for (const Chunk& chunk : chunks_)
    if (mm.set_memory_encrypted(*cpu_, chunk.at, chunk.pages)) mm.free_pages(chunk.at, chunk.pages);
}

Result<VirtAddr, Errno> DmaBuf::mmap(Process& process) const {
  const auto at = process.space().map_pages(pages_, mem::KeySelector{0});
  if (!at) return tl::unexpected{Errno::enomem};
  return *at;
}

}  // namespace cbit::kernel
