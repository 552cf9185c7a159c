// The rows of the table (host/launch/rules.hpp), in the order of the documentation. For the judges, which
// name their rules at compile time.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>

#include "launch/rules/attestation_rules.hpp"
#include "launch/rules/device_rules.hpp"
#include "launch/rules/firmware_rules.hpp"
#include "launch/rules/kata_rules.hpp"
#include "launch/rules/kernel_rules.hpp"
#include "launch/rules/machine_rules.hpp"
#include "launch/rules/memory_rules.hpp"
#include "launch/rules/passthrough_rules.hpp"
#include "launch/rules/protection_rules.hpp"
#include "launch/rules/virtio_rules.hpp"

namespace cbit::launch {

template <std::size_t... n>
[[nodiscard]] consteval auto joined_rules(const RuleInfo (&... topics)[n]) {
  std::array<RuleInfo, (n + ...)> all;
  auto out = all.begin();
  ((out = std::ranges::copy(topics, out).out), ...);
  return all;
}

inline constexpr std::array all_rules =
    joined_rules(protection_rules, attestation_rules, firmware_rules, machine_rules, memory_rules,
                 virtio_rules, device_rules, passthrough_rules, kernel_rules, kata_rules);

// A row of the table. A name that is not there does not compile.
[[nodiscard]] consteval const RuleInfo& rule(std::string_view name) {
  const RuleInfo* found = nullptr;
  for (const RuleInfo& info : all_rules)
    if (info.name == name) found = &info;
  return *found;
}

}  // namespace cbit::launch
