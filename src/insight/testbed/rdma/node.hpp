// One end of an RDMA connection: a machine with its kernel, a NIC, an application with a buffer, and the way
// in which the application makes the buffer reachable. What the table, the commands and the benchmarks run
// on.
#pragma once

#include <memory>

#include "kernel/mm/process.hpp"
#include "kernel/rdma/bounce_ring.hpp"
#include "kernel/rdma/hca.hpp"
#include "kernel/rdma/rxe.hpp"
#include "testbed/testbed.hpp"

namespace cbit::testbed {

enum class RdmaMethod : std::uint8_t {
  user_mr,      // ibv_reg_mr() of the application's memory
  shared_heap,  // the application works in memory of ibv_alloc_buf(): the heap system_cc_shared
  bounce_ring,  // the application copies through a registered ring of such memory
  rxe,          // ibv_reg_mr() of the application's memory, with software RDMA
};

inline constexpr Word<RdmaMethod> rdma_method_words[] = {{"user-mr", RdmaMethod::user_mr},
                                                         {"shared-heap", RdmaMethod::shared_heap},
                                                         {"bounce-ring", RdmaMethod::bounce_ring},
                                                         {"rxe", RdmaMethod::rxe}};

struct RdmaNodeConfig {
  TestbedConfig bed;
  unsigned mask_bits = 64;  // of the NIC, streaming and coherent
  RdmaMethod method = RdmaMethod::user_mr;
  std::uint64_t bytes = 4096;  // of the buffer
};

// What a run has cost so far, boot not counted.
struct RdmaCost {
  std::uint64_t bytes_bounced = 0;  // through the pool, both ways
  std::uint64_t bytes_copied = 0;   // by the application, through its ring
  std::uint64_t copies = 0;         // CPU copies, of the kernel and the application
  std::uint64_t flushes = 0;        // of TLBs, on all CPUs
  std::uint64_t pages_converted = 0;
  std::uint64_t virtual_ns = 0;
};

class RdmaNode {
 public:
  // The application's buffer exists and holds zeros; nothing is registered. `fabric` outlives the node;
  // `sink` gets the events. Errors: those of the Testbed; usage where the machine has no room.
  static OrError<std::unique_ptr<RdmaNode>> create(const RdmaNodeConfig& config, dev::rdma::Fabric& fabric,
                                                   EventSink* sink = nullptr);
  ~RdmaNode();

  // Makes the buffer reachable. The errno is that of ibv_reg_mr() and its like.
  Result<void, kernel::Errno> register_buffer();
  void deregister();
  // A queue pair in RTS on both sides. Both buffers are registered.
  Result<void, kernel::Errno> connect(RdmaNode& peer);

  // The application's own loads and stores in its buffer.
  [[nodiscard]] Bytes read();
  void write(ConstByteSpan bytes);
  // What the method asks of the application before the NIC reads the buffer, and after it was written.
  Result<void, kernel::Errno> before_send();
  Result<void, kernel::Errno> after_receive();

  // One request of `bytes` bytes between the two buffers, to its completion. IBV_WC_RETRY_EXC_ERR also where
  // none came at all.
  Result<ibv_wc_status, kernel::Errno> transfer(RdmaNode& peer, ibv_wr_opcode opcode, std::uint64_t bytes);
  Result<void, kernel::Errno> post_receive(std::uint64_t bytes);
  // A completion; nullopt: none, after as many polls as there are retries.
  std::optional<ibv_wc> wait();

  [[nodiscard]] Testbed& bed() { return *bed_; }
  [[nodiscard]] kernel::IbvContext& verbs() { return *verbs_; }
  [[nodiscard]] const RdmaNodeConfig& config() const { return config_; }
  [[nodiscard]] RdmaCost cost();

 private:
  explicit RdmaNode(const RdmaNodeConfig& config) : config_{config} {}
  OrError<void> set_up(dev::rdma::Fabric& fabric, EventSink* sink);
  // What the NIC reads and writes: the buffer, or a slot of the ring.
  [[nodiscard]] VirtAddr target() const { return slot_ ? slot_->at : buffer_; }

  RdmaNodeConfig config_;
  std::unique_ptr<Testbed> bed_;
  std::unique_ptr<kernel::Process> process_;
  std::unique_ptr<kernel::Hca> hca_;
  std::unique_ptr<kernel::Rxe> rxe_;
  std::optional<kernel::IbvContext> verbs_;
  ibv_pd pd_;
  std::uint32_t cq_ = 0, qp_ = 0;
  VirtAddr buffer_;
  std::optional<ibv_buf> shared_;
  std::unique_ptr<kernel::BounceRing> ring_;
  std::optional<kernel::BounceRing::Slot> slot_;
  std::optional<ibv_mr> mr_;
  kernel::ConversionCost boot_conversions_;
  watch::CostCounts boot_counts_;
};

}  // namespace cbit::testbed
