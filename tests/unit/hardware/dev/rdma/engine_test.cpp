#include "dev/rdma/engine.hpp"

#include <gtest/gtest.h>

#include "support/rdma_pair.hpp"

namespace cbit::dev::rdma {
namespace {

constexpr unsigned all_rights =
    IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC;
constexpr std::uint64_t va = 0x7000'0000;

// A datagram pair of this side, ready to send.
std::uint32_t datagram_pair(RdmaSide& side) {
  const std::uint32_t qp =
      side.engine
          .create_qp(
              {.type = IBV_QPT_UD, .pd = RdmaSide::pd, .send_cq = side.cq, .recv_cq = side.cq, .cap = {}})
          .value();
  EXPECT_TRUE(side.engine.modify_qp(qp, {.qp_state = IBV_QPS_INIT, .qkey = 0x42},
                                    IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_QKEY));
  EXPECT_TRUE(side.engine.modify_qp(qp, {.qp_state = IBV_QPS_RTR}, IBV_QP_STATE));
  EXPECT_TRUE(side.engine.modify_qp(qp, {.qp_state = IBV_QPS_RTS}, IBV_QP_STATE | IBV_QP_SQ_PSN));
  return qp;
}

class RdmaEngine : public testing::Test {
 protected:
  void SetUp() override {
    a.connect(b);
    b.connect(a);
    // Two segments that do not touch, so that a message has to be scattered over them.
    b_key = b.engine
                .register_region({.pd = RdmaSide::pd,
                                  .access = all_rights,
                                  .first = va,
                                  .bytes = 4096,
                                  .segments = {{8192, 1000}, {16384, 3096}}})
                .value();
    a_key = a.engine
                .register_region({.pd = RdmaSide::pd,
                                  .access = all_rights,
                                  .first = va,
                                  .bytes = 4096,
                                  .segments = {{0, 4096}}})
                .value();
    const Bytes text = pattern_bytes(4096, 1);
    std::ranges::copy(text, a.memory.bytes.begin());
  }

  [[nodiscard]] Bytes region_of_b() {
    Bytes bytes(4096);
    EXPECT_TRUE(read_segments(b.memory, b.engine.regions().find(b_key)->segments, 0, bytes));
    return bytes;
  }
  ibv_send_wr request(ibv_wr_opcode opcode, std::uint32_t bytes, std::uint64_t remote_offset = 0) const {
    ibv_send_wr wr{.wr_id = 77, .sg_list = {{va, bytes, a_key}}, .opcode = opcode};
    wr.rdma = {va + remote_offset, b_key};
    wr.atomic = {.remote_addr = va + remote_offset, .compare_add = 0, .swap = 0, .rkey = b_key};
    return wr;
  }
  std::vector<Cqe> send(const ibv_send_wr& wr) {
    EXPECT_TRUE(a.engine.post_send(a.qp, wr));
    fabric.run();
    return a.poll();
  }
  // A request that the peer refuses: nothing of it changes, and both sides know.
  void expect_refused(const ibv_send_wr& wr, ibv_wc_status status) {
    const Bytes before = b.memory.bytes;
    const auto done = send(wr);
    ASSERT_EQ(done.size(), 1u);
    EXPECT_EQ(done[0].status, status);
    EXPECT_EQ(b.memory.bytes, before);
    EXPECT_EQ(a.engine.find_qp(a.qp)->state, IBV_QPS_ERR);
    EXPECT_EQ(b.engine.find_qp(b.qp)->state, IBV_QPS_ERR);
    EXPECT_TRUE(b.engine.take_async_event().has_value());
  }

