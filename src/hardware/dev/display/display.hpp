// What a display adapter shows, for whoever looks at the screen.
#pragma once

#include <cstdint>
#include <optional>

#include "base/bytes.hpp"

namespace cbit::dev {

// Three bytes per pixel, red first; rows from the top, without gaps.
struct Picture {
  std::uint32_t width = 0;
  std::uint32_t height = 0;
  Bytes rgb;
};

class Display {
 public:
  virtual ~Display() = default;
  // As it is now; nullopt: nothing, as no mode is set, or none that can be shown. Changes nothing.
  [[nodiscard]] virtual std::optional<Picture> picture() const = 0;
};

}  // namespace cbit::dev
