#include "bus/message_interrupt.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace cbit::bus {
namespace {

struct RecordingSink final : MessageInterruptSink {
  bool deliver(const MessageInterrupt& message) override {
    seen.push_back(message);
    return true;
  }
  std::vector<MessageInterrupt> seen;
};

TEST(MessageInterruptWindow, MakesAnInterruptOfFourAlignedBytes) {
  RecordingSink sink;
  MessageInterruptWindow window{sink};
  EXPECT_TRUE(window.write(0x1004, bytes_of(std::uint32_t{0x4041})));
  EXPECT_EQ(sink.seen, (std::vector<MessageInterrupt>{{0xfee0'1004, 0x4041}}));
}

TEST(MessageInterruptWindow, LosesOtherWritesAndReadsOnes) {
  RecordingSink sink;
  MessageInterruptWindow window{sink};
  EXPECT_TRUE(window.write(0x1002, bytes_of(std::uint32_t{0x41})));
  EXPECT_TRUE(window.write(0x1000, bytes_of(std::uint16_t{0x41})));
  EXPECT_TRUE(window.write(0x1000, bytes_of(std::uint64_t{0x41})));
  EXPECT_EQ(sink.seen, std::vector<MessageInterrupt>{});
  std::uint32_t value = 0;
  EXPECT_TRUE(window.read(0, std::as_writable_bytes(std::span{&value, 1})));
  EXPECT_EQ(value, 0xffff'ffffu);
}

}  // namespace
}  // namespace cbit::bus
