// The host's side of a network device, for fuzzers: frames of any length, up to more than there may be.
#pragma once

#include "dev/net_backend.hpp"
#include "fuzz_board.hpp"
#include "fuzz_input.hpp"

namespace cbit {

class FuzzNetwork final : public dev::NetBackend {
 public:
  bool receive(ConstByteSpan frame) override {
    require(frame.size() <= dev::tagged_frame_max);
    return true;
  }
  void prepare(os::PollSet&) override {}
  void serve(const os::PollSet&) override {}

  // A few frames, each filled with a byte, some of them to anybody or with a tag.
  void say(FuzzInput& input) {
    for (unsigned n = input.below(4); n != 0; --n) {
      Bytes frame(input.take<std::uint16_t>() % (dev::tagged_frame_max + 8), std::byte{input.byte()});
      constexpr std::size_t type_at = 12;
      if (frame.size() >= type_at + 2 && input.flag())
        store(frame, type_at, std::uint16_t{0x0081});  // 802.1Q, as it is on the wire
      send(frame);
    }
    deliver();
  }
};

}  // namespace cbit
