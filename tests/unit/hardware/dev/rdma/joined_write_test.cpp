// RDMA writes whose packets come together: the responder may take them at once, and nobody can tell.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>

#include "support/rdma_pair.hpp"
#include "support/small_machine.hpp"

namespace cbit::dev::rdma {
namespace {

constexpr std::uint32_t mtu_bytes = 256;
constexpr std::uint32_t first_psn = mask_24_bits - 2;  // it wraps within a message
constexpr std::uint64_t va = 0x7000'0000;
constexpr std::uint64_t region_bytes = 2048;
constexpr PortAddress sender = 9;

// What lies before a byte that cannot be written is written.
class MemoryWithAHole final : public RegionMemory {
 public:
  explicit MemoryWithAHole(std::uint64_t hole)
      : bytes(2 * region_bytes + RdmaSide::cq_entries * sizeof(Cqe)), hole_{hole} {}
  Result<void> read(std::uint64_t at, ByteSpan to) override {
    std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), to.size(), to.begin());
    return {};
  }
  Result<void, std::uint64_t> write(std::uint64_t at, ConstByteSpan from) override {
    ++writes;
    const bool hit = hole_ >= at && hole_ - at < from.size();
    std::ranges::copy(from.first(hit ? hole_ - at : from.size()),
                      bytes.begin() + static_cast<std::ptrdiff_t>(at));
    if (hit) return tl::unexpected{hole_ - at};
    return {};
  }

  Bytes bytes;
  unsigned writes = 0;

 private:
  std::uint64_t hole_;
};

struct Answer {
  Opcode opcode{};
  std::uint32_t psn = 0, msn = 0;
  unsigned kind = 0, value = 0;
  friend bool operator==(const Answer&, const Answer&) = default;
};

struct Refusal {
  std::uint64_t at = 0, bytes = 0;
  std::string reason;
  friend bool operator==(const Refusal&, const Refusal&) = default;
};

// One that receives, and all that can be seen of it.
struct Responder {
  explicit Responder(std::uint64_t hole, unsigned rights) : memory{hole} {
    tracer.attach(log);
    const std::uint32_t cq =
        engine.create_cq(RdmaSide::cq_entries, {{2 * region_bytes, RdmaSide::cq_entries * sizeof(Cqe)}})
            .value();
    qp = engine.create_qp({.type = IBV_QPT_RC, .pd = 1, .send_cq = cq, .recv_cq = cq, .cap = {}}).value();
    connect_qp(engine, qp, {sender, 77}, IBV_MTU_256, 4, first_psn);
    EXPECT_TRUE(engine.modify_qp(qp, {.qp_access_flags = rights}, IBV_QP_ACCESS_FLAGS));
    // Two segments that do not touch, the later one first.
    key = engine
              .register_region({.pd = 1,
                                .access = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE,
                                .first = va,
                                .bytes = region_bytes,
                                .segments = {{region_bytes, 700}, {100, region_bytes - 700}}})
              .value();
  }

  void receive_at_once(std::span<const Frame> frames) {
    while (!frames.empty()) frames = frames.subspan(engine.receive(frames));
  }
  void receive_one_by_one(std::span<const Frame> frames) {
    for (const Frame& frame : frames) engine.receive(frame.source, frame.packet);
  }
  [[nodiscard]] std::vector<Refusal> refusals() const {
    std::vector<Refusal> found;
    for (const RdmaRefused& refused : log.all<RdmaRefused>())
      found.push_back({refused.address, refused.bytes, std::string{refused.reason}});
    return found;
  }

  Clock clock;
  Tracer tracer{clock};
  test::EventLog log;
  MemoryWithAHole memory;
  std::vector<Answer> answers;
  Engine engine{memory, tracer, {}, [this](PortAddress, const Packet& packet, mem::Snapshot&&) {
                  const Syndrome syndrome = packet.aeth->syndrome;
                  answers.push_back({packet.bth.opcode, packet.bth.psn, packet.aeth->msn,
                                     syndrome.get<Syndrome::Kind>(), syndrome.get<Syndrome::Value>()});
                }};
  std::uint32_t qp = 0, key = 0;
};

// A write of the first `bytes` of `data`, as a requester sends it.
std::vector<Packet> message(std::uint32_t qp, std::uint32_t key, std::uint64_t remote, ConstByteSpan data) {
  std::vector<Packet> packets;
  for (std::size_t done = 0; done < data.size(); done += mtu_bytes) {
    const bool first = done == 0, last = done + mtu_bytes >= data.size();
    Packet& packet = packets.emplace_back();
    packet.bth = {.opcode = first && last ? Opcode::rc_write_only
                            : first       ? Opcode::rc_write_first
                            : last        ? Opcode::rc_write_last
                                          : Opcode::rc_write_middle,
                  .destination_qp = qp,
                  .ack_request = last,
                  .psn = psn_add(first_psn, static_cast<std::uint32_t>(done / mtu_bytes))};
    if (first) packet.reth = Reth{remote, key, static_cast<std::uint32_t>(data.size())};
    packet.payload = data.subspan(done, std::min<std::size_t>(mtu_bytes, data.size() - done));
  }
  return packets;
}

