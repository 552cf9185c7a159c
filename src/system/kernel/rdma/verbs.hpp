// Verbs: what a process does with an RDMA device, by libibverbs' names; user library, uverbs and driver in
// one.
//
// A context belongs to one process. Addresses are the process' own. Completion queues are rings in memory
// that the device writes by DMA and the process polls with its loads; send and receive queues are written to
// the device's doorbell page and need no memory.
// Errors are errno values as libibverbs sets them. Threading: one thread.
#pragma once

#include <map>
#include <optional>

#include "cbit/verbs_types.hpp"
#include "kernel/rdma/umem.hpp"

namespace cbit::kernel {

class IbvContext {
 public:
  // ibv_open_device(). All outlive the context; `cpu` executes the system calls.
  IbvContext(IbDevice& device, Process& process, paging::Mmu& cpu);
  // Destroys what is left, in the order in which the kernel does.
  ~IbvContext();
  IbvContext(const IbvContext&) = delete;
  IbvContext& operator=(const IbvContext&) = delete;

  [[nodiscard]] IbDevice& device() { return *device_; }
  [[nodiscard]] Process& process() { return *process_; }
  // The port's address, for ibv_qp_attr::ah_attr of the other side.
  [[nodiscard]] std::uint32_t port_address() const { return device_->address(); }

  [[nodiscard]] ibv_device_attr ibv_query_device_ex() const { return device_->query_device_ex(); }

  ibv_pd ibv_alloc_pd();
  // EBUSY while regions, or queue pairs, are in it.
  Result<void, Errno> ibv_dealloc_pd(ibv_pd pd);
  // IBV_PARENT_DOMAIN_INIT_ATTR_ALLOW_CC_UNPROTECTED_ALLOC: the process agrees that buffers of
  // ibv_alloc_buf() may be readable by the host.
  Result<ibv_pd, Errno> ibv_alloc_parent_domain(ibv_pd pd, bool allow_cc_unprotected_alloc);

  // EINVAL: unknown domain or access, remote write or atomic without local write, and see IbUmem.
  Result<ibv_mr, Errno> ibv_reg_mr(ibv_pd pd, VirtAddr addr, std::uint64_t length, unsigned access);
  // The region's addresses begin at `iova`. EOPNOTSUPP for software devices.
  Result<ibv_mr, Errno> ibv_reg_dmabuf_mr(ibv_pd pd, const DmaBuf& buffer, std::uint64_t offset,
                                          std::uint64_t length, VirtAddr iova, unsigned access);
  // EINVAL: no such region.
  Result<void, Errno> ibv_dereg_mr(const ibv_mr& mr);

  // Memory for regions: from the heap where the device reports IBV_DEVICE_CC_DMA_BOUNCE and the domain allows
  // it, else the process' own.
  Result<ibv_buf, Errno> ibv_alloc_buf(ibv_pd pd, std::uint64_t length);
  // EBUSY while a region is in it.
  Result<void, Errno> ibv_free_buf(const ibv_buf& buffer);
  // ibv_reg_mr_ex() with IBV_REG_MR_MASK_BUF.
  Result<ibv_mr, Errno> ibv_reg_buf_mr(ibv_pd pd, const ibv_buf& buffer, unsigned access);

  Result<std::uint32_t, Errno> ibv_create_cq(std::uint32_t cqe, CqMemory memory = CqMemory::coherent);
  Result<void, Errno> ibv_destroy_cq(std::uint32_t cq);
  Result<std::uint32_t, Errno> ibv_create_qp(ibv_pd pd, const ibv_qp_init_attr& init);
  Result<void, Errno> ibv_modify_qp(std::uint32_t qp, const ibv_qp_attr& attr, unsigned attr_mask);
  Result<ibv_qp_attr, Errno> ibv_query_qp(std::uint32_t qp) const;
  Result<void, Errno> ibv_destroy_qp(std::uint32_t qp);

  // EFAULT: an IBV_SEND_INLINE request names memory that the process does not have.
  Result<void, Errno> ibv_post_send(std::uint32_t qp, const ibv_send_wr& wr);
  Result<void, Errno> ibv_post_recv(std::uint32_t qp, const ibv_recv_wr& wr);
  // Up to `entries` completions. A poll that finds none is time for the device's time-outs.
  Result<std::vector<ibv_wc>, Errno> ibv_poll_cq(std::uint32_t cq, std::size_t entries);
  // nullopt: nothing has happened.
  std::optional<ibv_async_event> ibv_get_async_event();

 private:
  struct Region {
    std::uint32_t pd = 0;
    std::unique_ptr<IbUmem> umem;
    const DmaBuf* buffer = nullptr;
  };
  struct CqRing {
    VirtAddr at;  // in the process
    std::uint32_t entries = 0;
    std::uint64_t consumed = 0;
    std::optional<CoherentBuffer> coherent;
    std::optional<VirtAddr> kernel;  // of a software device
    std::unique_ptr<IbUmem> umem;
  };
  struct Domain {
    std::uint32_t protection = 0;  // what the device compares: a parent domain is its child's
    bool allow_cc_unprotected_alloc = false;
  };

  [[nodiscard]] Result<Domain, Errno> domain(ibv_pd pd) const;
  Result<ibv_mr, Errno> register_umem(std::uint32_t protection, std::unique_ptr<IbUmem> umem, VirtAddr at,
                                      unsigned access, const DmaBuf* buffer);
  void report_refused(VirtAddr at, std::uint64_t length, const UmemRefusal& why);
  Result<std::vector<dev::rdma::Segment>, Errno> make_ring(CqRing& ring, CqMemory memory);
  void free_ring(CqRing& ring);
  [[nodiscard]] std::uint64_t bytes_copied_back();
  // Lets the network run, after the device was given something to do.
  void kick() { device_->fabric().run(); }

  IbDevice* device_;
  Process* process_;
  paging::Mmu* cpu_;
  std::map<std::uint32_t, Domain> domains_;
  std::map<std::uint32_t, Region> regions_;  // by key
  std::map<std::uint32_t, CqRing> cqs_;
  std::map<std::uint32_t, std::uint32_t> qps_;  // to their protection domains
  std::map<VirtAddr, std::unique_ptr<DmaBuf>> shared_buffers_;
};

}  // namespace cbit::kernel
