// A guest's kernel, watched: its calls become events, and these the causes of what goes wrong.
//
//   Cpu ─ probe ─ linux::Probes ─ Tracer ─ watch::Explainer, watch::Counters
//
// The guest is never changed, and sees nothing of it. Events of memory come from the machine itself.
// Threading: one thread, that of the machine.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "guest/given_memory.hpp"
#include "guest/history.hpp"
#include "guest/kernel_memory.hpp"
#include "guest/monitor/kernel_knowledge.hpp"
#include "guest/pc.hpp"
#include "guest/told_states.hpp"
#include "guest/traffic.hpp"
#include "guest/watch_report.hpp"
#include "linux/kernel.hpp"
#include "linux/probes/probes.hpp"
#include "watch/counters.hpp"
#include "watch/explainer.hpp"

namespace cbit::guest {

class Watcher final : public KernelKnowledge,
                      EventSink,
                      cpu::ProbeSink,
                      linux::CallTracker::Processor,
                      linux::Observer {
 public:
  // Both outlive it; before the first instruction.
  Watcher(Pc& pc, const linux::Kernel& kernel);
  ~Watcher() override;
  Watcher(const Watcher&) = delete;
  Watcher& operator=(const Watcher&) = delete;

  // What tells one of the explainer's causes from the others.
  using CauseKey = std::tuple<const watch::CauseInfo*, std::string, std::uint64_t>;

  // From time to time.
  void check_progress();
  // After the last instruction; at most once.
  WatchReport finish();
  [[nodiscard]] const History& history() const { return history_; }

  // KernelKnowledge, at any time
  [[nodiscard]] std::string name_of(VirtAddr at) const override;
  [[nodiscard]] std::optional<std::string> dma_text(std::size_t mappings_max) const override;
  [[nodiscard]] std::string modules_text(std::size_t lines_max) const override;
  [[nodiscard]] std::optional<KernelForDump> for_dump() const override;

 private:
  // cpu::ProbeSink
  void on_probe(cpu::Cpu& cpu, VirtAddr at) override;
  // linux::CallTracker::Processor
  void add_probe(VirtAddr at) override { pc_->add_probe(at); }
  void remove_probe(VirtAddr at) override { pc_->remove_probe(at); }
  // linux::Observer
  [[nodiscard]] bool is_ram(PhysAddr at) const override;
  [[nodiscard]] std::optional<IommuLeaf> iommu_leaf(RequesterId requester, DmaAddr at) const override;
  void pool_found(PhysAddr first, std::uint64_t bytes) override;
  void kernel_found(const linux::RunningKernel&) override { kernel_found_ns_ = pc_->clock().now_ns(); }

  // EventSink, behind the explainer: where the kernel is when a cause shows.
  void on_event(const Event& event) override;

  [[nodiscard]] WatchReport report() const;
  // What it finds becomes events.
  [[nodiscard]] Exposure exposure();
  // In this order: this object looks at what the explainer has just found.
  [[nodiscard]] std::array<EventSink*, 7> sinks() {
    return {&explainer_, this, &counters_, &traffic_, &history_, &told_, &given_};
  }
  [[nodiscard]] linux::CpuView view() const;
  [[nodiscard]] std::string describe_callers() const;
  [[nodiscard]] SiteId mapped_by(const watch::Cause& cause) const;
  [[nodiscard]] std::vector<watch::Cause> causes() const;

  Pc* pc_;
  KernelMemory memory_;
  const linux::Kernel* kernel_;
  watch::Explainer explainer_;
  watch::Counters counters_;
  Traffic traffic_;
  History history_;
  ToldStates told_;
  GivenMemory given_;
  std::map<CauseKey, std::string> callers_;
  std::size_t causes_seen_ = 0;
  bool ended_ = false;
  std::uint64_t kernel_found_ns_ = 0;
  std::vector<mem::PhysRange> pools_;
  std::unique_ptr<linux::Probes> probes_;
};

}  // namespace cbit::guest
