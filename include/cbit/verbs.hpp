// cbit as a library for RDMA programs: verbs by libibverbs' names, on any platform, with the real ciphertext.
//
// An RdmaHost is a machine with a model kernel, an RDMA NIC and one process; an RdmaNetwork joins hosts. The
// program under test calls verbs on its host, works in its memory with read() and write(), and asks
// problems() why bytes did not arrive. Delivery happens within the calls; a poll that finds nothing is a
// time-out.
//
//   cbit::RdmaNetwork network;
//   cbit::RdmaHost host{network, {.platform = cbit::Platform::sev}};
//   const auto pd = host.ibv_alloc_pd();
//   const auto buffer = host.mmap(4096);
//   const auto mr = host.ibv_reg_mr(pd, buffer, 4096, cbit::IBV_ACCESS_LOCAL_WRITE);
//   EXPECT_TRUE(mr.has_value());
//
// Errors: bad options throw std::invalid_argument, whose text names the option and the remedy. A verb that
// fails returns nullopt, or the errno where libibverbs returns one; error() is the errno of the last failure.
// Access outside of the process' memory throws std::out_of_range. A machine without memory for the process,
// or for its mmap(), throws std::bad_alloc, and any call may when the host's memory is used up. Nothing else
// throws.
// Threading: one thread for a network with its hosts.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cbit/kernel_config.hpp"
#include "cbit/platform.hpp"
#include "cbit/verbs_types.hpp"

namespace cbit {

class RdmaNetwork {
 public:
  RdmaNetwork();
  ~RdmaNetwork();
  RdmaNetwork(RdmaNetwork&&) noexcept;
  RdmaNetwork& operator=(RdmaNetwork&&) = delete;

 private:
  friend class RdmaHost;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

class RdmaHost {
 public:
  struct Options {
    Platform platform = Platform::plain;
    KernelVersion kernel = KernelVersion::v6_1;
    IommuMode iommu = IommuMode::none;
    bool software = false;                      // rxe over a plain network adapter
    unsigned mask_bits = 64;                    // the NIC's DMA mask, 32 .. 64
    std::uint64_t memory_bytes = 512ull << 20;  // 16 MiB .. 1 TiB
    unsigned c_bit = 47;
    std::uint64_t memlock_bytes = 8ull << 20;  // RLIMIT_MEMLOCK of the process
    bool cap_ipc_lock = false;
    std::uint64_t seed = 1;
  };

  // A cause of the catalogue (docs/causes.md).
  struct Problem {
    std::string name;  // "mr-on-private-memory"
    std::string title;
    std::string remedy;
  };

  // The network outlives the host.
  RdmaHost(RdmaNetwork& network, const Options& options);
  ~RdmaHost();
  RdmaHost(RdmaHost&&) noexcept;
  RdmaHost& operator=(RdmaHost&&) = delete;

  // ---- the process' memory ----
  // Zeroed pages. A mapping of 0 bytes throws std::invalid_argument.
  [[nodiscard]] VirtAddr mmap(std::uint64_t bytes);
  [[nodiscard]] std::vector<std::byte> read(VirtAddr from, std::size_t bytes);
  void write(VirtAddr to, std::span<const std::byte> bytes);

  // ---- verbs ----
  [[nodiscard]] std::uint32_t port_address() const;  // for ibv_qp_attr::ah_attr of the other side
  [[nodiscard]] ibv_device_attr ibv_query_device_ex() const;
  [[nodiscard]] ibv_pd ibv_alloc_pd();
  [[nodiscard]] std::optional<ibv_pd> ibv_alloc_parent_domain(ibv_pd pd, bool allow_cc_unprotected_alloc);
  int ibv_dealloc_pd(ibv_pd pd);
  [[nodiscard]] std::optional<ibv_mr> ibv_reg_mr(ibv_pd pd, VirtAddr addr, std::uint64_t length,
                                                 unsigned access);
  int ibv_dereg_mr(const ibv_mr& mr);
  [[nodiscard]] std::optional<ibv_buf> ibv_alloc_buf(ibv_pd pd, std::uint64_t length);
  int ibv_free_buf(const ibv_buf& buffer);
  [[nodiscard]] std::optional<ibv_mr> ibv_reg_buf_mr(ibv_pd pd, const ibv_buf& buffer, unsigned access);
  [[nodiscard]] std::optional<std::uint32_t> ibv_create_cq(std::uint32_t cqe,
                                                           CqMemory memory = CqMemory::coherent);
  int ibv_destroy_cq(std::uint32_t cq);
  [[nodiscard]] std::optional<std::uint32_t> ibv_create_qp(ibv_pd pd, const ibv_qp_init_attr& init);
  int ibv_modify_qp(std::uint32_t qp, const ibv_qp_attr& attr, unsigned attr_mask);
  int ibv_destroy_qp(std::uint32_t qp);
  int ibv_post_send(std::uint32_t qp, const ibv_send_wr& wr);
  int ibv_post_recv(std::uint32_t qp, const ibv_recv_wr& wr);
  [[nodiscard]] std::vector<ibv_wc> ibv_poll_cq(std::uint32_t cq, std::size_t entries);
  [[nodiscard]] std::optional<ibv_async_event> ibv_get_async_event();
  [[nodiscard]] int error() const;

  // ---- looking ----
  [[nodiscard]] std::uint64_t bytes_bounced() const;
  [[nodiscard]] std::vector<Problem> problems() const;
  [[nodiscard]] bool has_problem(std::string_view name) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace cbit
