// The explainer: follows a run through its events and derives the causes of what went wrong.
//
// It is told nothing but the platform (ExplainerContext) and where the bounce pool lies; everything else it
// sees. The same events give the same causes in the same order. Attach it before the kernel boots: what was
// shared before it listens, it takes for private.
// Threading: one thread, as for every sink.
#pragma once

#include <string>
#include <vector>

#include "base/trace.hpp"
#include "watch/causes.hpp"
#include "watch/detect/case_book.hpp"
#include "watch/facts.hpp"

namespace cbit::watch {

// How a run ended.
enum class Ending : std::uint8_t {
  complete,   // nothing more comes: what is still mapped is leaked
  in_flight,  // it was stopped for a look: mappings may be alive
};

class Explainer final : public EventSink {
 public:
  // `tracer` outlives the explainer.
  Explainer(const Tracer& tracer, ExplainerContext context);

  // A pool of bounce buffers; may be called for each.
  void set_bounce_pool(const mem::PhysRange& pool) { facts_.add_bounce_pool(pool); }

  void on_event(const Event& event) override;
  // The end of the run: what was not copied back is lost, and what is still mapped is leaked if the run is
  // complete. At most once.
  void finish(Ending ending = Ending::complete);

  // One per cause, device and mapping or run of pages, in the order of first occurrence.
  [[nodiscard]] const std::vector<Cause>& causes() const { return book_.causes(); }
  // The decisions of the code under explanation, in order.
  [[nodiscard]] const std::vector<StepTaken>& steps() const { return steps_; }
  void forget_steps() { steps_.clear(); }
  // What the DMA API has given out.
  [[nodiscard]] const MappingTable& mappings() const { return facts_.mappings(); }
  [[nodiscard]] const std::vector<std::string>& kernel_log() const { return facts_.kernel_log(); }

 private:
  Facts facts_;
  CaseBook book_;
  std::vector<StepTaken> steps_;
  std::uint64_t now_ns_ = 0;
};

}  // namespace cbit::watch
