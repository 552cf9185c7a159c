// An event's fields as names and values that a text format can print, made from Event's own visit().
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/trace.hpp"

namespace cbit::watch {

// Addresses and bit sets: printed in hexadecimal, whatever the format.
struct HexValue {
  std::uint64_t value = 0;
};

struct Field {
  std::string name;
  std::variant<bool, std::uint64_t, HexValue, std::string> value;
};

// In the order of visit(). Enumerations, agents and interned names are strings; a Fault is three fields.
[[nodiscard]] std::vector<Field> fields_of(const EventPayload& payload, const Tracer& tracer);

}  // namespace cbit::watch
