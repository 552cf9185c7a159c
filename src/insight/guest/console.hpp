// What a guest writes to its serial ports: passed on as it comes, and read along line by line.
//
// Threading: one thread, that of the machine.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "chipset/serial_peer.hpp"

namespace cbit::guest {

// Where a port's bytes go, and where they come from. Either may be empty.
struct SerialEnds {
  std::function<void(std::string_view)> output;     // whole lines, or what there is at a flush
  std::function<std::optional<std::byte>()> input;  // the next byte, if there is one now
};

class Console final : public chipset::SerialPeer {
 public:
  explicit Console(SerialEnds ends) : ends_{std::move(ends)} {}

  void transmit(std::byte byte) override;
  std::optional<std::byte> receive() override;
  void flush() override;

  // Told of this byte, which is not passed on.
  void set_request(std::byte byte, std::function<void()> told) {
    request_ = byte;
    told_ = std::move(told);
  }
  // Where bytes come from besides, before those of SerialEnds::input.
  void set_source(std::function<std::optional<std::byte>()> source) { source_ = std::move(source); }
  // Told of each line, without its end.
  void set_reader(std::function<void(std::string_view)> reader) { reader_ = std::move(reader); }

 private:
  SerialEnds ends_;
  std::function<void(std::string_view)> reader_;
  std::byte request_{};
  std::function<void()> told_;  // empty: of no byte
  std::function<std::optional<std::byte>()> source_;
  std::string line_;     // what has come of it so far
  std::string waiting_;  // not passed on yet
};

// A module that the kernel took no look into: it is another kernel's, or not signed.
struct RefusedModule {
  std::string name;
  std::string why;  // as insmod words it
  std::string_view remedy;
};

// What Linux and the init of an initramfs say on the console about how things went. The guest may be hostile:
// of refused modules the first few are kept.
class LinuxWords {
 public:
  void read(std::string_view line);

  [[nodiscard]] bool panicked() const { return !panic_.empty(); }
  [[nodiscard]] const std::string& panic() const { return panic_; }
  // The exit status of the command of the initramfs.
  [[nodiscard]] std::optional<int> command_status() const { return command_status_; }
  [[nodiscard]] const std::vector<RefusedModule>& refused_modules() const { return refused_modules_; }

 private:
  void read_panic(std::string_view line);
  void read_command_status(std::string_view line);
  void read_refusal(std::string_view line);

  std::string panic_;
  std::optional<int> command_status_;
  std::vector<RefusedModule> refused_modules_;
};

}  // namespace cbit::guest
