// An event's fields as a JSON object's members. For the exporters.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "base/trace.hpp"

namespace cbit::watch {

void add_fields(nlohmann::ordered_json& object, const EventPayload& payload, const Tracer& tracer);

}  // namespace cbit::watch
