// Standard input as a guest's keyboard: read as far as there is something, never waited for.
//
// Threading: one thread.
#pragma once

#include <array>
#include <cstddef>
#include <optional>

#include "os/poll_set.hpp"

namespace cbit::cli {

class Keyboard {
 public:
  // The next byte, if there is one now; none after the end of the input.
  std::optional<std::byte> next();
  // Nothing comes any more.
  [[nodiscard]] bool ended() const { return ended_ && begin_ == end_; }
  // Adds what ends a wait for input.
  void await(os::PollSet& set) const;

 private:
  void fill();

  std::array<std::byte, 256> buffer_{};
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  bool ended_ = false;
};

}  // namespace cbit::cli