  Fabric fabric;
  RdmaSide a{fabric}, b{fabric};
  std::uint32_t a_key = 0, b_key = 0;
};

TEST_F(RdmaEngine, WritesAcrossPacketsAndSegments) {
  const auto done = send(request(IBV_WR_RDMA_WRITE, 3000, 500));
  ASSERT_EQ(done.size(), 1u);
  EXPECT_EQ(done[0].status, IBV_WC_SUCCESS);
  EXPECT_EQ(done[0].wr_id, 77u);
  EXPECT_EQ(done[0].opcode, IBV_WC_RDMA_WRITE);
  const Bytes text = pattern_bytes(4096, 1), got = region_of_b();
  EXPECT_TRUE(std::equal(text.begin(), text.begin() + 3000, got.begin() + 500));
  EXPECT_TRUE(std::all_of(got.begin(), got.begin() + 500, [](std::byte x) { return x == std::byte{0}; }));
  EXPECT_TRUE(std::all_of(got.begin() + 3500, got.end(), [](std::byte x) { return x == std::byte{0}; }));
  EXPECT_TRUE(b.poll().empty());
}

TEST_F(RdmaEngine, ReadsAcrossPackets) {
  send(request(IBV_WR_RDMA_WRITE, 4096));
  std::ranges::fill(a.memory.bytes, std::byte{0});
  const auto done = send(request(IBV_WR_RDMA_READ, 2049, 7));
  ASSERT_EQ(done.size(), 1u);
  EXPECT_EQ(done[0].status, IBV_WC_SUCCESS);
  const Bytes text = pattern_bytes(4096, 1);
  EXPECT_TRUE(std::equal(text.begin() + 7, text.begin() + 7 + 2049, a.memory.bytes.begin()));
  EXPECT_EQ(a.memory.bytes[2049], std::byte{0});
}

TEST_F(RdmaEngine, SendsIntoTheOldestReceiveAndSaysHowMuch) {
  ASSERT_TRUE(
      b.engine.post_recv(b.qp, {.wr_id = 5, .sg_list = {{va + 16, 100, b_key}, {va + 512, 1000, b_key}}}));
  ibv_send_wr wr = request(IBV_WR_SEND_WITH_IMM, 700);
  wr.imm_data = 0x1234;
  EXPECT_EQ(send(wr).at(0).status, IBV_WC_SUCCESS);
  const auto got = b.poll();
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].wr_id, 5u);
  EXPECT_EQ(got[0].byte_len, 700u);
  EXPECT_EQ(got[0].imm_data, 0x1234u);
  EXPECT_EQ(got[0].wc_flags, IBV_WC_WITH_IMM);
  const Bytes text = pattern_bytes(4096, 1), region = region_of_b();
  EXPECT_TRUE(std::equal(text.begin(), text.begin() + 100, region.begin() + 16));
  EXPECT_TRUE(std::equal(text.begin() + 100, text.begin() + 700, region.begin() + 512));
}

TEST_F(RdmaEngine, CompletesAWriteWithImmediateAtBothSides) {
  ASSERT_TRUE(b.engine.post_recv(b.qp, {.wr_id = 6, .sg_list = {}}));
  EXPECT_EQ(send(request(IBV_WR_RDMA_WRITE_WITH_IMM, 600)).at(0).status, IBV_WC_SUCCESS);
  const auto got = b.poll();
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].opcode, IBV_WC_RECV_RDMA_WITH_IMM);
  EXPECT_EQ(got[0].byte_len, 600u);
}

TEST_F(RdmaEngine, SwapsAndAddsAtomically) {
  store(b.memory.bytes, 8192, std::uint64_t{41});
  ibv_send_wr add = request(IBV_WR_ATOMIC_FETCH_AND_ADD, 8);
  add.atomic.compare_add = 1;
  EXPECT_EQ(send(add).at(0).opcode, IBV_WC_FETCH_ADD);
  EXPECT_EQ(load<std::uint64_t>(a.memory.bytes), 41u);
  EXPECT_EQ(load<std::uint64_t>(b.memory.bytes, 8192), 42u);
  ibv_send_wr swap = request(IBV_WR_ATOMIC_CMP_AND_SWP, 8);
  swap.atomic.compare_add = 1;
  swap.atomic.swap = 7;
  send(swap);
  EXPECT_EQ(load<std::uint64_t>(a.memory.bytes), 42u);
  EXPECT_EQ(load<std::uint64_t>(b.memory.bytes, 8192), 42u);  // it was not 1
  swap.atomic.compare_add = 42;
  send(swap);
  EXPECT_EQ(load<std::uint64_t>(b.memory.bytes, 8192), 7u);
}

TEST_F(RdmaEngine, RefusesAForgedKeyAndChangesNothing) {
  ibv_send_wr wr = request(IBV_WR_RDMA_WRITE, 64);
  wr.rdma.rkey = b_key + 1;
  expect_refused(wr, IBV_WC_REM_ACCESS_ERR);
}

