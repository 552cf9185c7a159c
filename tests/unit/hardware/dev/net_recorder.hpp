// A network of the host's for tests: keeps what a device sends, and sends what it is told.
#pragma once

#include <vector>

#include "dev/net_backend.hpp"

namespace cbit::dev {

class RecordingNetwork final : public NetBackend {
 public:
  bool receive(ConstByteSpan frame) override {
    seen.emplace_back(frame.begin(), frame.end());
    return true;
  }
  void prepare(os::PollSet&) override {}
  void serve(const os::PollSet&) override { deliver(); }
  void say(ConstByteSpan frame) {
    send(frame);
    deliver();
  }

  std::vector<Bytes> seen;
};

}  // namespace cbit::dev
