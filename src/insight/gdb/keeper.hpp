// Going back in time, for a debugger of a replay: a process keeps the machine as it was before its first
// instruction, and for each way back makes a child that runs to where the debugger wants to be. The child
// before it ends, and hands its connection on.
//
// Threading: one thread, and the process has no other.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "gdb/target.hpp"
#include "os/descriptor.hpp"

namespace cbit::gdb {

// What a debugger has set, which the next child takes over.
struct DebuggerState {
  bool acknowledges = true;
  bool physical = false;
  bool reports_breaks = false;
  std::uint64_t step_mode = 0;
  std::uint64_t thread = 0;
  std::vector<Point> points;
};

// The way of a child before its debugger hears of it.
struct Journey {
  enum class Kind : std::uint8_t {
    none,            // the first child: it begins as every run does
    to_position,     // guest::Pc::position()
    of_a_processor,  // to its own cpu::Cpu::position()
    to_last_stop     // up to the position, to find the last place before it that the debugger stops for
  };
  Kind kind = Kind::none;
  std::uint64_t position = 0;
  std::uint64_t processor = 0;
  std::string reason;       // of the stop reply
  std::uint64_t shown = 0;  // of the guest's output, by the children before
  DebuggerState debugger;

  [[nodiscard]] Bytes to_bytes() const;
  // nullopt: they are none.
  [[nodiscard]] static std::optional<Journey> from_bytes(ConstByteSpan bytes);
};

class Keeper {
 public:
  Keeper(Keeper&&) noexcept = default;
  Keeper& operator=(Keeper&&) = delete;

  // Returns once in each child, and in the process that keeps when the last child has ended. What was written
  // to streams has to be flushed before. Errors (internal): the system makes no process.
  static OrError<Keeper> keep();

  // Of the process that keeps: the exit status of the last child.
  [[nodiscard]] const std::optional<int>& status() const { return status_; }
  // Of a child: what it is to do, and its debugger.
  [[nodiscard]] const Journey& journey() const { return journey_; }
  [[nodiscard]] os::Descriptor take_peer() { return std::move(peer_); }

  // The child ends, and the next one sets out. `peer`: the debugger's connection.
  [[noreturn]] void go_back(const Journey& journey, int peer) const;

 private:
  Keeper() = default;

  std::optional<int> status_;
  Journey journey_;
  os::Descriptor peer_;
  os::Descriptor to_keeper_;
};

}  // namespace cbit::gdb
