// Hostile packets against a NIC's transport: whatever comes, only bytes of the region that a peer may write
// change, and nobody asserts. Packets are mutations of good ones, so that they get past the parser.
//
// Input: packets, each an opcode choice, a length and fields; some are raw bytes.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "../support/rdma_pair.hpp"
#include "fuzz_input.hpp"

namespace cbit::dev::rdma {
namespace {

constexpr std::uint64_t writable_first = 8192, writable_bytes = 4096, readable_first = 16384,
                        va = 0x7000'0000;

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "%s\n", what);
  std::abort();
}

struct Keys {
  std::uint32_t write = 0, read = 0;
};

// Mostly something that is nearly right.
std::uint64_t address_from(FuzzInput& in) {
  switch (in.below(4)) {
    case 0: return va + in.take<std::uint16_t>() % (2 * writable_bytes);
    case 1: return va + writable_bytes - in.byte();
    case 2: return ~std::uint64_t{0} - in.byte();
    default: return in.take<std::uint64_t>();
  }
}

std::uint32_t key_from(FuzzInput& in, const Keys& keys) {
  switch (in.below(4)) {
    case 0: return keys.read;
    case 1: return keys.write ^ in.byte();
    default: return keys.write;
  }
}

UnfilledBytes packet_from(FuzzInput& in, const Keys& keys, std::uint32_t qp, std::uint32_t expected_psn) {
  Packet packet;
  const std::uint8_t value = in.flag() ? static_cast<std::uint8_t>(in.below(0x15)) : in.byte();
  const OpcodeInfo* const info = find_opcode(value);
  if (info == nullptr) return UnfilledBytes(in.byte(), std::byte{value});
  packet.bth = {.opcode = info->opcode,
                .destination_qp = in.below(8) == 0 ? in.take<std::uint32_t>() & mask_24_bits : qp,
                .ack_request = in.flag(),
                .psn = psn_add(expected_psn, in.below(4) == 0 ? in.byte() : 0)};
  if (info->reth) packet.reth = Reth{address_from(in), key_from(in, keys), in.take<std::uint16_t>()};
  if (info->atomic) packet.atomic = AtomicEth{address_from(in), key_from(in, keys), in.byte(), in.byte()};
  if (info->deth) packet.deth = Deth{in.byte(), in.byte()};
  if (info->aeth) packet.aeth = Aeth{Syndrome{in.byte()}, in.byte()};
  if (info->atomic_ack) packet.atomic_ack = in.byte();
  if (info->immediate) packet.immediate = in.byte();
  Bytes payload;
  if (info->payload) payload.resize(in.flag() ? 256 : in.take<std::uint16_t>() % 600, std::byte{0xee});
  packet.payload = payload;
  UnfilledBytes wire = serialize(packet);
  if (in.below(8) == 0 && !wire.empty()) wire.resize(in.byte() % wire.size());
  return wire;
}

void check(const RdmaSide& side, const Bytes& before) {
  const Bytes& now = side.memory.bytes;
  for (std::uint64_t at = 0; at < RdmaSide::arena_bytes; ++at)
    if (now[at] != before[at] && (at < writable_first || at >= writable_first + writable_bytes))
      fail("a byte outside of the writable region has changed");
}

}  // namespace
}  // namespace cbit::dev::rdma

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cbit;
  using namespace cbit::dev::rdma;
  FuzzInput in{data, size};
  Fabric fabric;
  RdmaSide victim{fabric}, attacker{fabric};
  victim.connect(attacker);
  const Keys keys{*victim.engine.register_region(
                      {.pd = RdmaSide::pd,
                       .access = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_ATOMIC,
                       .first = va,
                       .bytes = writable_bytes,
                       .segments = {{writable_first, writable_bytes}}}),
                  *victim.engine.register_region({.pd = RdmaSide::pd,
                                                  .access = IBV_ACCESS_REMOTE_READ,
                                                  .first = va,
                                                  .bytes = writable_bytes,
                                                  .segments = {{readable_first, writable_bytes}}})};
  for (std::uint64_t id = 0; id < 4; ++id)
    (void)victim.engine.post_recv(victim.qp, {.wr_id = id, .sg_list = {{va, 512, keys.write}}});
  const Bytes before = victim.memory.bytes;
  for (unsigned packets = 0; packets < 64 && !in.empty(); ++packets) {
    const std::uint32_t psn = victim.engine.find_qp(victim.qp)->expected_psn;
    victim.engine.receive(in.below(8) == 0 ? in.byte() : attacker.address,
                          WirePacket::of(packet_from(in, keys, victim.qp, psn)));
    // The victim has a request of its own under way, for responses to hit.
    if (in.below(4) == 0) {
      ibv_send_wr wr{.sg_list = {{va, in.byte(), keys.write}}, .opcode = IBV_WR_RDMA_READ};
      wr.rdma = {0, 0};
      (void)victim.engine.post_send(victim.qp, wr);
    }
    victim.engine.tick();
    (void)victim.poll();
  }
  check(victim, before);
  return 0;
}
