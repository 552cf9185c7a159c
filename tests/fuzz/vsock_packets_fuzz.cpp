// A hostile guest and a lively host at the table of a vsock device's connections: the input is packets of the
// guest's, words of the host's, and when the guest fetches what waits for it.
//
// Held: nothing crashes; the host sends no more than it was allowed, nor is the guest sent more than it has
// said there is room for; connections, what waits of each, and answers are bounded; each connection that the
// host has is told of its end once, and none is left behind a reset.
#include "dev/virtio/vsock_table.hpp"
#include "fuzz_board.hpp"
#include "fuzz_input.hpp"
#include "fuzz_sockets.hpp"

namespace cbit::dev {
namespace {

constexpr unsigned steps_max = 2000;
constexpr std::uint64_t guest_cid = 3;

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
