#include "watch/export/json_lines.hpp"

#include <nlohmann/json.hpp>
#include <ostream>

#include "base/safe_text.hpp"
#include "watch/event_names.hpp"
#include "watch/export/field_json.hpp"

namespace cbit::watch {

JsonLines::JsonLines(const Tracer& tracer, std::ostream& out) : tracer_{&tracer}, out_{&out} {
  *out_ << R"({"format":"cbit-events","version":1})" << '\n';
}

void JsonLines::on_event(const Event& event) {
  nlohmann::ordered_json line{{"time_ns", event.time_ns},
                              {"duration_ns", event.duration_ns},
                              {"agent", agent_name(event.agent)},
                              {"event", event_name(event.payload)}};
  add_fields(line, event.payload, *tracer_);
  *out_ << json_text(line) << '\n';
}

}  // namespace cbit::watch