// On the wire; the payloads stay where they are.
std::vector<Frame> frames_of(const std::vector<Packet>& packets, mem::Lender& lender) {
  std::vector<Frame> frames;
  for (const Packet& packet : packets) {
    mem::Snapshot payload;
    if (!packet.payload.empty()) payload.extend(packet.payload, lender);
    frames.emplace_back(sender, 1).packet.put(packet, std::move(payload));
  }
  return frames;
}

void do_harm(std::vector<Packet>& packets) {
  const std::size_t at = *rc::gen::inRange<std::size_t>(0, packets.size());
  Packet& packet = packets[at];
  switch (*rc::gen::inRange(0, 9)) {
    case 0: packets.erase(packets.begin() + static_cast<std::ptrdiff_t>(at)); break;
    case 1: packets.insert(packets.begin() + static_cast<std::ptrdiff_t>(at), packets[at]); break;
    case 2: packet.bth.psn = psn_add(packet.bth.psn, *rc::gen::inRange(1u, 4u)); break;
    case 3: packet.bth.ack_request = !packet.bth.ack_request; break;
    case 4: packet.payload = packet.payload.first(packet.payload.size() / 8 * 4); break;
    case 5: packet.bth.pkey = 1; break;
    case 6: packet.bth.destination_qp ^= 1; break;
    case 7:
      if (packet.reth) packet.reth->bytes += *rc::gen::element(4u, 0xffff'fffcu);
      break;
    case 8:
      if (packet.reth)
        packet.reth->rkey ^= 1;
      else
        packet.bth.opcode =
            *rc::gen::element(Opcode::rc_write_middle, Opcode::rc_write_last, Opcode::rc_send_middle);
      break;
  }
}

RC_GTEST_PROP(RdmaJoinedWrite, AMessageThatComesAtOnceIsAsOneThatComesPacketByPacket, ()) {
  const std::uint64_t hole = *rc::gen::inRange<std::uint64_t>(0, 3 * region_bytes);
  const unsigned rights = *rc::gen::weightedElement<unsigned>({{9, IBV_ACCESS_REMOTE_WRITE}, {1, 0}});
  Responder at_once{hole, rights}, one_by_one{hole, rights};
  RC_ASSERT(at_once.key == one_by_one.key && at_once.qp == one_by_one.qp);

  const Bytes data = pattern_bytes(*rc::gen::inRange<std::size_t>(1, region_bytes), 1);
  const std::uint64_t remote = va + *rc::gen::inRange<std::uint64_t>(0, region_bytes);
  std::vector<Packet> packets = message(at_once.qp, at_once.key, remote, data);
  for (unsigned harms = *rc::gen::inRange(0u, 3u); harms != 0 && !packets.empty(); --harms) do_harm(packets);
  // And a message behind it.
  for (Packet& packet : message(at_once.qp, at_once.key, va, data)) {
    packet.bth.psn = psn_add(packet.bth.psn, static_cast<std::uint32_t>(packets.size()));
    packets.push_back(packet);
  }
  mem::Lender lender;
  const std::vector<Frame> frames = frames_of(packets, lender);
  at_once.receive_at_once(frames);
  one_by_one.receive_one_by_one(frames);

  RC_ASSERT(at_once.memory.bytes == one_by_one.memory.bytes);
  RC_ASSERT(at_once.answers == one_by_one.answers);
  RC_ASSERT(at_once.refusals() == one_by_one.refusals());
  const QueuePair &a = *at_once.engine.find_qp(at_once.qp), &b = *one_by_one.engine.find_qp(one_by_one.qp);
  RC_ASSERT(a.state == b.state);
  RC_ASSERT(a.msn == b.msn);
  if (a.receives()) {
    RC_ASSERT(a.expected_psn == b.expected_psn);
    RC_ASSERT(a.inbound.done == b.inbound.done);
  }
}

TEST(RdmaJoinedWriteOnce, AWholeMessageGoesToEachSegmentAtOnce) {
  Responder responder{~0ull, IBV_ACCESS_REMOTE_WRITE};
  const Bytes data = pattern_bytes(1600, 1);
  mem::Lender lender;
  const std::vector<Frame> frames = frames_of(message(responder.qp, responder.key, va, data), lender);
  EXPECT_EQ(responder.engine.receive(frames), frames.size());
  EXPECT_EQ(responder.memory.writes, 2u);
  EXPECT_TRUE(std::equal(data.begin(), data.begin() + 700, responder.memory.bytes.begin() + region_bytes));
  EXPECT_TRUE(std::equal(data.begin() + 700, data.end(), responder.memory.bytes.begin() + 100));
}

TEST(RdmaJoinedWriteOnce, AFaultIsThatOfThePacketWithTheByte) {
  // Byte 600 of the message, which the third packet carries.
  Responder responder{region_bytes + 600, IBV_ACCESS_REMOTE_WRITE};
  const Bytes data = pattern_bytes(1600, 1);
  mem::Lender lender;
  responder.receive_at_once(frames_of(message(responder.qp, responder.key, va, data), lender));
  ASSERT_EQ(responder.answers.size(), 1u);
  EXPECT_EQ(responder.answers[0].psn, psn_add(first_psn, 2));
  EXPECT_EQ(responder.answers[0].value, static_cast<unsigned>(NakCode::remote_operational_error));
  EXPECT_EQ(responder.refusals(), (std::vector<Refusal>{{va + 512, mtu_bytes, "memory-fault"}}));
}

}  // namespace
}  // namespace cbit::dev::rdma
