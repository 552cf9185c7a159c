// The host's end of a vsock device for tests: keeps what the device does, in words, and says what it is told.
#pragma once

#include <fmt/format.h>

#include <string>
#include <utility>
#include <vector>

#include "dev/vsock_backend.hpp"

namespace cbit::dev {

class VsockHost final : public VsockBackend {
 public:
  void open(VsockFlow flow) override { note("open", flow); }
  void accept(VsockFlow flow) override { note("accept", flow); }
  void write(VsockFlow flow, ConstByteSpan bytes) override {
    note("write", flow, fmt::format(" {}", bytes.size()));
    written.insert(written.end(), bytes.begin(), bytes.end());
  }
  void allow(VsockFlow flow, std::uint32_t bytes) override { note("allow", flow, fmt::format(" {}", bytes)); }
  void shut(VsockFlow flow, bool takes_no_more, bool sends_no_more) override {
    note("shut", flow, fmt::format("{}{}", takes_no_more ? " takes" : "", sends_no_more ? " sends" : ""));
  }
  void close(VsockFlow flow) override { note("close", flow); }
  void prepare(os::PollSet&) override {}
  void serve(const os::PollSet&) override { notify(); }

  using VsockBackend::say;
  void say(VsockWord::Kind kind, VsockFlow flow, std::uint32_t count = 0) {
    say({.kind = kind, .flow = flow, .count = count, .bytes = {}});
  }
  void send(VsockFlow flow, Bytes bytes) {
    say({.kind = VsockWord::Kind::data, .flow = flow, .bytes = std::move(bytes)});
  }

  // Since the last call.
  std::vector<std::string> heard() { return std::exchange(heard_, {}); }

  Bytes written;

 private:
  void note(std::string_view what, VsockFlow flow, std::string_view more = {}) {
    heard_.push_back(fmt::format("{} {}:{}{}", what, flow.host_port, flow.guest_port, more));
  }

  std::vector<std::string> heard_;
};

}  // namespace cbit::dev
