// What the probes' functions work with: a call, the kernel it is made in, and what is kept between calls.
//
// A probe is a table row (ProbeRow) with a function for the call's entry and one for its return. Events are
// emitted at returns only, by the CPU that executes them, so that those of one call come in the model
// kernel's order: a bounce, its copy, the mapping. Arguments, and what they point to, are read at the entry
// where the call changes them. What cannot be read is left out; a guest may hold anything. Threading: that of
// the machine.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/trace.hpp"
#include "linux/bounce_pool.hpp"
#include "linux/device.hpp"
#include "linux/peek.hpp"
#include "linux/probes/calls.hpp"
#include "linux/probes/ledger.hpp"
#include "linux/probes/observer.hpp"
#include "linux/running.hpp"

namespace cbit::linux {

struct ProbeRow;

// What happened inside a call, as far as its own event depends on it; and what was read at its entry.
struct Notes : CallNotes {
  Notes();  // not inline: an EventPayload that ends is a great deal of code
  ~Notes() override;
  Notes(const Notes&) = delete;
  Notes& operator=(const Notes&) = delete;

  const ProbeRow* row = nullptr;
  bool bounced = false;    // a bounce buffer was given
  bool released = false;   // … and taken back
  bool pool_full = false;  // … or refused
  bool no_pool = false;    // … because there is none
  bool no_iova = false;
  bool iommu_refused = false;
  bool conversion_failed = false;
  bool atomic_pool_empty = false;
  bool pages_given = false;         // by the page allocator
  bool reported = false;            // an inner call has told what this one would
  std::vector<PhysAddr> copied_in;  // bounce buffers
  std::vector<PhysAddr> copied_back;
  std::vector<EventPayload> held;  // follow the event of the call
  SiteId site = 0;                 // who called, outside the DMA API
  struct Segment {
    DmaAddr dma;
    PhysAddr phys;
    std::uint64_t bytes = 0;
  };
  std::vector<Segment> segments;  // of a scatterlist
};

class CallView {
 public:
  using Positions = std::array<std::optional<std::uint8_t>, arguments_max>;
  CallView(Call& call, std::span<Call> outside, const CpuView& cpu, const Positions& positions)
      : call_{&call}, outside_{outside}, cpu_{&cpu}, positions_{&positions} {}

  // The n-th parameter that the table's row names; 0 where the function has it not.
  [[nodiscard]] std::uint64_t argument(std::size_t n) const {
    const auto& position = (*positions_)[n];
    return position ? call_->arguments[*position] : 0;
  }
  [[nodiscard]] bool has(std::size_t n) const { return (*positions_)[n].has_value(); }
  [[nodiscard]] VirtAddr pointer(std::size_t n) const { return VirtAddr{argument(n)}; }
  // enum dma_data_direction, an int.
  [[nodiscard]] DmaDirection direction(std::size_t n) const {
    return static_cast<DmaDirection>(std::min<std::uint32_t>(static_cast<std::uint32_t>(argument(n)), 3));
  }
  [[nodiscard]] DmaAttrs attrs(std::size_t n) const { return {argument(n)}; }

  [[nodiscard]] std::uint64_t result() const { return cpu_->gpr[CpuView::rax]; }
  // Of functions that return int: the upper half of RAX is anything.
  [[nodiscard]] std::int32_t int_result() const { return static_cast<std::int32_t>(result()); }

  [[nodiscard]] VirtAddr returns_to() const { return call_->returns_to; }
  [[nodiscard]] Notes& notes() const { return static_cast<Notes&>(*call_->notes); }
  // Of the calls that it was made in; the innermost last.
  [[nodiscard]] std::span<Call> outside() const { return outside_; }
  template <class Visit>
  void for_each_outside(Visit&& visit) const {
    for (Call& outer : outside_) visit(static_cast<Notes&>(*outer.notes));
  }
  [[nodiscard]] const CpuView& cpu() const { return *cpu_; }
  [[nodiscard]] const GuestMemory& memory() const { return *cpu_->memory; }
  [[nodiscard]] Agent agent() const { return {AgentKind::cpu, cpu_->number}; }
  [[nodiscard]] std::uint64_t stack_number() const { return call_->stack.value() / kernel_stack_bytes; }

 private:
  Call* call_;
  std::span<Call> outside_;
  const CpuView* cpu_;
  const Positions* positions_;
};

class ProbeContext {
 public:
  ProbeContext(RunningKernel& running, Tracer& tracer, Observer& observer)
      : running_{&running}, tracer_{&tracer}, observer_{&observer} {}

  [[nodiscard]] RunningKernel& running() { return *running_; }
  [[nodiscard]] Observer& observer() { return *observer_; }
  [[nodiscard]] MappingLedger& ledger() { return ledger_; }
  [[nodiscard]] const MappingLedger& ledger() const { return ledger_; }
  [[nodiscard]] Peek peek(const CallView& c) const { return {running_->kernel().fields(), c.memory()}; }

  template <class Payload>
  void emit(const CallView& c, Payload&& payload) {
    tracer_->emit(c.agent(), std::forward<Payload>(payload));
  }

