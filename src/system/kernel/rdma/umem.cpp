#include "kernel/rdma/umem.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace cbit::kernel {
namespace {

constexpr std::string_view source = "drivers/infiniband/core/umem.c: ib_umem_get";

tl::unexpected<UmemRefusal> refuse(Errno error, std::string_view reason) {
  return tl::unexpected{UmemRefusal{error, reason}};
}

void step(IbDevice& device, const paging::Mmu& cpu, std::string text) {
  device.kernel().machine().tracer().emit(cpu.agent(), StepTaken{std::move(text), source});
}

// sg_alloc_append_table_from_pages(): contiguous pages are one entry, up to the device's longest segment.
std::vector<ScatterEntry> append_table(const std::vector<PhysAddr>& pages, std::uint64_t max_segment) {
  const std::uint64_t longest = std::max(page_size, align_down(max_segment, page_size));
  std::vector<ScatterEntry> table;
  for (const PhysAddr page : pages) {
    if (!table.empty() && table.back().phys + table.back().length == page &&
        table.back().length + page_size <= longest)
      table.back().length += page_size;
    else
      table.push_back({.phys = page, .length = page_size});
  }
  return table;
}

Result<void, UmemRefusal> check(IbDevice& device, const Process& process, const paging::Mmu& cpu, VirtAddr at,
                                std::uint64_t bytes, unsigned access) {
  const std::uint64_t end = at.value() + bytes;
  if (end < at.value() || align_up(end, page_size) < end || bytes == 0) return refuse(Errno::einval, "range");
  if (device.cc_dma_bounce()) {
    step(device, cpu, "cc_dma_bounce: streaming DMA of user memory would bounce: -EOPNOTSUPP");
    return refuse(Errno::eopnotsupp, "cc-dma-bounce");
  }
  if (process.limits().memlock_bytes == 0 && !process.limits().cap_ipc_lock)
    return refuse(Errno::eperm, "mlock-right");
  if ((access & IBV_ACCESS_ON_DEMAND) != 0) return refuse(Errno::eopnotsupp, "on-demand");
  return {};
}

// include/rdma/ib_verbs.h
bool ib_access_writable(unsigned access) {
  return (access & (IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_ATOMIC |
                    IBV_ACCESS_MW_BIND)) != 0;
}

}  // namespace

Result<std::unique_ptr<IbUmem>, UmemRefusal> IbUmem::get(IbDevice& device, Process& process, paging::Mmu& cpu,
                                                         VirtAddr at, std::uint64_t bytes, unsigned access) {
  CBIT_TRY(check(device, process, cpu, at, bytes, access));
  const std::uint64_t pages = (align_up(at.value() + bytes, page_size) - at.page().value()) / page_size;
  if (!process.account_pinned(pages)) return refuse(Errno::enomem, "memlock");
  const bool writable = ib_access_writable(access);
  // FOLL_FORCE lets a region that the device only reads be pinned for writing where the process may not
  // write. [6.2] It is pinned for reading.
  const bool for_reading = !writable && device.kernel().dma().config().version >= KernelVersion::v6_6;
  auto pinned = process.pin_user_pages(at.page(), pages, !for_reading);
  if (!pinned) {
    process.unaccount_pinned(pages);
    return refuse(Errno{pinned.error()}, "pin");
  }
  std::unique_ptr<IbUmem> umem{new IbUmem{device, cpu, at.page_offset(), bytes}};
  umem->process_ = &process;
  umem->writable_ = writable;
  umem->pages_ = std::move(*pinned);
  umem->sg_ = append_table(umem->pages_, device.ib_dma_max_seg_size());
  const std::string_view flags = writable ? "FOLL_WRITE | " : for_reading ? "" : "FOLL_WRITE | FOLL_FORCE | ";
  step(device, cpu,
       fmt::format("{} pages pinned ({}FOLL_LONGTERM) in {} entries, mapped once for both directions", pages,
                   flags, umem->sg_.size()));
  CBIT_TRY(umem->map((access & IBV_ACCESS_RELAXED_ORDERING) != 0 ? dma_attr::weak_ordering : DmaAttrs{}));
  return umem;
}

Result<std::unique_ptr<IbUmem>, UmemRefusal> IbUmem::get_dmabuf(IbDevice& device, const DmaBuf& buffer,
                                                                paging::Mmu& cpu, std::uint64_t offset,
                                                                std::uint64_t bytes) {
  if (bytes == 0 || offset > buffer.bytes() || bytes > buffer.bytes() - offset)
    return refuse(Errno::einval, "range");
  std::unique_ptr<IbUmem> umem{new IbUmem{device, cpu, offset, bytes}};
  umem->sg_ = append_table(buffer.pages(), device.ib_dma_max_seg_size());
  CBIT_TRY(umem->map(buffer.attachment_attrs()));
  return umem;
}

Result<void, UmemRefusal> IbUmem::map(DmaAttrs attrs) {
  attrs_ = attrs;
  const auto mapped = device_->ib_dma_map_sgtable(*cpu_, sg_, attrs);
  if (!mapped) return refuse(mapped.error(), "map");
  mapped_ = *mapped;
  return {};
}

IbUmem::~IbUmem() {
  if (mapped_ != 0) device_->ib_dma_unmap_sgtable(*cpu_, sg_, attrs_);
  if (process_ == nullptr) return;
  process_->unpin_user_pages(pages_, writable_ && mapped_ != 0);
  process_->unaccount_pinned(pages_.size());
}

std::vector<dev::rdma::Segment> IbUmem::segments() const {
  std::vector<dev::rdma::Segment> segments;
  std::uint64_t skip = first_offset_, left = bytes_;
  for (const ScatterEntry& entry : std::span{sg_}.first(mapped_)) {
    const std::uint64_t skipped = std::min(skip, entry.dma_length);
    skip -= skipped;
    const std::uint64_t n = std::min(entry.dma_length - skipped, left);
    if (n == 0) continue;
    segments.push_back({entry.dma.value() + skipped, n});
    left -= n;
  }
  return segments;
}

DmaReach IbUmem::reach() const { return device_->reach(sg_.front().dma); }

}  // namespace cbit::kernel
