// fmt formatters of the base types: V:, P:, E: and D: name the address space in every message.
#pragma once

#include <fmt/format.h>

#include "base/ids.hpp"
#include "cbit/addr.hpp"

namespace cbit::detail {
template <class Tag>
inline constexpr char addr_prefix = '?';
template <>
inline constexpr char addr_prefix<VirtTag> = 'V';
template <>
inline constexpr char addr_prefix<PhysTag> = 'P';
template <>
inline constexpr char addr_prefix<PteTag> = 'E';
template <>
inline constexpr char addr_prefix<DmaTag> = 'D';
}  // namespace cbit::detail

template <class Tag>
struct fmt::formatter<cbit::Addr<Tag>> {
  constexpr auto parse(format_parse_context& ctx) { return ctx.begin(); }
  auto format(cbit::Addr<Tag> a, format_context& ctx) const {
    return fmt::format_to(ctx.out(), "{}:{:#x}", cbit::detail::addr_prefix<Tag>, a.value());
  }
};

template <>
struct fmt::formatter<cbit::Agent> {
  constexpr auto parse(format_parse_context& ctx) { return ctx.begin(); }
  auto format(cbit::Agent agent, format_context& ctx) const {
    return fmt::format_to(ctx.out(), "{}{}", to_string(agent.kind), agent.index);
  }
};
