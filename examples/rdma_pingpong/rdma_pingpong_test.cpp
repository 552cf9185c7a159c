// The program on every platform that RDMA is asked about, and why it fails where it does.
#include "rdma_pingpong.hpp"

#include <gtest/gtest.h>

#include <cerrno>

namespace {

using cbit::IommuMode;
using cbit::KernelVersion;
using cbit::Platform;
using cbit::RdmaHost;

std::vector<std::byte> text(char first) {
  std::vector<std::byte> bytes(Endpoint::message_bytes);
  for (std::size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<std::byte>(first + static_cast<char>(i % 26));
  return bytes;
}

// Ping and pong between a host with these options and a plain one; true when both arrived whole.
bool ping_pong(RdmaHost& host, RdmaHost& plain) {
  Endpoint here{host}, there{plain};
  if (!here.open() || !there.open() || !here.connect(there) || !there.connect(here)) return false;
  there.expect_message();
  if (!here.send(text('a')) || there.receive(Endpoint::message_bytes) != text('a')) return false;
  here.expect_message();
  return there.send(text('A')) && here.receive(Endpoint::message_bytes) == text('A');
}

class PingPong : public testing::TestWithParam<RdmaHost::Options> {};

TEST_P(PingPong, BringsBothMessages) {
  cbit::RdmaNetwork network;
  RdmaHost host{network, GetParam()}, plain{network, {}};
  EXPECT_TRUE(ping_pong(host, plain));
  EXPECT_TRUE(host.problems().empty());
}

INSTANTIATE_TEST_SUITE_P(
    WhereItWorks, PingPong,
    testing::Values(RdmaHost::Options{.platform = Platform::plain},
                    RdmaHost::Options{.platform = Platform::sme},
                    RdmaHost::Options{
                        .platform = Platform::sme, .iommu = IommuMode::translated, .mask_bits = 47},
                    RdmaHost::Options{.platform = Platform::sev, .kernel = KernelVersion::v7_2},
                    RdmaHost::Options{.platform = Platform::sev, .software = true}));

TEST(PingPongOnSev, ArrivesAsOldBytesWithLinux61AndSaysWhy) {
  cbit::RdmaNetwork network;
  RdmaHost host{network, {.platform = Platform::sev}}, plain{network, {}};
  EXPECT_FALSE(ping_pong(host, plain));
  EXPECT_TRUE(host.has_problem("mr-on-private-memory"));
  EXPECT_GT(host.bytes_bounced(), 0u);
}

TEST(PingPongOnSev, IsRefusedByTheNextKernelForOrdinaryMemory) {
  cbit::RdmaNetwork network;
  RdmaHost host{network, {.platform = Platform::sev, .kernel = KernelVersion::v7_2}};
  const auto mr = host.ibv_reg_mr(host.ibv_alloc_pd(), host.mmap(4096), 4096, cbit::IBV_ACCESS_LOCAL_WRITE);
  EXPECT_FALSE(mr);
  EXPECT_EQ(host.error(), EOPNOTSUPP);
  EXPECT_TRUE(host.has_problem("mr-refused-cc-dma-bounce"));
}

TEST(PingPongOnSme, FailsWithANicThatCannotDriveTheEncryptionBit) {
  cbit::RdmaNetwork network;
  RdmaHost host{network, {.platform = Platform::sme, .mask_bits = 47}}, plain{network, {}};
  EXPECT_FALSE(ping_pong(host, plain));
  EXPECT_TRUE(host.has_problem("mr-on-private-memory"));
}

}  // namespace
