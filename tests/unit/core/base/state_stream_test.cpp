#include "base/state_stream.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/clock.hpp"
#include "base/reg.hpp"

namespace cbit {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

enum class Colour : std::uint8_t { red, green, blue };
struct Bits : Register<Bits, std::uint16_t> {};

struct Device {
  bool on = false;
  Colour colour{};
  Bits bits;
  std::int32_t depth = 0;
  std::optional<std::uint64_t> deadline;
  std::array<std::uint8_t, 3> bytes{};
  std::string name;
  std::vector<std::uint16_t> queue;

  void transfer(StateStream& s) {
    s.section("device", [&] {
      s(on, bits, depth, deadline, bytes);
      s.choice(colour, Colour::blue);
      s.text(name, 16);
      s.list(queue, 4);
    });
  }
  friend bool operator==(const Device& a, const Device& b) {
    return a.on == b.on && a.colour == b.colour && a.bits.raw == b.bits.raw && a.depth == b.depth &&
           a.deadline == b.deadline && a.bytes == b.bytes && a.name == b.name && a.queue == b.queue;
  }
};

Device some_device() {
  return {.on = true,
          .colour = Colour::green,
          .bits = {{0x1234}},
          .depth = -5,
          .deadline = 77,
          .bytes = {1, 2, 3},
          .name = "com1",
          .queue = {9, 8, 7}};
}

Bytes saved(Device device) {
  StateStream s;
  s(device);
  EXPECT_TRUE(s.good()) << s.trouble();
  return s.bytes();
}

std::string trouble_of(ConstByteSpan bytes) {
  StateStream s{bytes};
  Device device;
  s(device);
  s.finish();
  return s.trouble();
}

TEST(StateStream, ReadsWhatItWrote) {
  const Bytes bytes = saved(some_device());
  StateStream s{bytes};
  Device device;
  s(device);
  s.finish();
  EXPECT_EQ(s.trouble(), "");
  EXPECT_TRUE(device == some_device());
}

TEST(StateStream, ThatIsCutShortAnywhereSaysSoAndNamesTheSection) {
  const Bytes bytes = saved(some_device());
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const std::string trouble = trouble_of(ConstByteSpan{bytes}.first(size));
    EXPECT_THAT(trouble, HasSubstr("section device: ")) << size;
  }
}

TEST(StateStream, WithMoreThanBelongsThereSaysSo) {
  Bytes bytes = saved(some_device());
  bytes.push_back({});
  EXPECT_THAT(trouble_of(bytes), HasSubstr("more follows"));
}

TEST(StateStream, RefusesAnotherSection) {
  StateStream s;
  s.section("devide", [] {});
  EXPECT_EQ(trouble_of(s.bytes()), "section device: another is in its place");
}

// The section's name takes 1 + 6 bytes, its length 4; `on` is the first byte of it.
TEST(StateStream, RefusesABoolThatIsNeither) {
  Bytes bytes = saved(some_device());
  bytes[11] = std::byte{2};
  EXPECT_EQ(trouble_of(bytes), "section device: a value is out of its range");
}

// Nothing is allocated for elements that the stream does not have.
TEST(StateStream, RefusesALengthThatItHasNoBytesFor) {
  std::vector<std::uint64_t> list;
  StateStream out;
  out.section("list", [&] {
    std::uint64_t length = std::uint64_t{1} << 40;
    out(length);
  });
  StateStream in{out.bytes()};
  in.section("list", [&] { in.list(list, ~std::size_t{0}); });
  EXPECT_EQ(in.trouble(), "section list: it ends too early");
  EXPECT_TRUE(list.empty());
}

TEST(StateStream, LeavesWhatItCannotReadAsItWas) {
  std::uint32_t number = 5;
  StateStream s{ConstByteSpan{}};
  s(number);
  EXPECT_FALSE(s.good());
  EXPECT_EQ(number, 5u);
}

TEST(StateStream, KeepsTheOrderOfDeadlinesOfOneTime) {
  std::vector<int> order;
  const auto run = [&order](bool restored, const Bytes& state) {
    Clock clock;
    Timer first{clock, [&order] { order.push_back(1); }};
    Timer second{clock, [&order] { order.push_back(2); }};
    Timer idle{clock, [&order] { order.push_back(3); }};
    const auto transfer = [&](StateStream& s) { s(clock, first, second, idle); };
    if (restored) {
      idle.start(1);  // as a device does when it is made
      StateStream s{state};
      transfer(s);
      EXPECT_EQ(s.trouble(), "");
      EXPECT_EQ(clock.now_ns(), 10u);
      EXPECT_FALSE(idle.pending());
    } else {
      clock.advance(10);
      second.start(20);
      first.start(20);
    }
    StateStream s;
    transfer(s);
    clock.advance(100);
    return s.bytes();
  };
  const Bytes state = run(false, {});
  EXPECT_THAT(order, ElementsAre(2, 1));
  order.clear();
  EXPECT_EQ(run(true, state), state);
  EXPECT_THAT(order, ElementsAre(2, 1));
}

TEST(StateStream, RefusesADeadlineThatTwoTimersHave) {
  Clock clock;
  Timer timer{clock, [] {}};
  timer.start(5);
  StateStream out;
  out(clock, timer, timer);
  Clock other;
  Timer one{other, [] {}};
  Timer two{other, [] {}};
  StateStream in{out.bytes()};
  in(other, one, two);
  EXPECT_THAT(in.trouble(), HasSubstr("a deadline is on no clock"));
}

}  // namespace
}  // namespace cbit