TEST_F(RdmaEngine, RefusesTheKeyOfARegionThatIsGone) {
  ASSERT_TRUE(b.engine.deregister_region(b_key));
  expect_refused(request(IBV_WR_RDMA_WRITE, 64), IBV_WC_REM_ACCESS_ERR);
}

TEST_F(RdmaEngine, RefusesWhatLeavesTheRegionBeforeTheFirstByte) {
  expect_refused(request(IBV_WR_RDMA_WRITE, 1000, 3097), IBV_WC_REM_ACCESS_ERR);
}

TEST_F(RdmaEngine, RefusesReadsThatWrapAround) {
  ibv_send_wr wr = request(IBV_WR_RDMA_READ, 64);
  wr.rdma.remote_addr = ~0ull - 8;
  expect_refused(wr, IBV_WC_REM_ACCESS_ERR);
}

TEST_F(RdmaEngine, RefusesAtomicsThatAreNotAligned) {
  expect_refused(request(IBV_WR_ATOMIC_FETCH_AND_ADD, 8, 4), IBV_WC_REM_INV_REQ_ERR);
}

TEST_F(RdmaEngine, RefusesReadsAndAtomicsWithoutResponderResources) {
  for (const ibv_wr_opcode opcode : {IBV_WR_RDMA_READ, IBV_WR_ATOMIC_FETCH_AND_ADD}) {
    for (RdmaSide* const side : {&a, &b})
      ASSERT_TRUE(side->engine.modify_qp(side->qp, {.qp_state = IBV_QPS_RESET}, IBV_QP_STATE));
    a.connect(b);
    b.connect(a, IBV_MTU_256, 0);
    expect_refused(request(opcode, 8), IBV_WC_REM_INV_REQ_ERR);
  }
}

TEST_F(RdmaEngine, RefusesAnotherProtectionDomainsRegion) {
  b_key =
      b.engine
          .register_region({.pd = 2, .access = all_rights, .first = va, .bytes = 64, .segments = {{0, 64}}})
          .value();
  expect_refused(request(IBV_WR_RDMA_WRITE, 64), IBV_WC_REM_ACCESS_ERR);
}

TEST_F(RdmaEngine, RefusesAWriteToARegionForReading) {
  b_key = b.engine
              .register_region({.pd = RdmaSide::pd,
                                .access = IBV_ACCESS_REMOTE_READ,
                                .first = va,
                                .bytes = 64,
                                .segments = {{0, 64}}})
              .value();
  expect_refused(request(IBV_WR_RDMA_WRITE, 64), IBV_WC_REM_ACCESS_ERR);
}

TEST_F(RdmaEngine, WaitsForAReceiverThatIsNotReady) {
  EXPECT_TRUE(send(request(IBV_WR_SEND, 600)).empty());
  a.engine.tick();
  fabric.run();
  EXPECT_TRUE(a.poll().empty());
  ASSERT_TRUE(b.engine.post_recv(b.qp, {.wr_id = 1, .sg_list = {{va, 4096, b_key}}}));
  a.engine.tick();
  fabric.run();
  EXPECT_EQ(a.poll().at(0).status, IBV_WC_SUCCESS);
  EXPECT_EQ(b.poll().at(0).byte_len, 600u);
}

TEST_F(RdmaEngine, RefusesAMessageThatTheReceiveCannotHold) {
  ASSERT_TRUE(b.engine.post_recv(b.qp, {.wr_id = 1, .sg_list = {{va, 256, b_key}}}));
  EXPECT_EQ(send(request(IBV_WR_SEND, 300)).at(0).status, IBV_WC_REM_INV_REQ_ERR);
  EXPECT_EQ(b.poll().at(0).status, IBV_WC_LOC_LEN_ERR);
}

TEST_F(RdmaEngine, EndsWithTheRetryCounterWhenNobodyAnswers) {
  fabric.detach(b.address);
  EXPECT_TRUE(send(request(IBV_WR_RDMA_WRITE, 64)).empty());
  for (int i = 0; i < 7; ++i) {
    a.engine.tick();
    fabric.run();
    EXPECT_TRUE(a.poll().empty());
  }
  a.engine.tick();
  EXPECT_EQ(a.poll().at(0).status, IBV_WC_RETRY_EXC_ERR);
}

