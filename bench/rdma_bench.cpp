// RDMA writes of 64 KiB through the model, application to application, beside a memcpy of the same bytes: on
// a plain machine, SME, a SEV guest with memory that its NIC can reach, and a SEV guest that copies through a
// ring.
//
// Nobody listens: the machines have no explainer. Every write crosses two NICs as 16 packets.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>

#include "kernel/rdma/bounce_ring.hpp"
#include "kernel/rdma/hca.hpp"

namespace cbit {
namespace {

constexpr std::uint64_t bytes = 64 * 1024;
constexpr unsigned access = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE;

struct Host {
  Host(dev::rdma::Fabric& fabric, Platform platform, KernelVersion version)
      : machine{machine::Machine::create({.platform = platform, .memory_bytes = 256 << 20}).value()},
        kernel{kernel::Kernel::boot(*machine, {.version = version, .debug = false}).value()},
        process{kernel::Process::create(*kernel, {.cap_ipc_lock = true}).value()},
        hca{kernel::Hca::probe(*kernel, fabric, {}).value()},
        verbs{hca->ib(), *process, kernel->cpu(0)},
        pd{verbs.ibv_alloc_parent_domain(verbs.ibv_alloc_pd(), true).value()},
        cq{verbs.ibv_create_cq(16).value()},
        qp{verbs.ibv_create_qp(pd, {.send_cq = cq, .recv_cq = cq}).value()},
        buffer{verbs.ibv_alloc_buf(pd, bytes).value()},
        mr{verbs.ibv_reg_buf_mr(pd, buffer, access).value()} {
    CBIT_ASSERT(process->write(buffer.addr, pattern_bytes(bytes, 1)));
  }
  void connect(const Host& peer) {
    ibv_qp_attr attr{.qp_state = IBV_QPS_INIT, .qp_access_flags = IBV_ACCESS_REMOTE_WRITE};
    attr.path_mtu = IBV_MTU_4096;
    attr.ah_attr = peer.verbs.port_address();
    attr.dest_qp_num = peer.qp;
    const auto to = [&](ibv_qp_state state, unsigned mask) {
      attr.qp_state = state;
      CBIT_ASSERT(verbs.ibv_modify_qp(qp, attr, IBV_QP_STATE | mask));
    };
    to(IBV_QPS_INIT, IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);
    to(IBV_QPS_RTR, IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
                        IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER);
    to(IBV_QPS_RTS,
       IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY | IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC);
  }

  std::unique_ptr<machine::Machine> machine;
  std::unique_ptr<kernel::Kernel> kernel;
  std::unique_ptr<kernel::Process> process;
  std::unique_ptr<kernel::Hca> hca;
  kernel::IbvContext verbs;
  ibv_pd pd;
  std::uint32_t cq, qp;
  ibv_buf buffer;
  ibv_mr mr;
};

void rdma_write(benchmark::State& state, Platform platform, KernelVersion version, bool copy) {
  dev::rdma::Fabric fabric;
  Host host{fabric, platform, version}, peer{fabric, Platform::plain, KernelVersion::v6_1};
  host.connect(peer);
  peer.connect(host);
  const VirtAddr own = host.process->mmap(bytes).value();
  CBIT_ASSERT(host.process->write(own, pattern_bytes(bytes, 2)));
  const auto ring = kernel::BounceRing::create(host.verbs, host.pd, 1, bytes).value();
  const kernel::BounceRing::Slot slot = *ring->acquire();
  ibv_send_wr wr{.sg_list = {{copy ? slot.at.value() : host.buffer.addr.value(), bytes,
                              copy ? ring->mr().lkey : host.mr.lkey}},
                 .opcode = IBV_WR_RDMA_WRITE};
  wr.rdma = {peer.mr.addr.value(), peer.mr.rkey};
  for (auto _ : state) {
    if (copy) CBIT_ASSERT(ring->copy_in(slot, own, bytes));
    CBIT_ASSERT(host.verbs.ibv_post_send(host.qp, wr));
    CBIT_ASSERT(host.verbs.ibv_poll_cq(host.cq, 1)->front().status == IBV_WC_SUCCESS);
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * bytes));
}

BENCHMARK_CAPTURE(rdma_write, plain, Platform::plain, KernelVersion::v6_1, false);
BENCHMARK_CAPTURE(rdma_write, sme, Platform::sme, KernelVersion::v6_1, false);
BENCHMARK_CAPTURE(rdma_write, sev_shared_region, Platform::sev, KernelVersion::v7_2, false);
BENCHMARK_CAPTURE(rdma_write, sev_with_copy, Platform::sev, KernelVersion::v7_2, true);

void memcpy_of_the_same_bytes(benchmark::State& state) {
  // At pages, as the model's: how far apart the two lie makes up to twenty times in a copy of the library's.
  struct alignas(page_size) Pages {
    std::array<std::byte, bytes> data;
  };
  const auto from = std::make_unique<Pages>(), to = std::make_unique<Pages>();
  std::ranges::copy(pattern_bytes(bytes, 1), from->data.begin());
  for (auto _ : state) {
    std::memcpy(to->data.data(), from->data.data(), bytes);
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * bytes));
}
BENCHMARK(memcpy_of_the_same_bytes);

}  // namespace
}  // namespace cbit
