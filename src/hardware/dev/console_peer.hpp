// The other end of a virtio console's port: a terminal, a file, a test.
#pragma once

#include <cstddef>

#include "base/bytes.hpp"

namespace cbit::dev {

class ConsolePeer {
 public:
  virtual ~ConsolePeer() = default;
  // The guest wrote this.
  virtual void output(ConstByteSpan text) = 0;
  // Takes what there is for the guest, at most as much as fits; returns how much.
  virtual std::size_t input(ByteSpan to) = 0;
  // The guest opened or closed its end. Of several ports only; a single one is always open.
  virtual void opened(bool) {}
};

}  // namespace cbit::dev