TEST_F(RdmaEngine, FlushesWhatIsQueuedWhenAQueuePairFails) {
  ASSERT_TRUE(a.engine.post_recv(a.qp, {.wr_id = 9, .sg_list = {}}));
  ibv_send_wr wr = request(IBV_WR_RDMA_WRITE, 64);
  wr.sg_list[0].lkey = a_key + 5;
  const auto done = send(wr);
  ASSERT_EQ(done.size(), 2u);
  EXPECT_EQ(done[0].status, IBV_WC_LOC_PROT_ERR);
  EXPECT_EQ(done[1].status, IBV_WC_WR_FLUSH_ERR);
  EXPECT_EQ(done[1].wr_id, 9u);
}

TEST_F(RdmaEngine, LosesTheCompletionThatOverrunsItsQueueAndEndsTheQueuePair) {
  for (unsigned i = 0; i <= RdmaSide::cq_entries; ++i) {
    ASSERT_TRUE(a.engine.post_send(a.qp, request(IBV_WR_RDMA_WRITE, 8)));
    fabric.run();
  }
  const auto event = a.engine.take_async_event();
  ASSERT_TRUE(event);
  EXPECT_EQ(event->event_type, IBV_EVENT_CQ_ERR);
  EXPECT_EQ(a.engine.find_qp(a.qp)->state, IBV_QPS_ERR);
  EXPECT_EQ(a.poll().size(), RdmaSide::cq_entries);
}

TEST_F(RdmaEngine, EndsEveryQueuePairThatCompletesOnAnOverrunQueue) {
  const std::uint32_t other = datagram_pair(a), peer = datagram_pair(b);
  for (unsigned i = 0; i <= RdmaSide::cq_entries; ++i) {
    ASSERT_TRUE(a.engine.post_send(a.qp, request(IBV_WR_RDMA_WRITE, 8)));
    fabric.run();
  }
  EXPECT_EQ(a.engine.find_qp(other)->state, IBV_QPS_RTS) << "it has completed nothing yet";
  ibv_send_wr wr = request(IBV_WR_SEND, 8);
  wr.ud = {.ah = b.address, .remote_qpn = peer, .remote_qkey = 0x42};
  ASSERT_TRUE(a.engine.post_send(other, wr));
  fabric.run();
  EXPECT_EQ(a.engine.find_qp(other)->state, IBV_QPS_ERR);
}

TEST_F(RdmaEngine, KnowsTheTransitionsOfAQueuePair) {
  const std::uint32_t qp =
      a.engine
          .create_qp({.type = IBV_QPT_RC, .pd = RdmaSide::pd, .send_cq = a.cq, .recv_cq = a.cq, .cap = {}})
          .value();
  const unsigned init = IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS;
  EXPECT_EQ(a.engine.modify_qp(qp, {.qp_state = IBV_QPS_RTR}, IBV_QP_STATE).error(), EINVAL);
  EXPECT_EQ(a.engine.modify_qp(qp, {.qp_state = IBV_QPS_INIT}, IBV_QP_STATE).error(), EINVAL);
  EXPECT_EQ(a.engine.modify_qp(qp, {.qp_state = IBV_QPS_INIT}, init | IBV_QP_QKEY).error(), EINVAL);
  EXPECT_EQ(a.engine.post_recv(qp, {}).error(), EINVAL);
  ASSERT_TRUE(a.engine.modify_qp(qp, {.qp_state = IBV_QPS_INIT}, init));
  EXPECT_TRUE(a.engine.post_recv(qp, {}));
  EXPECT_EQ(a.engine.post_send(qp, {}).error(), EINVAL);
  ASSERT_TRUE(a.engine.modify_qp(qp, {.qp_state = IBV_QPS_ERR}, IBV_QP_STATE));
  EXPECT_EQ(a.poll().at(0).status, IBV_WC_WR_FLUSH_ERR);
  ASSERT_TRUE(a.engine.modify_qp(qp, {.qp_state = IBV_QPS_RESET}, IBV_QP_STATE));
  EXPECT_EQ(a.engine.find_qp(qp)->state, IBV_QPS_RESET);
}

