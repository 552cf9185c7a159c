// NICs over one memory: what is in flight is what was read, whatever becomes of the memory it came from.
#include "dev/rdma/rdma_nic.hpp"

#include <gtest/gtest.h>

#include "support/rdma_pair.hpp"
#include "support/small_machine.hpp"

namespace cbit::dev::rdma {
namespace {

constexpr std::uint64_t first = 0x10'0000, bytes = 1 << 20;
constexpr std::uint32_t pd = 1;
constexpr std::uint32_t message = 64 * 1024 - 100;

struct Nic {
  Nic(bus::SystemBus& bus, Fabric& fabric, RequesterId requester, std::uint64_t ring)
      : nic{bus, {.device = "nic", .requester = requester}, fabric},
        key{*nic.engine().register_region(
            {.pd = pd,
             .access = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ,
             .first = first,
             .bytes = bytes,
             .segments = {{first, bytes}}})},
        cq{*nic.engine().create_cq(8, {{ring, 8 * sizeof(Cqe)}})},
        qp{*nic.engine().create_qp({.type = IBV_QPT_RC, .pd = pd, .send_cq = cq, .recv_cq = cq, .cap = {}})} {
  }

  RdmaNic nic;
  std::uint32_t key, cq, qp;
};

class RdmaNicTest : public testing::Test {
 protected:
  RdmaNicTest() {
    connect_qp(a.nic.engine(), a.qp, {b.nic.address(), b.qp}, IBV_MTU_4096);
    connect_qp(b.nic.engine(), b.qp, {a.nic.address(), a.qp}, IBV_MTU_4096);
    machine.put(PhysAddr{first}, before, no_key);
  }
  void post(ibv_wr_opcode opcode, std::uint64_t own, std::uint64_t remote) {
    ibv_send_wr wr{.sg_list = {{first + own, message, a.key}}, .opcode = opcode};
    wr.rdma = {first + remote, b.key};
    ASSERT_TRUE(a.nic.engine().post_send(a.qp, wr));
  }
  // The message from `from` is at `to` now, as if all had been read before any was written.
  void expect_moved(std::uint64_t from, std::uint64_t to) {
    Bytes expected = before;
    std::copy_n(before.begin() + static_cast<std::ptrdiff_t>(from), message,
                expected.begin() + static_cast<std::ptrdiff_t>(to));
    EXPECT_EQ(machine.seen(PhysAddr{first}, bytes, no_key), expected);
  }

  const Bytes before = pattern_bytes(bytes, 1);
  test::SmallMachine machine;
  bus::SystemBus bus{*machine.memory, machine.tracer, machine.device_view};
  Fabric fabric;
  Nic a{bus, fabric, 0x20, 0x1000}, b{bus, fabric, 0x28, 0x2000};
};

TEST_F(RdmaNicTest, AWriteOntoItsOwnSourceMovesWhatWasThere) {
  for (const std::uint64_t to : {0, 1, 4095, 4096, 20'000}) {
    machine.put(PhysAddr{first}, before, no_key);
    post(IBV_WR_RDMA_WRITE, 0, to);
    fabric.run();
    expect_moved(0, to);
  }
}

TEST_F(RdmaNicTest, AReadOntoItsOwnSourceMovesWhatWasThere) {
  for (const std::uint64_t from : {1, 4095, 4096, 20'000}) {
    machine.put(PhysAddr{first}, before, no_key);
    post(IBV_WR_RDMA_READ, 0, from);
    fabric.run();
    expect_moved(from, 0);
  }
}

TEST_F(RdmaNicTest, WhatIsWrittenWhileAMessageIsUnderWayDoesNotReachIt) {
  post(IBV_WR_RDMA_WRITE, 10, 500'000);
  machine.put(PhysAddr{first}, Bytes(message + 10), no_key);
  fabric.run();
  const Bytes arrived = machine.seen(PhysAddr{first + 500'000}, message, no_key);
  EXPECT_TRUE(std::equal(arrived.begin(), arrived.end(), before.begin() + 10));
}

}  // namespace
}  // namespace cbit::dev::rdma
