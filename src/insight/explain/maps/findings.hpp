// What every experiment of `cbit explain` needs at its end and while it runs.
#pragma once

#include "explain/explain.hpp"

namespace cbit::explain {

// A sink that listens while this lives.
class Attached {
 public:
  Attached(Tracer& tracer, EventSink& sink) : tracer_{tracer}, sink_{sink} { tracer_.attach(sink_); }
  Attached(const Attached&) = delete;
  Attached& operator=(const Attached&) = delete;
  ~Attached() { tracer_.detach(sink_); }

 private:
  Tracer& tracer_;
  EventSink& sink_;
};

// What the explainer and the counters have to say at the end of a run.
void note_findings(Explanation& result, testbed::Testbed& bed, watch::Explainer& explainer,
                   watch::Ending ending);

}  // namespace cbit::explain