TEST_F(RdmaEngine, IgnoresAThirdPartyThatSpeaksForThePeer) {
  RdmaSide mallory{fabric};
  Packet packet;
  packet.bth = {.opcode = Opcode::rc_write_only, .destination_qp = b.qp, .psn = 0};
  packet.reth = Reth{va, b_key, 4};
  const Bytes forged(4, std::byte{0xff});
  packet.payload = forged;
  const Bytes before = b.memory.bytes;
  fabric.send(mallory.address, b.address, WirePacket::of(serialize(packet)));
  fabric.run();
  EXPECT_EQ(b.memory.bytes, before);
  EXPECT_EQ(b.engine.find_qp(b.qp)->state, IBV_QPS_RTS);
}

TEST_F(RdmaEngine, RepeatsAnAnswerAndNotTheWorkForADuplicate) {
  store(b.memory.bytes, 8192, std::uint64_t{10});
  ibv_send_wr add = request(IBV_WR_ATOMIC_FETCH_AND_ADD, 8);
  add.atomic.compare_add = 5;
  send(add);
  Packet again;
  again.bth = {.opcode = Opcode::rc_fetch_add, .destination_qp = b.qp, .psn = 0};
  again.atomic = AtomicEth{.address = va, .rkey = b_key, .swap_or_add = 5, .compare = 0};
  fabric.send(a.address, b.address, WirePacket::of(serialize(again)));
  fabric.run();
  EXPECT_EQ(load<std::uint64_t>(b.memory.bytes, 8192), 15u);
}

TEST_F(RdmaEngine, GivesARequestWithANumberOfThePastNoRightsOfItsOwn) {
  send(request(IBV_WR_RDMA_WRITE, 64));
  ASSERT_TRUE(b.engine.modify_qp(b.qp, {.qp_state = IBV_QPS_RTS, .qp_access_flags = IBV_ACCESS_REMOTE_WRITE},
                                 IBV_QP_STATE | IBV_QP_ACCESS_FLAGS));
  Packet forged;
  forged.bth = {.opcode = Opcode::rc_read_request, .destination_qp = b.qp, .psn = 0};
  forged.reth = Reth{va, b_key, 64};
  const std::uint64_t delivered = fabric.frames_delivered();
  fabric.send(a.address, b.address, WirePacket::of(serialize(forged)));
  fabric.run();
  EXPECT_EQ(fabric.frames_delivered(), delivered + 1);  // no answer
}

TEST_F(RdmaEngine, DeliversDatagramsBehindTheGrhAndDropsThoseWithAnotherQkey) {
  const std::uint32_t from = datagram_pair(a), to = datagram_pair(b);
  ASSERT_TRUE(b.engine.post_recv(to, {.wr_id = 3, .sg_list = {{va, 200, b_key}}}));
  ibv_send_wr wr = request(IBV_WR_SEND, 100);
  wr.ud = {.ah = b.address, .remote_qpn = to, .remote_qkey = 0x43};
  ASSERT_TRUE(a.engine.post_send(from, wr));
  fabric.run();
  EXPECT_EQ(a.poll().size(), 1u);  // sent is done
  EXPECT_TRUE(b.poll().empty());
  wr.ud.remote_qkey = 0x42;
  ASSERT_TRUE(a.engine.post_send(from, wr));
  fabric.run();
  const auto got = b.poll();
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].byte_len, ud_grh_bytes + 100);
  EXPECT_EQ(got[0].src_qp, from);
  const Bytes region = region_of_b(), text = pattern_bytes(4096, 1);
  EXPECT_TRUE(std::equal(text.begin(), text.begin() + 100, region.begin() + ud_grh_bytes));
}

// ---- send queue drain and error, 10.3.1 ----

TEST_F(RdmaEngine, DrainsItsSendQueueAndGoesOnWhereItStopped) {
  ASSERT_TRUE(a.engine.post_send(a.qp, request(IBV_WR_RDMA_WRITE, 64)));  // on its way
  ASSERT_TRUE(a.engine.modify_qp(a.qp, {.qp_state = IBV_QPS_SQD, .en_sqd_async_notify = 1},
                                 IBV_QP_STATE | IBV_QP_EN_SQD_ASYNC_NOTIFY));
  EXPECT_FALSE(a.engine.take_async_event());
  ASSERT_TRUE(a.engine.post_send(a.qp, request(IBV_WR_RDMA_WRITE, 64, 1024)));  // taken, not begun
  fabric.run();
  EXPECT_EQ(a.poll().size(), 1u);
  EXPECT_EQ(a.engine.take_async_event()->event_type, IBV_EVENT_SQ_DRAINED);
  EXPECT_EQ(region_of_b()[1024], std::byte{0});

  // What may change now and could not before.
  EXPECT_TRUE(
      a.engine.modify_qp(a.qp, {.qp_state = IBV_QPS_SQD, .retry_cnt = 3}, IBV_QP_STATE | IBV_QP_RETRY_CNT));
  ASSERT_TRUE(a.engine.modify_qp(a.qp, {.qp_state = IBV_QPS_RTS}, IBV_QP_STATE));
  fabric.run();
  const auto done = a.poll();
  ASSERT_EQ(done.size(), 1u);
  EXPECT_EQ(done[0].status, IBV_WC_SUCCESS);
  EXPECT_EQ(region_of_b()[1024], pattern_bytes(4096, 1)[0]);
  EXPECT_FALSE(a.engine.take_async_event());
}

