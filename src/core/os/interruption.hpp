// Signals that end a piece of work and not the program: Ctrl-C ends a watch or a recording, and what there is
// by then is kept.
//
// While it lives, its signals only set a mark; those that were ignored stay ignored. They interrupt system
// calls. At most one at a time; threading: one thread.
#pragma once

#include <signal.h>

#include <span>
#include <utility>
#include <vector>

namespace cbit::os {

class Interruption {
 public:
  explicit Interruption(std::span<const int> signals);
  Interruption(const Interruption&) = delete;
  Interruption& operator=(const Interruption&) = delete;
  ~Interruption();

  [[nodiscard]] bool came() const;

 private:
  std::vector<std::pair<int, struct sigaction>> before_;
};

}  // namespace cbit::os