  [[nodiscard]] Device device(const CallView& c, VirtAddr at) const {
    return read_device(*running_, c.memory(), at);
  }
  // A guest can make up names: after a few thousand they have none.
  [[nodiscard]] NameId name_of(std::string_view device);
  [[nodiscard]] NameId name_of(const CallView& c, VirtAddr device);
  [[nodiscard]] SiteId site_of(VirtAddr ip, bool called = false);
  // The first caller outside the DMA API, of the device's own driver if one is on the stack; at the call's
  // entry.
  [[nodiscard]] SiteId caller_of_dma(const CallView& c, VirtAddr device);
  // The first caller outside set_memory_*().
  [[nodiscard]] SiteId caller_of_conversion(const CallView& c);
  // Its code is gone, and its addresses will be another's.
  void forget_sites(const Module& module);

  // sme_me_mask: the encryption bit, where the kernel uses one.
  [[nodiscard]] std::uint64_t encryption_mask(const CallView& c) const;
  // Of a struct page; nullopt: it is none.
  [[nodiscard]] std::optional<PhysAddr> phys_of_page(const CallView& c, VirtAddr page) const {
    return phys_of_page(c.cpu(), page);
  }
  [[nodiscard]] std::optional<PhysAddr> phys_of_page(const CpuView& cpu, VirtAddr page) const;
  // Of an address of the direct map; nullopt: it is none.
  [[nodiscard]] std::optional<PhysAddr> phys_of_direct_map(const CpuView& cpu, VirtAddr at) const;
  [[nodiscard]] bool in_direct_map(const CallView& c, VirtAddr at, PhysAddr phys) const;
  // In the mapping of the kernel's image, from _text to _end.
  [[nodiscard]] bool in_image(VirtAddr at) const;
  // AMD's IOMMU driver puts the encryption bit into every entry; other IOMMUs know none.
  [[nodiscard]] bool iommu_encrypts(const CallView& c) const;
  // A number for each IOMMU domain.
  [[nodiscard]] std::uint16_t domain(VirtAddr at);
  void note_pool(const BouncePool& pool);

  // Mappings besides the direct map, by their first address; of processes, by the struct vm_area_struct.
  struct AliasRun {
    VirtAddr at;
    PhysAddr first;
    std::uint64_t pages = 0;
  };
  static constexpr std::size_t aliases_max = 1 << 16;
  std::map<VirtAddr, std::vector<AliasRun>> aliases;
  // The last line of the kernel's log, while it can be continued from the stack that it was begun on.
  struct OpenLine {
    std::uint64_t stack = 0;
    Agent agent;
    std::string text;
  };
  std::optional<OpenLine> open_line;
  void end_line();
  std::size_t allocations = 0;  // calls of dma_alloc_*() that are pending
  bool complete = false;        // the kernel is watched from its start: all of its mappings are known
  bool leaving = false;         // kexec
  bool init_is_freed = false;   // its code is gone

 private:
  // The first caller that is none of the functions that begin so; of a module, where one is named and on the
  // stack.
  [[nodiscard]] SiteId caller_outside(const CallView& c, std::span<const std::string_view> helpers,
                                      std::string_view module);

  RunningKernel* running_;
  Tracer* tracer_;
  Observer* observer_;
  MappingLedger ledger_;
  std::map<VirtAddr, std::uint16_t> domains_;
  std::map<std::string, NameId, std::less<>> names_;
  std::unordered_map<VirtAddr, SiteId> sites_;
  std::vector<PhysAddr> pools_;
};

struct ProbeRow {
  std::string_view function;
  // Parameters by their names in the kernel's types, in the order in which the functions below count them.
  // "?" is behind one that not every version has. Empty: none is read, and the types need not know the
  // function.
  std::string_view parameters;
  // Another function, which is told instead in kernels that have it.
  std::string_view unless;
  // false: the call is of no interest.
  bool (*entered)(ProbeContext&, CallView&) = nullptr;
  void (*returned)(ProbeContext&, CallView&) = nullptr;
  // Of a call that was entered and will not return.
  void (*lost)(ProbeContext&) = nullptr;
  // Of a function that is called all the time: asked before anything else.
  bool (*wanted)(const ProbeContext&, const CpuView&) = nullptr;
  // Not every version has the function, and none is told in its place.
  bool some_versions = false;
};

[[nodiscard]] std::span<const ProbeRow> dma_rows();
[[nodiscard]] std::span<const ProbeRow> dma_sg_rows();
[[nodiscard]] std::span<const ProbeRow> dma_alloc_rows();
[[nodiscard]] std::span<const ProbeRow> swiotlb_rows();
[[nodiscard]] bool is_bounce_map(const ProbeRow& row);
// Of a bounce map that has not returned.
void report_endless_search(ProbeContext& ctx, const CallView& c);
[[nodiscard]] std::span<const ProbeRow> iommu_rows();
[[nodiscard]] std::span<const ProbeRow> memory_rows();
[[nodiscard]] std::span<const ProbeRow> free_rows();
[[nodiscard]] std::span<const ProbeRow> kernel_rows();

}  // namespace cbit::linux
