// The one lock of a machine whose processors run on threads of the host.
//
// A processor's thread executes while it has *joined*: it works on its own state, its own translations and
// the bytes that it has leased, and may read everything else. Whatever changes more than that is done
// *alone*: all others are asked to stand still, and do so where their next block of code begins, or where
// they want to be alone themselves. So all that has one thread by design keeps it, and leases, code and
// devices change only while nobody uses them.
//
// Whoever waits here, to be alone or to go on behind that, finds the machine as others have left it: no
// pointer to leased bytes or to a translation may be kept from before. The block that runs may, and does:
// only what frees blocks needs more. lock_outside() waits until nobody is inside of one.
//
// Threading: as each function says.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>

namespace cbit::cpu {

class Standstill {
 public:
  static constexpr std::size_t seats_max = 16;

  Standstill() = default;
  Standstill(const Standstill&) = delete;
  Standstill& operator=(const Standstill&) = delete;

  // By a processor's thread that has not joined, outside of blocks: waits as long as somebody is, or wants to
  // be, alone.
  void join();
  // The reverse.
  void leave();
  // Not zero: whoever has joined shall let others be alone, soon. Generated code reads it, too.
  [[nodiscard]] const std::atomic<std::uint32_t>& wanted() const { return wanted_; }
  // leave() and join(): wanted() has been seen, outside of blocks.
  void stand_aside() {
    leave();
    join();
  }

  // By a thread that has joined: until unlock() it is alone. Not recursive.
  void lock(std::size_t seat);
  void unlock();
  // Likewise, and all processors are outside of blocks.
  void lock_outside(std::size_t seat);

  // Whether the seat's processor is inside of a block: written by its thread, joined; read alone.
  void set_inside(std::size_t seat, bool inside) { inside_[seat].value = inside; }
  // Who is alone, or was last: read alone, or while nobody has joined.
  [[nodiscard]] std::size_t last_alone() const { return last_alone_; }

  // All are to come to an end: written alone, or while nobody has joined; read joined, alone or then.
  void set_stopping(bool stopping) { stopping_ = stopping; }
  [[nodiscard]] bool stopping() const { return stopping_; }

 private:
  static constexpr std::uint32_t alone = 1, outside = 2;  // bits of wanted_

  void join_unless(std::uint32_t bits);
  void wait_for_others();

  struct alignas(64) Inside {
    bool value = false;
  };

  std::mutex arbiter_;  // who is alone
  std::atomic<std::uint32_t> wanted_ = 0;
  alignas(64) std::atomic<std::uint32_t> joined_ = 0;
  std::array<Inside, seats_max> inside_{};
  std::size_t last_alone_ = 0;
  bool stopping_ = false;
};

}  // namespace cbit::cpu
