// What the steps of RDMA share: the NICs of the file with their peers, processes, and the regions by the name
// of their mapping.
#pragma once

#include <map>

#include "kernel/rdma/hca.hpp"
#include "kernel/rdma/rxe.hpp"
#include "kernel/rdma/verbs.hpp"
#include "lab/experiment/process_names.hpp"
#include "lab/experiment/run.hpp"
#include "testbed/rdma/peer.hpp"

namespace cbit::lab {

inline constexpr std::string_view rdma_kind = "rdma-nic";

class RdmaRun {
 public:
  struct Nic {
    std::unique_ptr<kernel::Hca> hca;  // or
    std::unique_ptr<kernel::Rxe> rxe;
    std::unique_ptr<testbed::RdmaPeer> peer;
    std::optional<kernel::IbvContext> verbs;  // after rdma-open
    ibv_pd pd;
    std::uint32_t cq = 0, qp = 0;

    [[nodiscard]] kernel::IbDevice& ib() const { return hca != nullptr ? hca->ib() : rxe->ib(); }
  };
  struct Region {
    std::size_t device = 0;
    ibv_mr mr;
    bool registered = false;
  };

  OrError<void> install(Run& run, std::size_t id, const kernel::HcaConfig& config, bool software);
  // StepTrouble: rdma-open was not performed, or failed.
  Result<Nic*, StepTrouble> open_nic(std::size_t device);
  // StepTrouble: the step that makes the process failed.
  Result<kernel::Process*, StepTrouble> process(std::size_t name);

  // In this order, for each is used by the next.
  dev::rdma::Fabric fabric;
  std::map<std::size_t, std::unique_ptr<kernel::Process>> processes;  // by name
  std::map<std::size_t, Nic> nics;                                    // by device
  std::map<std::size_t, Region> regions;                              // by mapping
  std::map<std::size_t, ibv_buf> shared;                              // by buffer
};

// Gives the buffer the memory that the process has at `at`.
Result<void, StepTrouble> adopt_user_memory(Run& run, std::size_t buffer, kernel::Process& process,
                                            VirtAddr at, std::uint64_t bytes);

}  // namespace cbit::lab
