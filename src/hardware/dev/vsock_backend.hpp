// The host's end of a vsock device: what the guest's connections lead to, as a NetBackend is what a network
// device is connected to. net/ has the one that there is.
//
// A connection is known by its two ports. Neither side sends more than the other has said it takes: allow()
// for what the host sends, and what the device counts for what the guest does. What the host has to say waits
// here until the device takes it. Threading: one thread, that of the machine.
#pragma once

#include <compare>
#include <cstdint>
#include <deque>
#include <optional>
#include <utility>

#include "base/bytes.hpp"
#include "dev/host_side.hpp"

namespace cbit::dev {

struct VsockFlow {
  std::uint32_t host_port = 0;
  std::uint32_t guest_port = 0;

  friend auto operator<=>(const VsockFlow&, const VsockFlow&) = default;
};

// What the host says of a connection.
struct VsockWord {
  enum class Kind : std::uint8_t {
    connect,  // to a port of the guest's
    opened,   // the guest's request has found a listener
    data,     // `bytes`, no more than was allowed
    taken,    // so many bytes of the guest's, `count`, are the host's now
    ended,    // it sends no more
    deaf,     // it takes no more
    closed,   // there was no listener, or no room
  };
  Kind kind{};
  VsockFlow flow;
  std::uint32_t count = 0;
  Bytes bytes;

  friend bool operator==(const VsockWord&, const VsockWord&) = default;
};

// The device, as its backend sees it.
class VsockEnd {
 public:
  virtual ~VsockEnd() = default;
  virtual void host_has_spoken() = 0;
  // It has a driver.
  [[nodiscard]] virtual bool is_up() const = 0;
};

class VsockBackend : public HostSide {
 public:
  // The device's end, which is told off by nullptr before it ends.
  void attach(VsockEnd* device) { device_ = device; }
  [[nodiscard]] bool in_use() const final { return device_ != nullptr && device_->is_up(); }

  // ---- what the guest does; answers are words ----
  // It connects to a port of the host's: opened or closed follows.
  virtual void open(VsockFlow flow) = 0;
  // It has taken a connection that the host asked for.
  virtual void accept(VsockFlow flow) = 0;
  // It has sent this: taken follows, in parts, now or later.
  virtual void write(VsockFlow flow, ConstByteSpan bytes) = 0;
  // It takes so many bytes more.
  virtual void allow(VsockFlow flow, std::uint32_t bytes) = 0;
  // It takes, or sends, no more.
  virtual void shut(VsockFlow flow, bool takes_no_more, bool sends_no_more) = 0;
  // The connection is over. What was written still goes out; no word follows, and its ports are free.
  virtual void close(VsockFlow flow) = 0;

  // The next word; nullopt: the host has said nothing.
  [[nodiscard]] std::optional<VsockWord> take();

 protected:
  void say(VsockWord word) { said_.push_back(std::move(word)); }
  // Lets the device know of words that no question of its own has had for an answer.
  void notify();

 private:
  VsockEnd* device_ = nullptr;
  std::deque<VsockWord> said_;
};

}  // namespace cbit::dev
