#include "lab/experiment/rdma_run.hpp"

#include "lab/experiment/user_memory.hpp"

namespace cbit::lab {

OrError<void> RdmaRun::install(Run& run, std::size_t id, const kernel::HcaConfig& config, bool software) {
  Nic& nic = nics[id];
  if (software) {
    auto rxe = kernel::Rxe::create(
        run.kernel(), fabric,
        {.name = "rxe-" + config.name, .nic = config.name, .mask_bits = config.mask_bits});
    if (!rxe) return usage_error("the network adapter cannot be set up", "give the machine more memory");
    nic.rxe = std::move(*rxe);
    run.install(id, nic.rxe->device(), &nic.rxe->port());
  } else {
    auto hca = kernel::Hca::probe(run.kernel(), fabric, config);
    if (!hca) return usage_error("the NIC's DMA mask is refused", "use 32 bits or more");
    nic.hca = std::move(*hca);
    run.install(id, nic.hca->device(), &nic.hca->nic().port());
  }
  nic.peer = std::make_unique<testbed::RdmaPeer>(fabric);
  // Contexts end before what they are of: regions may still be registered when the file ends.
  run.at_end([this, id] {
    nics[id].verbs.reset();
    nics[id].rxe.reset();
  });
  return {};
}

Result<RdmaRun::Nic*, StepTrouble> RdmaRun::open_nic(std::size_t device) {
  Nic& nic = nics.at(device);
  if (!nic.verbs) return trouble_in_step("no process has opened the device: see rdma-open");
  return &nic;
}

Result<kernel::Process*, StepTrouble> RdmaRun::process(std::size_t name) {
  const auto found = processes.find(name);
  if (found == processes.end())
    return trouble_in_step("the process does not exist: the step that makes it failed");
  return found->second.get();
}

Result<void, StepTrouble> adopt_user_memory(Run& run, std::size_t buffer, kernel::Process& process,
                                            VirtAddr at, std::uint64_t bytes) {
  // The first touch brings the pages.
  Bytes zeros(bytes);
  const auto touched = process.write(at, zeros);
  if (!touched) return trouble_in_step(describe(touched.error()));
  Run::Buffer& target = run.buffer(buffer);
  target.owner = std::make_unique<ProcessMemory>(process, at);
  CBIT_TRY(run.adopt(target, process.space().mmu(), at, bytes));
  target.written(0, zeros);
  return {};
}

}  // namespace cbit::lab
