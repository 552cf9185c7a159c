#include "watch/export/ftrace.hpp"

#include <fmt/format.h>

#include <ostream>

#include "base/safe_text.hpp"
#include "watch/event_names.hpp"
#include "watch/export/fields.hpp"

namespace cbit::watch {
namespace {

constexpr std::uint64_t ns_per_second = 1'000'000'000;

// kernel/trace/trace.c: print_func_help_header_irq()
constexpr std::string_view header =
    "# tracer: nop\n"
    "#\n"
    "#                                _-----=> irqs-off/BH-disabled\n"
    "#                               / _----=> need-resched\n"
    "#                              | / _---=> hardirq/softirq\n"
    "#                              || / _--=> preempt-depth\n"
    "#                              ||| / _-=> migrate-disable\n"
    "#                              |||| /     delay\n"
    "#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION\n"
    "#              | |         |   |||||     |         |\n";

struct FieldText {
  std::string operator()(bool value) const { return value ? "1" : "0"; }
  std::string operator()(std::uint64_t value) const { return fmt::format("{}", value); }
  std::string operator()(HexValue hex) const { return fmt::format("{:#x}", hex.value); }
  std::string operator()(const std::string& text) const {
    return text.find(' ') == std::string::npos && !text.empty() ? text : '"' + text + '"';
  }
};

struct Line {
  std::string_view event;
  std::string text;
};

struct Printer {
  const Tracer& tracer;

  Line operator()(const SwiotlbBounced& bounced) const {
    return {"swiotlb_bounced",
            fmt::format("dev_name: {} dma_mask={:x} dev_addr={:x} size={} {}", tracer.name(bounced.device),
                        bounced.dma_mask, bounced.dev_addr.value(), bounced.size,
                        bounced.force ? "FORCE" : "NORMAL")};
  }
  Line operator()(const IommuMapped& mapped) const {
    return {"map", fmt::format("IOMMU: iova={:#018x} - {:#018x} paddr={:#018x} size={}", mapped.iova.value(),
                               (mapped.iova + mapped.bytes).value(), mapped.phys.value(), mapped.bytes)};
  }
  Line operator()(const IommuUnmapped& unmapped) const {
    return {"unmap",
            fmt::format("IOMMU: iova={:#018x} - {:#018x} size={} unmapped_size={}", unmapped.iova.value(),
                        (unmapped.iova + unmapped.bytes).value(), unmapped.bytes, unmapped.bytes)};
  }
  Line operator()(const KernelMessage& message) const {
    return {"console", fmt::format("[{}]", message.text)};
  }
  Line operator()(const auto& event) const {
    std::string text;
    for (const Field& field : fields_of(event, tracer))
      text +=
          fmt::format("{}{}={}", text.empty() ? "" : " ", field.name, std::visit(FieldText{}, field.value));
    return {event.name, std::move(text)};
  }
};

// comm has 15 characters and no blanks.
std::string task_of(const Event& event, const Tracer& tracer) {
  std::string task{to_string(event.agent.kind)};
  if (const auto* const access = std::get_if<DeviceAccess>(&event.payload))
    task = tracer.name(access->device);
  if (event.agent.kind == AgentKind::device && task == "device") task = requester_name(event.agent.index);
  task = safe_line(task);
  for (char& c : task)
    if (c == ' ') c = '_';
  constexpr std::size_t comm_max = 15;
  if (task.size() > comm_max) task.resize(whole_characters(std::string_view{task}.substr(0, comm_max)));
  return task;
}

}  // namespace

Ftrace::Ftrace(const Tracer& tracer, std::ostream& out) : tracer_{&tracer}, out_{&out} { *out_ << header; }

void Ftrace::on_event(const Event& event) {
  const Line line = std::visit(Printer{*tracer_}, event.payload);
  const unsigned cpu = event.agent.kind == AgentKind::cpu ? event.agent.index : 0;
  const unsigned pid = event.agent.index;
  *out_ << fmt::format("{:>16}-{:<7} [{:03}] ..... {:>5}.{:09}: {}: {}\n", task_of(event, *tracer_), pid, cpu,
                       event.time_ns / ns_per_second, event.time_ns % ns_per_second, line.event,
                       safe_line(line.text));
}

}  // namespace cbit::watch
