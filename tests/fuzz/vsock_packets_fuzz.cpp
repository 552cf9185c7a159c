// A hostile guest and a lively host at the table of a vsock device's connections: the input is packets of the
// guest's, words of the host's, and when the guest fetches what waits for it.
//
// Held: nothing crashes; the host sends no more than it was allowed, nor is the guest sent more than it has
// said there is room for; connections, what waits of each, and answers are bounded; each connection that the
// host has is told of its end once, and none is left behind a reset.
#include <map>

#include "dev/virtio/vsock_table.hpp"
#include "fuzz_board.hpp"
#include "fuzz_input.hpp"

namespace cbit::dev {
namespace {

using Kind = VsockWord::Kind;

constexpr unsigned steps_max = 2000;
constexpr std::uint64_t guest_cid = 3;

// Does as the input says, within the rules of a backend.
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
    say({.kind = listens ? Kind::opened : Kind::closed, .flow = flow, .bytes = {}});
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
  void serve(const os::PollSet&) override {}

  // A word or two.
  void speak() {
    if (input_->below(4) == 0) {
      const VsockFlow flow{.host_port = next_port_++, .guest_port = input_->below(4)};
      if (!ends.emplace(flow, End{}).second) return;
      return say({.kind = Kind::connect, .flow = flow, .bytes = {}});
    }
    if (ends.empty()) return;
    auto& [flow, end] = *std::next(ends.begin(), input_->byte() % static_cast<unsigned>(ends.size()));
    const std::uint32_t count = input_->take<std::uint16_t>();
    switch (input_->below(8)) {
      case 0: return say({.kind = Kind::ended, .flow = flow, .bytes = {}});
      case 1: return say({.kind = Kind::deaf, .flow = flow, .bytes = {}});
      case 2:
      case 3:
      case 4: {
        const std::uint32_t taken = std::min(count, end.untaken);
        end.untaken -= taken;
        return say({.kind = Kind::taken, .flow = flow, .count = taken, .bytes = {}});
      }
      default: {
        const std::uint32_t sent = std::min(count, end.allowed);
        end.allowed -= sent;
        return say({.kind = Kind::data, .flow = flow, .bytes = Bytes(sent)});
      }
    }
  }

  std::map<VsockFlow, End> ends;

 private:
  FuzzInput* input_;
  std::uint32_t next_port_ = 1 << 30;
};

class HostileGuest {
 public:
  explicit HostileGuest(FuzzInput& input) : input_{&input}, sockets_{input} {}

  void run() {
    for (unsigned step = 0; step < steps_max && !input_->empty(); ++step) {
      act();
      require(table_.connections() <= VsockTable::connections_max);
    }
    table_.reset();
    require(sockets_.ends.empty() && table_.connections() == 0 && !table_.has_packets());
  }

 private:
  void act() {
    switch (input_->below(8)) {
      case 0: return fetch();
      case 1: sockets_.speak(); return table_.hear_host();
      case 2:
        if (input_->below(16) == 0) table_.reset();
        return;
      default:
        if (table_.has_room()) send();
        return;
    }
  }

  // Of few ports, mostly as it should be.
  void send() {
    spec::VirtioVsockHdr header{.src_cid = guest_cid,
                                .dst_cid = spec::vsock_cid::host,
                                .src_port = input_->below(4),
                                .dst_port = input_->below(3),
                                .type = spec::virtio_vsock_type::stream,
                                .op = input_->below(9),
                                .flags = input_->below(5),
                                .buf_alloc = input_->take<std::uint16_t>(),
                                .fwd_cnt = input_->take<std::uint16_t>()};
    if (input_->flag()) header.dst_port = (1u << 30) + input_->below(8);
    if (header.op == spec::virtio_vsock_op::rw) header.len = input_->take<std::uint16_t>();
    switch (input_->below(32)) {
      case 0: header.src_cid = input_->take<std::uint64_t>(); break;
      case 1: header.dst_cid = input_->take<std::uint64_t>(); break;
      case 2: header.type = input_->take<std::uint16_t>(); break;
      case 3: header.op = input_->take<std::uint16_t>(); break;
      case 4: header.buf_alloc = header.fwd_cnt = input_->take<std::uint32_t>(); break;
      case 5: header.len = VsockTable::buffer_bytes + input_->take<std::uint32_t>() / 2; break;
      default: break;
    }
    const std::uint32_t length = header.len;
    table_.receive(header, Bytes(length <= VsockTable::buffer_bytes ? length : 0));
  }

  void fetch() {
    const std::uint32_t room = 1u + input_->take<std::uint16_t>();
    for (unsigned n = input_->byte(); n != 0 && table_.has_packets(); --n) {
      const VsockTable::Packet packet = table_.next(room);
      const bool is_data = packet.header.op == spec::virtio_vsock_op::rw;
      require(packet.payload.size() == packet.header.len && packet.payload.size() <= room);
      require(is_data == !packet.payload.empty());
    }
  }

  FuzzInput* input_;
  FuzzSockets sockets_;
  VsockTable table_{guest_cid, &sockets_};
};

}  // namespace
}  // namespace cbit::dev

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  cbit::FuzzInput input{data, size};
  cbit::dev::HostileGuest{input}.run();
  return 0;
}
