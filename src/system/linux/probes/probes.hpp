// Probes: a real, unmodified kernel's calls as the events that the model kernel emits.
//
//   CPU ─ add_probe(), on_execute() ─ CallTracker ─ rows of the probes' table ─ Tracer
//
// The guest is never changed. Until the kernel is found its first function is waited for at every address
// that KASLR may have given it; from there on each function of the table, and where it was called from. What
// the guest's memory holds is not trusted: everything that is kept has a limit. Threading: that of the
// machine.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/trace.hpp"
#include "linux/kernel.hpp"
#include "linux/probes/calls.hpp"
#include "linux/probes/context.hpp"
#include "linux/probes/observer.hpp"
#include "linux/task.hpp"

namespace cbit::linux {

class Probes final : CallTracker::Client {
 public:
  // All outlive it. The processor is told at once where the kernel may begin.
  Probes(const Kernel& kernel, Tracer& tracer, CallTracker::Processor& processor, Observer& observer);
  ~Probes() override;
  Probes(const Probes&) = delete;
  Probes& operator=(const Probes&) = delete;

  // An instruction at an address that was asked for is about to execute, after interrupts have been taken.
  void on_execute(const CpuView& cpu);
  // For a machine that was not watched from its start: finds a kernel that runs. false: there is none of this
  // file, or it is known already.
  bool attach(const CpuView& cpu);
  // CPU reset: whatever runs next is another kernel.
  void reset();
  // The end of a run: what waits for its continuation is emitted.
  void finish();

  // From time to time, with a CPU's state: reports a search for bounce buffers that does not end (6.1).
  void check_progress(const CpuView& cpu, std::uint64_t now_ns);

  // nullptr: not found yet.
  [[nodiscard]] const RunningKernel* running() const { return running_ ? &*running_ : nullptr; }
  // "virtqueue_add_split+0x1c [virtio_ring]", interned; 0: no code that is known. For events that the machine
  // emits.
  [[nodiscard]] SiteId site_of(VirtAddr rip);
  // Who made a mapping that is active: the first caller outside the DMA API; 0: not known.
  [[nodiscard]] SiteId mapped_by(NameId device, DmaAddr at) const;
  // Rows that this kernel can not have, with the reason: "swiotlb_bounce: no symbol of that name".
  [[nodiscard]] const std::vector<std::string>& missing() const { return missing_; }
  // What is told now follows from a call that has just returned: RIP is behind it.
  [[nodiscard]] bool is_behind_call() const { return behind_call_; }
  // Every function that maps memory for a device, or unmaps it, is watched.
  [[nodiscard]] bool sees_all_mappings() const;
  [[nodiscard]] std::uint64_t lost_calls() const { return tracker_.lost(); }

 private:
  struct Point {
    const ProbeRow* row = nullptr;
    VirtAddr at;  // in the file
    CallView::Positions positions;
    std::size_t arguments = 0;
  };
  bool wants(PointId point, const CpuView& cpu) override;
  bool on_entry(Call& call, const CpuView& cpu) override;
  void on_return(Call& call, std::span<Call> outside, const CpuView& cpu) override;
  void on_lost(Call& call) override;

  void plan();
  void plan_row(const ProbeRow& row);
  std::optional<Point> point_of(const ProbeRow& row, const Symbol& symbol);
  void wait_for_kernel();
  void forget_start();
  bool take_kernel(const CpuView& cpu, bool from_start);
  void drop_init_code();

  const Kernel* kernel_;
  Tracer* tracer_;
  CallTracker::Processor* processor_;
  Observer* observer_;
  CallTracker tracker_;
  std::vector<Point> points_;
  std::vector<std::string> missing_;
  std::vector<VirtAddr> starts_;  // where the kernel may begin; empty: it has been found
  std::optional<RunningKernel> running_;
  std::optional<ProbeContext> context_;
  bool init_dropped_ = false;
  bool behind_call_ = false;
  // A bounce map in which a CPU was found last, with interrupts off.
  struct Search {
    std::uint64_t serial = 0;
    std::uint64_t since_ns = 0;
    bool running = false;
    bool reported = false;
  };
  std::map<std::uint16_t, Search> searching_;  // by CPU
};

}  // namespace cbit::linux
