// Ports by which a guest speaks to who runs it.
//
//   80h   POST code: what is written is remembered; software writes here to wait
//   E9h   debug console: written bytes are text; reads as E9h, by which a guest finds it (Bochs, QEMU)
//   F4h   debug exit: ends the machine with the status (value << 1) | 1 (QEMU's isa-debug-exit)
//
// Sources: Bochs, "Port E9 hack"; QEMU's documentation of isa-debugcon and isa-debug-exit. Threading: one
// thread.
#pragma once

#include <cstdint>

#include "base/state_stream.hpp"
#include "bus/port_io.hpp"
#include "chipset/platform_control.hpp"
#include "chipset/serial_peer.hpp"

namespace cbit::chipset {

class PostCode final : public bus::PioRegion {
 public:
  void reset() { code_ = 0; }
  std::uint32_t read(std::uint16_t, unsigned) override { return code_; }
  void write(std::uint16_t, unsigned, std::uint32_t value) override {
    code_ = static_cast<std::uint8_t>(value);
  }
  [[nodiscard]] std::uint8_t code() const { return code_; }
  void transfer(StateStream& s) { s(code_); }

 private:
  std::uint8_t code_ = 0;
};

class DebugConsole final : public bus::PioRegion {
 public:
  static constexpr std::uint8_t signature = 0xe9;

  // nullptr: what is written is lost.
  void set_peer(SerialPeer* peer) { peer_ = peer; }
  std::uint32_t read(std::uint16_t, unsigned) override { return signature; }
  void write(std::uint16_t, unsigned, std::uint32_t value) override {
    if (peer_ != nullptr) peer_->transmit(static_cast<std::byte>(value));
  }
  void flush() {
    if (peer_ != nullptr) peer_->flush();
  }

 private:
  SerialPeer* peer_ = nullptr;
};

class DebugExit final : public bus::PioRegion {
 public:
  explicit DebugExit(PlatformControl& platform) : platform_{&platform} {}
  std::uint32_t read(std::uint16_t, unsigned) override { return 0; }
  void write(std::uint16_t, unsigned, std::uint32_t value) override { platform_->exit(value << 1 | 1); }

 private:
  PlatformControl* platform_;
};

}  // namespace cbit::chipset
