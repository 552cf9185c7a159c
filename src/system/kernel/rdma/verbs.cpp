#include "kernel/rdma/verbs.hpp"

#include <algorithm>

namespace cbit::kernel {
namespace {

constexpr unsigned known_access = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ |
                                  IBV_ACCESS_REMOTE_ATOMIC | IBV_ACCESS_ZERO_BASED | IBV_ACCESS_ON_DEMAND |
                                  IBV_ACCESS_RELAXED_ORDERING;

// ib_check_mr_access(): who lets others write has to be able to write.
bool access_ok(unsigned access) {
  if ((access & ~known_access) != 0) return false;
  const bool remote = (access & (IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_ATOMIC)) != 0;
  return !remote || (access & IBV_ACCESS_LOCAL_WRITE) != 0;
}

tl::unexpected<Errno> failed(Errno error) { return tl::unexpected{error}; }

template <class T>
Result<T, Errno> with_errno(Result<T, int> result) {
  if (!result) return failed(Errno{result.error()});
  if constexpr (std::is_void_v<T>)
    return {};
  else
    return *std::move(result);
}

}  // namespace

IbvContext::IbvContext(IbDevice& device, Process& process, paging::Mmu& cpu)
    : device_{&device}, process_{&process}, cpu_{&cpu} {}

IbvContext::~IbvContext() {
  while (!qps_.empty()) (void)ibv_destroy_qp(qps_.begin()->first);
  while (!regions_.empty()) (void)ibv_dereg_mr({.lkey = regions_.begin()->first});
  while (!cqs_.empty()) (void)ibv_destroy_cq(cqs_.begin()->first);
  while (!shared_buffers_.empty())
    (void)ibv_free_buf({.addr = shared_buffers_.begin()->first, .cc_shared = true});
}

// ---- protection domains ----------------------------------------------------------------------------------

ibv_pd IbvContext::ibv_alloc_pd() {
  const ibv_pd pd{device_->new_protection_domain()};
  domains_[pd.handle] = {.protection = pd.handle};
  return pd;
}

Result<ibv_pd, Errno> IbvContext::ibv_alloc_parent_domain(ibv_pd pd, bool allow_cc_unprotected_alloc) {
  Domain parent = CBIT_TRY(domain(pd));
  parent.allow_cc_unprotected_alloc = allow_cc_unprotected_alloc;
  const ibv_pd made{device_->new_protection_domain()};
  domains_[made.handle] = parent;
  return made;
}

Result<void, Errno> IbvContext::ibv_dealloc_pd(ibv_pd pd) {
  const Domain closed = CBIT_TRY(domain(pd));
  const bool is_child = std::ranges::any_of(domains_, [&](const auto& other) {
    return other.first != pd.handle && other.second.protection == pd.handle;
  });
  const auto uses = [&](std::uint32_t protection) { return protection == pd.handle; };
  if (closed.protection == pd.handle &&
      (is_child || std::ranges::any_of(qps_, [&](const auto& qp) { return uses(qp.second); }) ||
       std::ranges::any_of(regions_, [&](const auto& mr) { return uses(mr.second.pd); })))
    return failed(Errno::ebusy);
  domains_.erase(pd.handle);
  return {};
}

Result<IbvContext::Domain, Errno> IbvContext::domain(ibv_pd pd) const {
  const auto found = domains_.find(pd.handle);
  if (found == domains_.end()) return failed(Errno::einval);
  return found->second;
}

// ---- memory regions --------------------------------------------------------------------------------------

void IbvContext::report_refused(VirtAddr at, std::uint64_t length, const UmemRefusal& why) {
  device_->kernel().machine().tracer().emit(cpu_->agent(),
                                            MrRefused{.device = device_->name_id(),
                                                      .first = at,
                                                      .bytes = length,
                                                      .error = static_cast<std::uint32_t>(why.error),
                                                      .reason = why.reason});
}

Result<ibv_mr, Errno> IbvContext::ibv_reg_mr(ibv_pd pd, VirtAddr addr, std::uint64_t length,
                                             unsigned access) {
  const Domain owner = CBIT_TRY(domain(pd));
  if (!access_ok(access) || length > device_->query_device_ex().max_mr_size) return failed(Errno::einval);
  auto umem = IbUmem::get(*device_, *process_, *cpu_, addr, length, access);
  if (!umem) {
    report_refused(addr, length, umem.error());
    return failed(umem.error().error);
  }
  const VirtAddr first = (access & IBV_ACCESS_ZERO_BASED) != 0 ? VirtAddr{0} : addr;
  return register_umem(owner.protection, std::move(*umem), first, access, nullptr);
}

Result<ibv_mr, Errno> IbvContext::ibv_reg_dmabuf_mr(ibv_pd pd, const DmaBuf& buffer, std::uint64_t offset,
                                                    std::uint64_t length, VirtAddr iova, unsigned access) {
  const Domain owner = CBIT_TRY(domain(pd));
  if (!access_ok(access)) return failed(Errno::einval);
  if (device_->ib_uses_virt_dma()) return failed(Errno::eopnotsupp);
  auto umem = IbUmem::get_dmabuf(*device_, buffer, *cpu_, offset, length);
  if (!umem) {
    report_refused(iova, length, umem.error());
    return failed(umem.error().error);
  }
  return register_umem(owner.protection, std::move(*umem), iova, access, &buffer);
}

Result<ibv_mr, Errno> IbvContext::register_umem(std::uint32_t protection, std::unique_ptr<IbUmem> umem,
                                                VirtAddr at, unsigned access, const DmaBuf* buffer) {
  const std::vector<dev::rdma::Segment> segments = umem->segments();
  const DmaReach reach = umem->reach();
  const std::uint32_t key = CBIT_TRY(with_errno(device_->engine().register_region({.pd = protection,
                                                                                   .access = access,
                                                                                   .first = at.value(),
                                                                                   .bytes = umem->bytes(),
                                                                                   .segments = segments})));
  device_->kernel().machine().tracer().emit(cpu_->agent(),
                                            MrRegistered{.device = device_->name_id(),
                                                         .lkey = key,
                                                         .rkey = key,
                                                         .first = at,
                                                         .dma = DmaAddr{segments.front().at},
                                                         .bytes = umem->bytes(),
                                                         .segments = segments.size(),
                                                         .path = reach.path,
                                                         .encrypted = reach.encrypted,
                                                         .software = device_->ib_uses_virt_dma()});
  const ibv_mr mr{at, umem->bytes(), key, key};
  regions_[key] = {protection, std::move(umem), buffer};
  return mr;
}

std::uint64_t IbvContext::bytes_copied_back() {
  Swiotlb* const pool = device_->kernel().dma().swiotlb();
  return pool == nullptr ? 0 : pool->usage().bytes_bounced;
}

Result<void, Errno> IbvContext::ibv_dereg_mr(const ibv_mr& mr) {
  const auto found = regions_.find(mr.lkey);
  if (found == regions_.end()) return failed(Errno::einval);
  device_->engine().deregister_region(mr.lkey);
  const std::uint64_t before = bytes_copied_back();
  regions_.erase(found);
  device_->kernel().machine().tracer().emit(
      cpu_->agent(), MrDeregistered{device_->name_id(), mr.lkey, bytes_copied_back() - before});
  return {};
}

// ---- buffers that a device can reach ---------------------------------------------------------------------

Result<ibv_buf, Errno> IbvContext::ibv_alloc_buf(ibv_pd pd, std::uint64_t length) {
  const Domain owner = CBIT_TRY(domain(pd));
  const bool bounces = (device_->query_device_ex().device_cap_flags_ex & IBV_DEVICE_CC_DMA_BOUNCE) != 0;
  if (!bounces || !owner.allow_cc_unprotected_alloc) {
    const VirtAddr at = CBIT_TRY(with_errno(process_->mmap(length)));
    return ibv_buf{at, length, false};
  }
  auto buffer = CBIT_TRY(DmaBuf::allocate(device_->kernel(), *cpu_, length));
  const VirtAddr at = CBIT_TRY(buffer->mmap(*process_));
  shared_buffers_[at] = std::move(buffer);
  return ibv_buf{at, length, true};
}

Result<void, Errno> IbvContext::ibv_free_buf(const ibv_buf& buffer) {
  if (!buffer.cc_shared) return with_errno(process_->munmap(buffer.addr, buffer.length));
  const auto found = shared_buffers_.find(buffer.addr);
  if (found == shared_buffers_.end()) return failed(Errno::einval);
  const DmaBuf* const memory = found->second.get();
  if (std::ranges::any_of(regions_, [&](const auto& mr) { return mr.second.buffer == memory; }))
    return failed(Errno::ebusy);
  process_->space().unmap(buffer.addr, memory->pages().size());
  shared_buffers_.erase(found);
  return {};
}

Result<ibv_mr, Errno> IbvContext::ibv_reg_buf_mr(ibv_pd pd, const ibv_buf& buffer, unsigned access) {
  if (!buffer.cc_shared) return ibv_reg_mr(pd, buffer.addr, buffer.length, access);
  const auto found = shared_buffers_.find(buffer.addr);
  if (found == shared_buffers_.end()) return failed(Errno::einval);
  return ibv_reg_dmabuf_mr(pd, *found->second, 0, buffer.length, buffer.addr, access);
}

// ---- completion queues -----------------------------------------------------------------------------------

Result<std::vector<dev::rdma::Segment>, Errno> IbvContext::make_ring(CqRing& ring, CqMemory memory) {
  const std::uint64_t bytes = align_up(std::uint64_t{ring.entries} * sizeof(dev::rdma::Cqe), page_size);
  Kernel& kernel = device_->kernel();
  if (memory == CqMemory::user) {
    ring.at = CBIT_TRY(with_errno(process_->mmap(bytes)));
    auto umem = IbUmem::get(*device_, *process_, *cpu_, ring.at, bytes, IBV_ACCESS_LOCAL_WRITE);
    if (!umem) {
      report_refused(ring.at, bytes, umem.error());
      return failed(umem.error().error);
    }
    ring.umem = std::move(*umem);
    return ring.umem->segments();
  }
  if (device_->ib_uses_virt_dma()) {  // vmalloc_user()
    ring.kernel = kernel.mm().alloc_pages(bytes / page_size);
    if (!ring.kernel || !cpu_->fill(*ring.kernel, bytes, std::byte{0})) return failed(Errno::enomem);
    const auto at = process_->space().remap_pfn_range(
        kernel.mm().virt_to_phys(*ring.kernel), bytes / page_size,
        kernel.cc().has(CcAttr::mem_encrypt) ? mem::KeySelector{1} : mem::KeySelector{0});
    if (!at) return failed(Errno::enomem);
    ring.at = *at;
    return std::vector{dev::rdma::Segment{ring.kernel->value(), bytes}};
  }
  ring.coherent = kernel.dma().alloc(*cpu_, *device_->dma_device(), bytes);
  if (!ring.coherent) return failed(Errno::enomem);
  ring.at = CBIT_TRY(kernel.dma().mmap(*device_->dma_device(), process_->space(), *ring.coherent));
  return std::vector{dev::rdma::Segment{ring.coherent->dma.value(), bytes}};
}

void IbvContext::free_ring(CqRing& ring) {
  const std::uint64_t bytes = align_up(std::uint64_t{ring.entries} * sizeof(dev::rdma::Cqe), page_size);
  ring.umem.reset();
  if (ring.coherent || ring.kernel) process_->space().unmap(ring.at, bytes / page_size);
  if (ring.coherent) device_->kernel().dma().free(*cpu_, *device_->dma_device(), *ring.coherent);
  if (ring.kernel) device_->kernel().mm().free_pages(*ring.kernel, bytes / page_size);
}

Result<std::uint32_t, Errno> IbvContext::ibv_create_cq(std::uint32_t cqe, CqMemory memory) {
  if (cqe == 0 || cqe > device_->query_device_ex().max_cqe) return failed(Errno::einval);
  CqRing ring{.entries = cqe};
  const auto segments = make_ring(ring, memory);
  const auto cq = segments ? with_errno(device_->engine().create_cq(cqe, *segments))
                           : Result<std::uint32_t, Errno>{failed(segments.error())};
  if (!cq) {
    free_ring(ring);
    return cq;
  }
  cqs_[*cq] = std::move(ring);
  return *cq;
}

Result<void, Errno> IbvContext::ibv_destroy_cq(std::uint32_t cq) {
  const auto found = cqs_.find(cq);
  if (found == cqs_.end()) return failed(Errno::einval);
  CBIT_TRY(with_errno(device_->engine().destroy_cq(cq)));
  free_ring(found->second);
  cqs_.erase(found);
  return {};
}

Result<std::vector<ibv_wc>, Errno> IbvContext::ibv_poll_cq(std::uint32_t cq, std::size_t entries) {
  const auto found = cqs_.find(cq);
  if (found == cqs_.end()) return failed(Errno::einval);
  CqRing& ring = found->second;
  std::vector<ibv_wc> completions;
  while (completions.size() < entries) {
    dev::rdma::Cqe cqe;
    const VirtAddr at = ring.at + ring.consumed % ring.entries * sizeof cqe;
    if (!process_->read(at, std::as_writable_bytes(std::span{&cqe, 1}))) return failed(Errno::efault);
    if (cqe.generation != static_cast<std::uint32_t>(ring.consumed / ring.entries) + 1) break;
    ++ring.consumed;
    completions.push_back({.wr_id = cqe.wr_id,
                           .status = static_cast<ibv_wc_status>(cqe.status),
                           .opcode = static_cast<ibv_wc_opcode>(cqe.opcode),
                           .byte_len = cqe.byte_len,
                           .imm_data = cqe.imm_data,
                           .qp_num = cqe.qp_num,
                           .src_qp = cqe.src_qp,
                           .wc_flags = cqe.wc_flags});
  }
  device_->engine().consumed(cq, ring.consumed);
  if (completions.empty()) {
    device_->engine().tick();
    kick();
  }
  return completions;
}

// ---- queue pairs -----------------------------------------------------------------------------------------

Result<std::uint32_t, Errno> IbvContext::ibv_create_qp(ibv_pd pd, const ibv_qp_init_attr& init) {
  const Domain owner = CBIT_TRY(domain(pd));
  if (!cqs_.contains(init.send_cq) || !cqs_.contains(init.recv_cq)) return failed(Errno::einval);
  const std::uint32_t qp = CBIT_TRY(with_errno(device_->engine().create_qp({.type = init.qp_type,
                                                                            .pd = owner.protection,
                                                                            .send_cq = init.send_cq,
                                                                            .recv_cq = init.recv_cq,
                                                                            .cap = init.cap,
                                                                            .sq_sig_all = init.sq_sig_all})));
  qps_[qp] = owner.protection;
  return qp;
}

Result<void, Errno> IbvContext::ibv_modify_qp(std::uint32_t qp, const ibv_qp_attr& attr, unsigned attr_mask) {
  if (!qps_.contains(qp)) return failed(Errno::einval);
  CBIT_TRY(with_errno(device_->engine().modify_qp(qp, attr, attr_mask)));
  kick();
  return {};
}

Result<ibv_qp_attr, Errno> IbvContext::ibv_query_qp(std::uint32_t qp) const {
  if (!qps_.contains(qp)) return failed(Errno::einval);
  const dev::rdma::QueuePair& found = *device_->engine().find_qp(qp);
  ibv_qp_attr attr = found.attr;
  attr.qp_state = attr.cur_qp_state = found.state;
  attr.sq_draining = found.state == IBV_QPS_SQD && found.has_sent() ? 1 : 0;
  return attr;
}

Result<void, Errno> IbvContext::ibv_destroy_qp(std::uint32_t qp) {
  if (qps_.erase(qp) == 0) return failed(Errno::einval);
  return with_errno(device_->engine().destroy_qp(qp));
}

Result<void, Errno> IbvContext::ibv_post_send(std::uint32_t qp, const ibv_send_wr& wr) {
  if (!qps_.contains(qp)) return failed(Errno::einval);
  Bytes inline_data;
  if ((wr.send_flags & IBV_SEND_INLINE) != 0) {
    for (const ibv_sge& entry : wr.sg_list) {
      if (entry.length > device_->query_device_ex().max_inline_data) return failed(Errno::einval);
      Bytes part(entry.length);
      if (!process_->read(VirtAddr{entry.addr}, part)) return failed(Errno::efault);
      inline_data.insert(inline_data.end(), part.begin(), part.end());
    }
  }
  CBIT_TRY(with_errno(device_->engine().post_send(qp, wr, std::move(inline_data))));
  kick();
  return {};
}

Result<void, Errno> IbvContext::ibv_post_recv(std::uint32_t qp, const ibv_recv_wr& wr) {
  if (!qps_.contains(qp)) return failed(Errno::einval);
  return with_errno(device_->engine().post_recv(qp, wr));
}

std::optional<ibv_async_event> IbvContext::ibv_get_async_event() {
  return device_->engine().take_async_event();
}

}  // namespace cbit::kernel
