// Which of Linux's modules drive what is plugged in: names as in lib/modules/RELEASE, without those that they
// need themselves.
#pragma once

#include <span>
#include <string_view>

namespace cbit::guest {

// Of a kind of machine::device_kinds(); empty: Linux has no driver of its own for it.
[[nodiscard]] std::span<const std::string_view> linux_drivers_of(std::string_view kind);

}  // namespace cbit::guest
