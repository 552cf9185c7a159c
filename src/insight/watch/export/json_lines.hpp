// Events as JSON lines: a header object, then an object per event.
//
//   {"format":"cbit-events","version":1}
//   {"time_ns":12,"duration_ns":1,"agent":"cpu0","event":"dma_map","device":"0000:00:03.0",…}
//
// Field names are those of base/events.hpp. Addresses and bit sets are strings in hexadecimal, since many
// readers of JSON lose bits of large numbers.
#pragma once

#include <iosfwd>

#include "base/trace.hpp"

namespace cbit::watch {

class JsonLines final : public EventSink {
 public:
  // Writes the header. `tracer` and `out` outlive the sink.
  JsonLines(const Tracer& tracer, std::ostream& out);

  void on_event(const Event& event) override;

 private:
  const Tracer* tracer_;
  std::ostream* out_;
};

}  // namespace cbit::watch
