// `cbit peek`: the bytes of one buffer of an experiment as its owner, a device, the host's software and a
// probe on the memory chips see them, at the end of the run or after one of its steps.
//
// Nothing here changes the run: the owner's view is a real read, the others are looks without a trace.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lab/experiment.hpp"
#include "testbed/views.hpp"
#include "watch/page_look.hpp"

namespace cbit::lab {

struct PeekOptions {
  std::string buffer;
  std::uint64_t offset = 0;
  std::optional<std::uint64_t> length;  // the rest of the buffer, at most 256 bytes, unless given
  std::optional<std::size_t> step;      // after the step with this number, from 1; nullopt: at the end
};

// What one side sees. `bytes` is empty and `sees` none where there was nothing to see.
struct PeekView {
  std::string_view who;  // "owner", "device", "host", "dram"
  std::string how;       // "the guest's CPU", "at D:0x1000 of mapping \"m\""
  Bytes bytes;
  testbed::Sees sees = testbed::Sees::none;
};

// A page that the range touches, as the host guesses it from its bytes alone (watch/page_look.hpp), without
// comparing it with what was written.
struct PeekPage {
  PhysAddr at;
  watch::PageLook look;
};

struct Peek {
  PhysAddr at;  // of the first byte
  std::uint64_t offset = 0;
  std::vector<PeekView> views;
  std::vector<PeekPage> host_pages;
};

// Errors (usage): no such buffer, step or range; bad_input: the run did not come that far, or the buffer is
// gone by then.
[[nodiscard]] OrError<Peek> peek(const Experiment& experiment, const PeekOptions& options);

// Hexdumps, two sides beside each other, 16 bytes a row; then the host's guesses.
[[nodiscard]] std::string to_text(const Peek& peek);
// The object of schema/peek.schema.json, pretty-printed with a final newline.
[[nodiscard]] std::string to_json(const Peek& peek, std::string_view buffer);

}  // namespace cbit::lab
