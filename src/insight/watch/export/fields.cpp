#include "watch/export/fields.hpp"

#include <algorithm>
#include <array>
#include <concepts>
#include <span>
#include <type_traits>

#include "watch/event_names.hpp"

namespace cbit::watch {
namespace {

// Integers whose meaning their type does not tell.
constexpr std::array interned_names{std::string_view{"device"}, std::string_view{"dev_name"},
                                    std::string_view{"site"}, std::string_view{"writer_site"}};
constexpr std::array bit_sets{std::string_view{"dma_mask"},   std::string_view{"mask"},
                              std::string_view{"align_mask"}, std::string_view{"offered"},
                              std::string_view{"accepted"},   std::string_view{"status"}};

bool is_one_of(std::string_view name, std::span<const std::string_view> names) {
  return std::ranges::find(names, name) != names.end();
}

struct Collector {
  const Tracer& tracer;
  std::vector<Field>& fields;

  void operator()(std::string_view name, bool value) const { add(name, value); }
  template <std::unsigned_integral T>
  void operator()(std::string_view name, T value) const {
    if (std::same_as<T, NameId> && is_one_of(name, interned_names))
      add(name, std::string{tracer.name(static_cast<NameId>(value))});
    else if (std::same_as<T, RequesterId> && name == "requester")
      add(name, requester_name(static_cast<RequesterId>(value)));
    else if (is_one_of(name, bit_sets))
      add(name, HexValue{value});
    else
      add(name, std::uint64_t{value});
  }
  template <class Tag>
  void operator()(std::string_view name, Addr<Tag> at) const {
    add(name, HexValue{at.value()});
  }
  template <class Enum>
    requires std::is_enum_v<Enum>
  void operator()(std::string_view name, Enum value) const {
    add(name, std::string{stable_name(value)});
  }
  void operator()(std::string_view name, Agent agent) const { add(name, agent_name(agent)); }
  void operator()(std::string_view name, std::string_view text) const { add(name, std::string{text}); }
  void operator()(std::string_view name, const Fault& fault) const {
    const std::string prefix{name};
    add(prefix, std::string{stable_name(fault.kind)});
    add(prefix + "_address", HexValue{fault.address});
    add(prefix + "_write", fault.write);
  }

  template <class Value>
  void add(std::string_view name, Value value) const {
    fields.push_back({std::string{name}, std::move(value)});
  }
};

}  // namespace

std::vector<Field> fields_of(const EventPayload& payload, const Tracer& tracer) {
  std::vector<Field> fields;
  std::visit([&](const auto& event) { event.visit(Collector{tracer, fields}); }, payload);
  return fields;
}

}  // namespace cbit::watch
