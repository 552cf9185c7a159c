// The dma-buf heap /dev/dma_heap/system_cc_shared: memory that both the guest and its devices may reach
// [7.1]. drivers/dma-buf/heaps/system_heap.c.
#pragma once

#include <memory>
#include <vector>

#include "kernel/mm/process.hpp"

namespace cbit::kernel {

// A buffer of the heap, as its file descriptor stands for it. Mappings of it end before it does.
class DmaBuf {
 public:
  // Opens the heap and allocates: pages are zeroed (GFP_ZERO) and then decrypted, so that the first reader
  // on SME and SEV finds the ciphertext of zeros.
  //   ENOENT  the heap does not exist: before [7.1], and where memory is not encrypted. An SME host has it,
  //           but before [7.3] its devices' attachments fail (DMA_ATTR_CC_SHARED)
  //   EINVAL  no bytes
  //   ENOMEM  no pages, or a page could not be converted (it is lost then)
  static Result<std::unique_ptr<DmaBuf>, Errno> allocate(Kernel& kernel, paging::Mmu& cpu,
                                                         std::uint64_t bytes);
  // Encrypts the pages again; those that refuse are lost.
  ~DmaBuf();
  DmaBuf(const DmaBuf&) = delete;
  DmaBuf& operator=(const DmaBuf&) = delete;

  [[nodiscard]] std::uint64_t bytes() const { return pages_.size() * page_size; }
  [[nodiscard]] const std::vector<PhysAddr>& pages() const { return pages_; }
  // mmap() of the descriptor: vm_page_prot goes through pgprot_decrypted().
  Result<VirtAddr, Errno> mmap(Process& process) const;
  // With what a device's attachment maps the pages.
  [[nodiscard]] static DmaAttrs attachment_attrs() { return dma_attr::cc_shared; }

 private:
  DmaBuf(Kernel& kernel, paging::Mmu& cpu) : kernel_{&kernel}, cpu_{&cpu} {}

  struct Chunk {
    VirtAddr at;
    std::uint64_t pages = 0;
  };

  Kernel* kernel_;
  paging::Mmu* cpu_;
  std::vector<Chunk> chunks_;
  std::vector<PhysAddr> pages_;
};

}  // namespace cbit::kernel
