// Whether text for people gets colours.
#pragma once

#include <cstdlib>

#include "cli/arguments.hpp"
#include "cli/command.hpp"

namespace cbit::cli {

inline constexpr std::string_view color_choices[] = {"auto", "always", "never"};
inline constexpr OptionSpec color_option{"--color", "WHEN", "Colours in the text", "auto", color_choices};

// auto: on a terminal, unless NO_COLOR is set and not empty (no-color.org).
[[nodiscard]] inline bool use_colour(const Arguments& arguments, const Streams& streams) {
  const std::string_view when = arguments.text("--color").value_or("auto");
  if (when != "auto") return when == "always";
  const char* const no_color = std::getenv("NO_COLOR");
  return streams.out_is_terminal && (no_color == nullptr || *no_color == '\0');
}

}  // namespace cbit::cli