TEST_F(RdmaEngine, AnswersItsPeerWhileItsSendQueueIsDrained) {
  ASSERT_TRUE(b.engine.modify_qp(b.qp, {.qp_state = IBV_QPS_SQD}, IBV_QP_STATE));
  EXPECT_FALSE(b.engine.take_async_event());  // nobody asked for it
  EXPECT_EQ(send(request(IBV_WR_RDMA_WRITE, 64)).at(0).status, IBV_WC_SUCCESS);
}

TEST_F(RdmaEngine, RefusesADrainBeforeItSendsAndAttributesThatAreNotOfIt) {
  EXPECT_EQ(a.engine.modify_qp(a.qp, {.qp_state = IBV_QPS_SQD}, IBV_QP_STATE | IBV_QP_RETRY_CNT).error(),
            EINVAL);
  EXPECT_EQ(a.engine.modify_qp(a.qp, {.qp_state = IBV_QPS_SQE}, IBV_QP_STATE).error(), EINVAL);
  EXPECT_EQ(a.engine.find_qp(a.qp)->state, IBV_QPS_RTS);
  const std::uint32_t fresh =
      a.engine
          .create_qp({.type = IBV_QPT_RC, .pd = RdmaSide::pd, .send_cq = a.cq, .recv_cq = a.cq, .cap = {}})
          .value();
  EXPECT_EQ(a.engine.modify_qp(fresh, {.qp_state = IBV_QPS_SQD}, IBV_QP_STATE).error(), EINVAL);
}

TEST_F(RdmaEngine, StopsTheSendQueueOfADatagramPairAloneWhenARequestFails) {
  const std::uint32_t from = datagram_pair(a), to = datagram_pair(b);
  ASSERT_TRUE(a.engine.post_recv(from, {.wr_id = 9, .sg_list = {{va, 200, a_key}}}));
  ibv_send_wr wr = request(IBV_WR_SEND, 100);
  wr.sg_list[0].lkey ^= 0x80;  // forged
  wr.ud = {.ah = b.address, .remote_qpn = to, .remote_qkey = 0x42};
  ASSERT_TRUE(a.engine.post_send(from, wr));
  EXPECT_EQ(a.engine.find_qp(from)->state, IBV_QPS_SQE);
  ASSERT_TRUE(a.engine.post_send(from, wr));
  const auto failed = a.poll();
  ASSERT_EQ(failed.size(), 2u);
  EXPECT_EQ(failed[0].status, IBV_WC_LOC_PROT_ERR);
  EXPECT_EQ(failed[1].status, IBV_WC_WR_FLUSH_ERR);

  // It still receives, and sends again after a modify_qp().
  wr = request(IBV_WR_SEND, 8);
  wr.sg_list[0].lkey = b_key;
  wr.ud = {.ah = a.address, .remote_qpn = from, .remote_qkey = 0x42};
  ASSERT_TRUE(b.engine.post_send(to, wr));
  fabric.run();
  EXPECT_EQ(a.poll().at(0).wr_id, 9u);
  ASSERT_TRUE(a.engine.modify_qp(from, {.qp_state = IBV_QPS_RTS}, IBV_QP_STATE));
  wr.sg_list[0].lkey = a_key;
  wr.ud = {.ah = b.address, .remote_qpn = to, .remote_qkey = 0x42};
  ASSERT_TRUE(a.engine.post_send(from, wr));
  EXPECT_EQ(a.poll().at(0).status, IBV_WC_SUCCESS);
}

}  // namespace
}  // namespace cbit::dev::rdma
