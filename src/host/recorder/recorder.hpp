// Records what a running kernel tells of its DMA: dma:* (Linux 6.12 and later), swiotlb:swiotlb_bounced and
// iommu:*, through tracefs, in ftrace's own text.
//
// It has a trace instance of its own, instances/cbit-PID, so that nobody else's tracing is disturbed, and
// removes it at the end; one that a killed recorder left behind goes with the next. What is written is lines
// "# cbit record: name=value" (watch/import/dma_trace.hpp), what trace_pipe gives, and in it, as marks, the
// kernel's counter of used slots whenever it has changed. Of the command line only what facts/masking.hpp
// knows to be harmless stays.
//
// Linux: Documentation/trace/ftrace.rst; kernel/trace/trace.c; kernel/trace/trace_events_filter.c.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "facts/host_tree.hpp"
#include "os/descriptor.hpp"

namespace cbit::recorder {

// Where tracefs may be mounted. Errors (bad_input): nowhere, or not for this user.
[[nodiscard]] OrError<std::string> find_tracefs();

struct RecordRequest {
  std::string device;  // a glob of ~ in the kernel's filters; empty: all
  std::chrono::milliseconds time_max{10'000};
  std::uint64_t bytes_max = 0;
  std::uint64_t buffer_kib = 0;  // per CPU
};

enum class RecordEnd : std::uint8_t { time, interrupted, bytes };

// A trace instance, from the call that makes it to the end of this object.
class TraceInstance {
 public:
  // Errors (bad_input): it cannot be made, or this kernel has none of the events.
  static OrError<TraceInstance> create(const std::string& tracefs, const RecordRequest& request);
  TraceInstance(TraceInstance&& other) noexcept = default;
  TraceInstance& operator=(TraceInstance&&) = delete;
  ~TraceInstance();

  // "dma", "swiotlb/swiotlb_bounced": what is enabled.
  [[nodiscard]] const std::vector<std::string_view>& events() const { return events_; }
  bool write(std::string_view file, std::string_view text) const;
  [[nodiscard]] os::Descriptor open_pipe() const;

 private:
  TraceInstance() = default;
  OrError<void> enable_events(const RecordRequest& request);

  os::Descriptor folder_;  // instances
  std::string name_;       // in it
  os::Descriptor instance_;
  std::vector<std::string_view> events_;
};

// Until the time is over, `is_over` says so, `out` takes no more, or has `bytes_max` bytes. Errors
// (bad_input): the trace cannot be read.
[[nodiscard]] OrError<RecordEnd> record(const TraceInstance& instance, const RecordRequest& request,
                                        const facts::HostTree& host, std::ostream& out,
                                        const std::function<bool()>& is_over);

}  // namespace cbit::recorder
