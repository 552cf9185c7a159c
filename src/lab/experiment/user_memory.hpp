// The memory of a process in an experiment: what the steps of steps_process.cpp and steps_mktme.cpp share.
//
// A buffer of kind `area` is an area of a process. Its frames are looked up before every use, since swapping
// and migration change them; a page that is not there is touched first. A CPU reaches it as the process does.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernel/mktme/mktme.hpp"
#include "kernel/mm/process.hpp"
#include "kernel/mm/swap.hpp"
#include "lab/experiment/run.hpp"

namespace cbit::lab {

// "ENOKEY: no-free-key-id"; the reason is what the kernel reported last, if it did.
[[nodiscard]] StepTrouble errno_trouble(int error, std::string_view reason = {});

class UserMemory {
 public:
  // The process of all areas that no fork made.
  Result<Process*, StepTrouble> first_process(Run& run);
  Process& adopt(std::unique_ptr<Process> process);
  // The swap device behind a device of the file.
  SwapDevice& swap_device(Run& run, std::size_t device);
  // The kernel's MKTME; ENODEV on machines without.
  Result<Mktme*, StepTrouble> mktme(Run& run);
  void configure(MktmeConfig config) { config_ = config; }
  // Processes go first, then what they used.
  void release();

  std::map<std::size_t, std::vector<PhysAddr>> pinned;  // by buffer
  std::map<std::size_t, KeySerial> keys;                // by name

 private:
  std::map<std::size_t, std::unique_ptr<SwapDevice>> swaps_;
  std::unique_ptr<Mktme> mktme_;
  MktmeConfig config_;
  std::vector<std::unique_ptr<Process>> processes_;
};

// The buffer of an area as it is: nothing is touched, so its frames may be those of its last use.
Result<Run::Buffer*, StepTrouble> untouched(Run& run, std::size_t id);

// Makes the buffer stand for an area.
void begin_user_buffer(Run& run, std::size_t id, Process& process, VirtAddr at, std::uint64_t bytes);

}  // namespace cbit::lab
