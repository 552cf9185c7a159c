// The public face of verbs: include/cbit/verbs.hpp.
#include <fmt/format.h>

#include <algorithm>
#include <new>
#include <stdexcept>

#include "api/bed.hpp"
#include "cbit/verbs.hpp"
#include "kernel/rdma/hca.hpp"
#include "kernel/rdma/rxe.hpp"
#include "kernel/rdma/verbs.hpp"
#include "testbed/testbed.hpp"

namespace cbit {

struct RdmaNetwork::Impl {
  dev::rdma::Fabric fabric;
};

RdmaNetwork::RdmaNetwork() : impl_{std::make_unique<Impl>()} {}
RdmaNetwork::~RdmaNetwork() = default;
RdmaNetwork::RdmaNetwork(RdmaNetwork&&) noexcept = default;

struct RdmaHost::Impl {
  std::unique_ptr<testbed::Testbed> bed;
  std::unique_ptr<kernel::Process> process;
  std::unique_ptr<kernel::Hca> hca;
  std::unique_ptr<kernel::Rxe> rxe;
  std::optional<kernel::IbvContext> verbs;
  int error = 0;

  kernel::IbDevice& set_up_device(dev::rdma::Fabric& fabric, const Options& options) {
    const auto checked = [](auto made) {
      if (!made) throw std::invalid_argument{"mask_bits: the NIC's DMA mask is refused; use 32 bits or more"};
      return std::move(*made);
    };
    if (options.software) {
      rxe = checked(kernel::Rxe::create(bed->kernel(), fabric, {.mask_bits = options.mask_bits}));
      return rxe->ib();
    }
    hca = checked(kernel::Hca::probe(
        bed->kernel(), fabric, {.mask_bits = options.mask_bits, .coherent_mask_bits = options.mask_bits}));
    return hca->ib();
  }
  template <class T>
  std::optional<T> value(Result<T, kernel::Errno> result) {
    if (result) return *std::move(result);
    error = static_cast<int>(result.error());
    return std::nullopt;
  }
  int done(const Result<void, kernel::Errno>& result) {
    if (result) return 0;
    return error = static_cast<int>(result.error());
  }
};

RdmaHost::RdmaHost(RdmaNetwork& network, const Options& options) : impl_{std::make_unique<Impl>()} {
  if (options.mask_bits < 32 || options.mask_bits > 64)
    throw std::invalid_argument{"mask_bits: a NIC's DMA mask has 32 to 64 bits"};
  auto bed = testbed::Testbed::create(api::bed_config(options));
  if (!bed) api::refuse(bed.error());
  impl_->bed = std::move(*bed);
  auto process = kernel::Process::create(impl_->bed->kernel(), {options.memlock_bytes, options.cap_ipc_lock});
  if (!process) throw std::bad_alloc{};
  impl_->process = std::move(*process);
  kernel::IbDevice& device = impl_->set_up_device(network.impl_->fabric, options);
  impl_->verbs.emplace(device, *impl_->process, impl_->bed->kernel().cpu(0));
}

RdmaHost::~RdmaHost() = default;
RdmaHost::RdmaHost(RdmaHost&&) noexcept = default;

VirtAddr RdmaHost::mmap(std::uint64_t bytes) {
  if (bytes == 0) throw std::invalid_argument{"mmap of 0 bytes; ask for 1 or more"};
  const auto at = impl_->process->mmap(bytes);
  if (!at) throw std::bad_alloc{};
  return *at;
}

std::vector<std::byte> RdmaHost::read(VirtAddr from, std::size_t bytes) {
  auto data = api::room_for(*impl_->bed, bytes);
  if (!data || !impl_->process->read(from, *data)) throw std::out_of_range{"not the process' memory"};
  return *std::move(data);
}

void RdmaHost::write(VirtAddr to, std::span<const std::byte> bytes) {
  if (!impl_->process->write(to, bytes)) throw std::out_of_range{"not the process' memory"};
}

std::uint32_t RdmaHost::port_address() const { return impl_->verbs->port_address(); }
ibv_device_attr RdmaHost::ibv_query_device_ex() const { return impl_->verbs->ibv_query_device_ex(); }
ibv_pd RdmaHost::ibv_alloc_pd() { return impl_->verbs->ibv_alloc_pd(); }
std::optional<ibv_pd> RdmaHost::ibv_alloc_parent_domain(ibv_pd pd, bool allow_cc_unprotected_alloc) {
  return impl_->value(impl_->verbs->ibv_alloc_parent_domain(pd, allow_cc_unprotected_alloc));
}
int RdmaHost::ibv_dealloc_pd(ibv_pd pd) { return impl_->done(impl_->verbs->ibv_dealloc_pd(pd)); }
std::optional<ibv_mr> RdmaHost::ibv_reg_mr(ibv_pd pd, VirtAddr addr, std::uint64_t length, unsigned access) {
  return impl_->value(impl_->verbs->ibv_reg_mr(pd, addr, length, access));
}
int RdmaHost::ibv_dereg_mr(const ibv_mr& mr) { return impl_->done(impl_->verbs->ibv_dereg_mr(mr)); }
std::optional<ibv_buf> RdmaHost::ibv_alloc_buf(ibv_pd pd, std::uint64_t length) {
  return impl_->value(impl_->verbs->ibv_alloc_buf(pd, length));
}
int RdmaHost::ibv_free_buf(const ibv_buf& buffer) { return impl_->done(impl_->verbs->ibv_free_buf(buffer)); }
std::optional<ibv_mr> RdmaHost::ibv_reg_buf_mr(ibv_pd pd, const ibv_buf& buffer, unsigned access) {
  return impl_->value(impl_->verbs->ibv_reg_buf_mr(pd, buffer, access));
}
std::optional<std::uint32_t> RdmaHost::ibv_create_cq(std::uint32_t cqe, CqMemory memory) {
  return impl_->value(impl_->verbs->ibv_create_cq(cqe, memory));
}
int RdmaHost::ibv_destroy_cq(std::uint32_t cq) { return impl_->done(impl_->verbs->ibv_destroy_cq(cq)); }
std::optional<std::uint32_t> RdmaHost::ibv_create_qp(ibv_pd pd, const ibv_qp_init_attr& init) {
  return impl_->value(impl_->verbs->ibv_create_qp(pd, init));
}
int RdmaHost::ibv_modify_qp(std::uint32_t qp, const ibv_qp_attr& attr, unsigned attr_mask) {
  return impl_->done(impl_->verbs->ibv_modify_qp(qp, attr, attr_mask));
}
int RdmaHost::ibv_destroy_qp(std::uint32_t qp) { return impl_->done(impl_->verbs->ibv_destroy_qp(qp)); }
int RdmaHost::ibv_post_send(std::uint32_t qp, const ibv_send_wr& wr) {
  return impl_->done(impl_->verbs->ibv_post_send(qp, wr));
}
int RdmaHost::ibv_post_recv(std::uint32_t qp, const ibv_recv_wr& wr) {
  return impl_->done(impl_->verbs->ibv_post_recv(qp, wr));
}
std::vector<ibv_wc> RdmaHost::ibv_poll_cq(std::uint32_t cq, std::size_t entries) {
  return impl_->value(impl_->verbs->ibv_poll_cq(cq, entries)).value_or(std::vector<ibv_wc>{});
}
std::optional<ibv_async_event> RdmaHost::ibv_get_async_event() { return impl_->verbs->ibv_get_async_event(); }
int RdmaHost::error() const { return impl_->error; }

std::uint64_t RdmaHost::bytes_bounced() const {
  const watch::CostCounts& counts = impl_->bed->counters().counts();
  return counts.bounced_to_pool.bytes + counts.bounced_from_pool.bytes;
}

std::vector<RdmaHost::Problem> RdmaHost::problems() const {
  std::vector<Problem> problems;
  for (const watch::Cause& cause : impl_->bed->explainer().causes())
    problems.push_back({std::string{cause.info->name}, std::string{cause.info->title},
                        std::string{cause.remedies.front().text}});
  return problems;
}

bool RdmaHost::has_problem(std::string_view name) const {
  return std::ranges::any_of(impl_->bed->explainer().causes(),
                             [&](const watch::Cause& cause) { return cause.info->name == name; });
}

}  // namespace cbit
