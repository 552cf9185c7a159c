#include "os/terminal_size.hpp"

#include <sys/ioctl.h>

#include <cstdlib>

#include "base/text.hpp"

namespace cbit::os {

std::optional<std::size_t> columns_of(int fd) {
  const char* const variable = std::getenv("COLUMNS");
  if (const auto wanted = decimal(variable != nullptr ? variable : ""); wanted && *wanted != 0) return wanted;
  winsize size{};
  if (::ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return std::nullopt;
  return size.ws_col;
}

}  // namespace cbit::os
