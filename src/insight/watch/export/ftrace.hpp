// Events as ftrace text, the format of /sys/kernel/tracing/trace: task-pid [cpu] flags timestamp: event:
// fields.
//
// Events that Linux has too carry its names and its print format (include/trace/events/swiotlb.h, iommu.h);
// the others are k=v. A device's events stand on CPU 0 with the device as the task. Time stamps have nine
// decimals, as `trace-cmd report -t` prints them, because virtual time counts nanoseconds.
#pragma once

#include <iosfwd>

#include "base/trace.hpp"

namespace cbit::watch {

class Ftrace final : public EventSink {
 public:
  // Writes the header. `tracer` and `out` outlive the sink.
  Ftrace(const Tracer& tracer, std::ostream& out);

  void on_event(const Event& event) override;

 private:
  const Tracer* tracer_;
  std::ostream* out_;
};

}  // namespace cbit::watch
