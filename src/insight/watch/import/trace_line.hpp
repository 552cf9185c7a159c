// One line of a kernel's trace as text: ftrace's own (/sys/kernel/tracing/trace, trace_pipe) and what
// `trace-cmd report` prints.
//
// Any bytes will do; linear time. Sources: kernel/trace/trace_output.c, trace_print_context() and
// trace_print_array_seq(); kernel/trace/trace.c, print_trace_line(); trace-cmd's tracecmd/trace-read.c,
// show_data(); libtraceevent's src/event-parse.c, print_str_arg().
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace cbit::watch {

struct TraceLine {
  unsigned cpu = 0;
  std::uint64_t time_ns = 0;  // of the trace's clock
  std::string_view event;     // "dma_map_page", without its system
  std::string_view text;      // what the event prints
};
// nullopt: no event, or with a clock that counts no seconds.
[[nodiscard]] std::optional<TraceLine> parse_trace_line(std::string_view line);

// "CPU:0 [LOST 123 EVENTS]" and "CPU:0 [123 EVENTS DROPPED]"; 0 where the number is not told. nullopt: it is
// none of these.
[[nodiscard]] std::optional<std::uint64_t> parse_lost_events(std::string_view line);

// The value behind " name=", up to the next " word=" or the end. nullopt: there is none.
[[nodiscard]] std::optional<std::string_view> trace_field(std::string_view text, std::string_view name);
// An array's elements: "{0x1000,0x2000}" of the kernel, "4096 8192" of libtraceevent. nullopt: something
// else, or cut off.
[[nodiscard]] std::optional<std::vector<std::uint64_t>> trace_array(std::string_view value);

}  // namespace cbit::watch
