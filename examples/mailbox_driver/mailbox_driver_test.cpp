// The driver's unit test: one conversation with the device, on every platform.
#include "mailbox_driver.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>

namespace {

using cbit::Platform;
using cbit::Sandbox;

Bytes bytes_of(std::string_view text) {
  const auto raw = std::as_bytes(std::span{text});
  return {raw.begin(), raw.end()};
}

const Bytes command = bytes_of("what time is it, mailbox? please answer in full words");
const Bytes answer = bytes_of("it is half past nine in the morning, and all is well.");

// The hardware's part: fetch the command, check it, deliver the answer. True when the command was understood.
bool serve(Sandbox& box, Sandbox::DeviceId device, const Doorbell& doorbell) {
  const auto got = box.device_read(device, doorbell.command, doorbell.command_bytes);
  return box.device_write(device, doorbell.reply, answer) && got == command;
}

struct Outcome {
  bool understood = false;
  Bytes reply;
};

template <class Driver>
Outcome converse(Sandbox& box) {
  const auto device = box.add_device({.name = "mailbox"});
  Driver driver{box, device};
  const auto doorbell = driver.submit(command, answer.size());
  if (!doorbell) return {};
  const bool understood = serve(box, device, *doorbell);
  Outcome outcome{understood, driver.complete()};
  box.release_device(device);
  return outcome;
}

TEST(NaiveMailboxDriver, WorksOnPlainMemory) {
  Sandbox box{{.platform = Platform::plain}};
  const Outcome outcome = converse<NaiveMailboxDriver>(box);
  EXPECT_TRUE(outcome.understood);
  EXPECT_EQ(outcome.reply, answer);
}

TEST(NaiveMailboxDriver, IsCaughtOnSev) {
  Sandbox box{{.platform = Platform::sev}};
  const Outcome outcome = converse<NaiveMailboxDriver>(box);
  EXPECT_FALSE(outcome.understood) << "the device read ciphertext";
  EXPECT_NE(outcome.reply, answer) << "the driver decrypted what nobody had encrypted";
  EXPECT_TRUE(box.has_problem("page-still-private"));
}

class MailboxDriverOn : public testing::TestWithParam<Platform> {};

TEST_P(MailboxDriverOn, EveryPlatformDeliversTheAnswerAndFindsNoFault) {
  Sandbox box{{.platform = GetParam()}};
  const Outcome outcome = converse<MailboxDriver>(box);
  EXPECT_TRUE(outcome.understood);
  EXPECT_EQ(outcome.reply, answer);
  for (const Sandbox::Problem& problem : box.problems())
    ADD_FAILURE() << problem.name << ": " << problem.evidence;
}

INSTANTIATE_TEST_SUITE_P(AllPlatforms, MailboxDriverOn,
                         testing::Values(Platform::plain, Platform::sme, Platform::sev, Platform::sev_es,
                                         Platform::sev_snp, Platform::tdx),
                         [](const auto& info) {
                           std::string name{cbit::to_string(info.param)};
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

TEST(MailboxDriver, LeavesNothingMappedWhenThePoolIsFull) {
  Sandbox box{{.platform = Platform::sev, .swiotlb = "512"}};
  const auto hog = box.add_device({.name = "hog"});
  while (box.swiotlb_slots_used() < 512) {
    const auto dma = box.dma_map_single(hog, box.kmalloc(2048), 2048, cbit::DmaDirection::to_device);
    ASSERT_FALSE(box.dma_mapping_failed(hog, dma));
  }
  MailboxDriver driver{box, box.add_device({.name = "mailbox"})};
  EXPECT_FALSE(driver.submit(command, answer.size()));
  EXPECT_EQ(box.swiotlb_slots_used(), 512u);
  EXPECT_TRUE(box.has_problem("pool-exhausted"));
}

}  // namespace
