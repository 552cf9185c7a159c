// Patterns for names, as a shell has them for files: 'dma_*'.
#pragma once

#include <fnmatch.h>

#include <string>
#include <string_view>

namespace cbit::cli {

[[nodiscard]] inline bool matches(const std::string& pattern, std::string_view name) {
  return fnmatch(pattern.c_str(), std::string{name}.c_str(), 0) == 0;
}

}  // namespace cbit::cli
