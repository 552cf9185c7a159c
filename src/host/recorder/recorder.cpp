#include "recorder/recorder.hpp"

#include <poll.h>

#include <array>
#include <optional>
#include <ostream>

#include "base/format.hpp"
#include "base/text.hpp"
#include "facts/masking.hpp"
#include "facts/pool.hpp"

namespace cbit::recorder {
namespace {

using Time = std::chrono::steady_clock;

constexpr std::chrono::milliseconds tick{100};

void write_line(std::ostream& out, std::string_view name, std::string_view value) {
  out << fmt::format("# cbit record: {}={}\n", name, trimmed(value));
}

void write_header(std::ostream& out, const TraceInstance& instance, const facts::HostTree& host) {
  if (const auto release = host.read("/proc/sys/kernel/osrelease"))
    write_line(out, "kernel", facts::mask_release(trimmed(*release)).text);
  if (const auto line = host.read("/proc/cmdline"))
    write_line(out, "command-line", facts::mask_command_line(trimmed(*line)).text);
  write_line(out, "events", fmt::format("{}", fmt::join(instance.events(), " ")));
  if (const auto slots = facts::read_pool(host).nslabs) write_line(out, "pool-slots", std::to_string(*slots));
}

class Recorder {
 public:
  Recorder(const TraceInstance& instance, const RecordRequest& request, const facts::HostTree& host,
           std::ostream& out, os::Descriptor pipe)
      : instance_{&instance}, request_{&request}, host_{&host}, out_{&out}, pipe_{std::move(pipe)} {}

  RecordEnd run(const std::function<bool()>& is_over) {
    const auto deadline = Time::now() + request_->time_max;
    instance_->write("tracing_on", "1");
    std::optional<RecordEnd> end;
    while (!end) {
      note_pool();
      pollfd waiting{pipe_.fd(), POLLIN, 0};
      ::poll(&waiting, 1, static_cast<int>(tick.count()));
      const auto is_enough = [&] { return is_over() || Time::now() >= deadline || !out_->good(); };
      read_pipe(is_enough);
      if (bytes_ >= request_->bytes_max) end = RecordEnd::bytes;
      if (Time::now() >= deadline) end = RecordEnd::time;
      if (is_over() || !out_->good()) end = RecordEnd::interrupted;
    }
    note_pool();
    instance_->write("tracing_on", "0");
    read_pipe([] { return false; });  // what is left, and nothing comes after it
    return *end;
  }

 private:
  // As a mark in the trace, so that the kernel says when it was.
  void note_pool() {
    const auto used = facts::read_pool(*host_).used;
    if (!used || noted_ == *used) return;
    noted_ = *used;
    instance_->write("trace_marker", fmt::format("cbit: io_tlb_used={}\n", *used));
  }

  template <class IsEnough>
  void read_pipe(IsEnough is_enough) {
    std::array<char, 64 * 1024> buffer;
    while (bytes_ < request_->bytes_max && !is_enough()) {
      const ssize_t n = ::read(pipe_.fd(), buffer.data(), buffer.size());
      if (n <= 0) return;  // no more for now, or a signal
      out_->write(buffer.data(), n);
      bytes_ += static_cast<std::uint64_t>(n);
    }
  }

  const TraceInstance* instance_;
  const RecordRequest* request_;
  const facts::HostTree* host_;
  std::ostream* out_;
  os::Descriptor pipe_;
  std::uint64_t bytes_ = 0;
  std::optional<std::uint64_t> noted_;
};

std::string_view describe(RecordEnd end) {
  switch (end) {
    case RecordEnd::time: return "when its time was over";
    case RecordEnd::interrupted: return "when it was interrupted";
    case RecordEnd::bytes: return "when it was as large as it may become";
  }
  return "";
}

}  // namespace

OrError<RecordEnd> record(const TraceInstance& instance, const RecordRequest& request,
                          const facts::HostTree& host, std::ostream& out,
                          const std::function<bool()>& is_over) {
  os::Descriptor pipe = instance.open_pipe();
  if (!pipe.is_open())
    return bad_input("the kernel does not give the trace to read", "see trace_pipe in Documentation/trace");
  write_header(out, instance, host);
  const RecordEnd end = Recorder{instance, request, host, out, std::move(pipe)}.run(is_over);
  if (const auto most = facts::read_pool(host).hiwater)
    write_line(out, "pool-slots-used-max", std::to_string(*most));
  write_line(out, "end", describe(end));
  return end;
}

}  // namespace cbit::recorder
