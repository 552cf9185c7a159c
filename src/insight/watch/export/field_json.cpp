#include "watch/export/field_json.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "watch/export/fields.hpp"

namespace cbit::watch {
namespace {

struct ToJson {
  nlohmann::ordered_json operator()(HexValue hex) const { return fmt::format("{:#x}", hex.value); }
  nlohmann::ordered_json operator()(const auto& value) const { return value; }
};

}  // namespace

void add_fields(nlohmann::ordered_json& object, const EventPayload& payload, const Tracer& tracer) {
  for (const Field& field : fields_of(payload, tracer))
    object[field.name] = std::visit(ToJson{}, field.value);
}

}  // namespace cbit::watch
