// The memory of a process in an experiment: what the steps of steps_process.cpp, steps_mktme.cpp and
// steps_rdma.cpp share.
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

// A process, as the owner of a buffer: it reads and writes with its own loads and stores.
class ProcessMemory : public Run::Owner {
 public:
  ProcessMemory(kernel::Process& process, VirtAddr at) : process_{&process}, at_{at} {}

  [[nodiscard]] std::string_view name(std::uint64_t) const override { return "the process"; }
  Result<void> read(std::uint64_t offset, ByteSpan to) override;
  Result<void> write(std::uint64_t offset, ConstByteSpan from) override;

  [[nodiscard]] kernel::Process& process() const { return *process_; }
  [[nodiscard]] VirtAddr at() const { return at_; }

 private:
  kernel::Process* process_;
  VirtAddr at_;
};

// An area of a process, which swapping and migration move: its frames are looked up before every use, and a
// page that is not there is touched first. The owner of buffers of kind `area`.
class Area final : public ProcessMemory {
 public:
  using ProcessMemory::ProcessMemory;
  Result<void, StepTrouble> locate(Run::Buffer& buffer) override;
};

class UserMemory {
 public:
  // The process of all areas that no fork made.
  Result<kernel::Process*, StepTrouble> first_process(Run& run);
  kernel::Process& adopt(std::unique_ptr<kernel::Process> process);
  // The swap device behind a device of the file.
  kernel::SwapDevice& swap_device(Run& run, std::size_t device);
  // The kernel's MKTME; ENODEV on machines without.
  Result<kernel::Mktme*, StepTrouble> mktme(Run& run);
  void configure(kernel::MktmeConfig config) { config_ = config; }
  // Processes go first, then what they used.
  void release();

  std::map<std::size_t, std::vector<PhysAddr>> pinned;  // by buffer
  std::map<std::size_t, kernel::KeySerial> keys;        // by name
  std::map<std::size_t, kernel::ProtectionKey> pkeys;   // by name

 private:
  std::map<std::size_t, std::unique_ptr<kernel::SwapDevice>> swaps_;
  std::unique_ptr<kernel::Mktme> mktme_;
  kernel::MktmeConfig config_;
  std::vector<std::unique_ptr<kernel::Process>> processes_;
};

// The area behind a buffer of its kind.
[[nodiscard]] Area& area_of(const Run::Buffer& buffer);

// The buffer of an area as it is: nothing is touched, so its frames may be those of its last use.
Result<Run::Buffer*, StepTrouble> untouched(Run& run, std::size_t id);

// Makes the buffer stand for an area.
void begin_user_buffer(Run& run, std::size_t id, kernel::Process& process, VirtAddr at, std::uint64_t bytes);

}  // namespace cbit::lab
