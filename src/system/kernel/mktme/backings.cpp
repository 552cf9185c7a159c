#include "kernel/mktme/backings.hpp"

#include <cerrno>
#include <utility>

namespace cbit::kernel {
namespace {

// A page of the kernel's that a backing keeps, cleared under the key.
Result<PhysAddr, int> owned_page(Kernel& kernel, mem::KeySelector key) {
  Mm& mm = kernel.mm();
  const auto page = mm.page_allocator().allocate(1);
  if (!page) return tl::unexpected{ENOMEM};
  mm.user_pages().adopt(*page, key);
  if (kernel.cpu(0).fill(mm.phys_to_virt(*page, key), page_size, std::byte{0})) return *page;
  mm.user_pages().disown(*page);
  mm.page_allocator().free(*page, 1);
  return tl::unexpected{EIO};
}

void free_owned(Kernel& kernel, const std::map<std::uint64_t, PhysAddr>& frames) {
  for (const auto& [index, page] : frames) {
    kernel.mm().user_pages().disown(page);
    kernel.mm().page_allocator().free(page, 1);
  }
}

}  // namespace

MktmeDriver::MktmeDriver(Kernel& kernel, mem::KeySelector key, std::uint64_t pages)
    : kernel_{&kernel}, key_{kernel.mm().user_pages().key_ref(key)}, pages_{pages} {}

MktmeDriver::~MktmeDriver() { free_owned(*kernel_, frames_); }

Result<PhysAddr, int> MktmeDriver::page(std::uint64_t index) {
  if (const auto known = frames_.find(index); known != frames_.end()) return known->second;
  const PhysAddr page = CBIT_TRY(owned_page(*kernel_, key()));
  frames_.emplace(index, page);
  return page;
}

CachedFile::CachedFile(Kernel& kernel, Bytes storage, mem::KeySelector key)
    : kernel_{&kernel}, key_{kernel.mm().user_pages().key_ref(key)}, storage_{std::move(storage)} {
  storage_.resize(align_up(storage_.size(), page_size));
}

CachedFile::~CachedFile() { free_owned(*kernel_, cache_); }

Result<PhysAddr, int> CachedFile::page(std::uint64_t index) {
  if (const auto known = cache_.find(index); known != cache_.end()) return known->second;
  const PhysAddr page = CBIT_TRY(owned_page(*kernel_, key()));
  cache_.emplace(index, page);
  const ConstByteSpan contents = ConstByteSpan{storage_}.subspan(index * page_size, page_size);
  if (!kernel_->cpu(0).write(kernel_->mm().phys_to_virt(page, key()), contents)) return tl::unexpected{EIO};
  return page;
}

void CachedFile::moved(PhysAddr from, PhysAddr to) {
  for (auto& [index, page] : cache_)
    if (page == from) page = to;
}

Result<void, int> CachedFile::write_back() {
  for (const auto& [index, page] : cache_) {
    const ByteSpan contents = ByteSpan{storage_}.subspan(index * page_size, page_size);
    if (!kernel_->cpu(0).read(kernel_->mm().phys_to_virt(page, key()), contents)) return tl::unexpected{EIO};
  }
  return {};
}

PmemFile::PmemFile(Kernel& kernel, mem::PhysRange frames, mem::KeySelector key)
    : kernel_{&kernel}, key_{kernel.mm().user_pages().key_ref(key)}, frames_{frames} {
  for (std::uint64_t done = 0; done < frames_.bytes; done += page_size)
    kernel.mm().user_pages().adopt(frames_.first + done, key);
}

PmemFile::~PmemFile() {
  for (std::uint64_t done = 0; done < frames_.bytes; done += page_size)
    kernel_->mm().user_pages().disown(frames_.first + done);
}

Result<PhysAddr, int> PmemFile::page(std::uint64_t index) { return frames_.first + index * page_size; }

}  // namespace cbit::kernel
