// How a guest that has booted is given what it is to run: its init asks at ttyS1, and reads it there
// (boot/initramfs/initramfs.hpp). Between the two the machine can be saved, and is as it is restored.
//
// Threading: one thread, that of the machine.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.hpp"

namespace cbit::guest {

class Handover {
 public:
  static constexpr std::byte request{0x05};  // ENQ
  // The UART has no flow control, and Linux's buffers have an end.
  static constexpr std::size_t command_bytes_max = 32 << 10;

  // `save` is called when the guest has asked, between two instructions. Empty: it has asked already, when
  // the machine was saved that goes on now. An empty command is a shell.
  Handover(std::string_view command, std::function<OrError<void>()> save)
      : text_{std::to_string(command.size()) + '\n' + std::string{command}}, save_{std::move(save)} {}

  [[nodiscard]] bool has_asked() const { return !save_; }
  [[nodiscard]] OrError<void> save() const { return save_(); }
  // From now on next() has the command.
  void begin() { begun_ = true; }
  [[nodiscard]] std::optional<std::byte> next() {
    if (!begun_ || at_ == text_.size()) return std::nullopt;
    return static_cast<std::byte>(text_[at_++]);
  }

 private:
  std::string text_;
  std::size_t at_ = 0;
  bool begun_ = false;
  std::function<OrError<void>()> save_;
};

}  // namespace cbit::guest
