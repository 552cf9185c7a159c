// The host's side of a vsock device, for fuzzers: it does as the input says, within the rules of a backend,
// and holds the device to them.
#pragma once

#include <algorithm>
#include <map>
#include <utility>

#include "dev/virtio/vsock_table.hpp"
#include "fuzz_board.hpp"
#include "fuzz_input.hpp"

namespace cbit::dev {

class FuzzSockets final : public VsockBackend {
 public:
  struct End {
    std::uint32_t allowed = 0;
    std::uint32_t untaken = 0;
    bool opened = false;
  };

  explicit FuzzSockets(FuzzInput& input) : input_{&input} {}
  void open(VsockFlow flow) override {
    require(ends.emplace(flow, End{}).second);
    const bool listens = input_->below(4) != 0;
    if (!listens) ends.erase(flow);
    say({.kind = listens ? VsockWord::Kind::opened : VsockWord::Kind::closed, .flow = flow, .bytes = {}});
  }
  void accept(VsockFlow flow) override { require(!std::exchange(ends.at(flow).opened, true)); }
  void write(VsockFlow flow, ConstByteSpan bytes) override {
    End& end = ends.at(flow);
    require(!bytes.empty());
    end.untaken += static_cast<std::uint32_t>(bytes.size());
    require(end.untaken <= VsockTable::buffer_bytes);
  }
  void allow(VsockFlow flow, std::uint32_t bytes) override {
    End& end = ends.at(flow);
    end.allowed += bytes;
    require(bytes != 0 && end.allowed <= VsockTable::buffer_bytes);
  }
  void shut(VsockFlow flow, bool takes_no_more, bool sends_no_more) override {
    require(ends.contains(flow) && (takes_no_more || sends_no_more));
  }
  void close(VsockFlow flow) override { require(ends.erase(flow) == 1); }
  void prepare(os::PollSet&) override {}
  void serve(const os::PollSet&) override { notify(); }

  // A word or two.
  void speak() {
    if (input_->below(4) == 0) {
      const VsockFlow flow{.host_port = next_port_++, .guest_port = input_->below(4)};
      if (!ends.emplace(flow, End{}).second) return;
      return say({.kind = VsockWord::Kind::connect, .flow = flow, .bytes = {}});
    }
    if (ends.empty()) return;
    auto& [flow, end] = *std::next(ends.begin(), input_->byte() % static_cast<unsigned>(ends.size()));
    const std::uint32_t count = input_->take<std::uint16_t>();
    switch (input_->below(8)) {
      case 0: return say({.kind = VsockWord::Kind::ended, .flow = flow, .bytes = {}});
      case 1: return say({.kind = VsockWord::Kind::deaf, .flow = flow, .bytes = {}});
      case 2:
      case 3:
      case 4: {
        const std::uint32_t taken = std::min(count, end.untaken);
        end.untaken -= taken;
        return say({.kind = VsockWord::Kind::taken, .flow = flow, .count = taken, .bytes = {}});
      }
      default: {
        const std::uint32_t sent = std::min(count, end.allowed);
        end.allowed -= sent;
        return say({.kind = VsockWord::Kind::data, .flow = flow, .bytes = Bytes(sent)});
      }
    }
  }

  std::map<VsockFlow, End> ends;

 private:
  FuzzInput* input_;
  std::uint32_t next_port_ = 1 << 30;
};

}  // namespace cbit::dev
