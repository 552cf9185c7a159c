#include "bus/irq_line.hpp"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace cbit::bus {
namespace {

struct RecordingInput final : IrqInput {
  void set_input(unsigned input, bool high) override { seen.emplace_back(input, high); }
  std::vector<std::pair<unsigned, bool>> seen;
};
using Levels = std::vector<std::pair<unsigned, bool>>;

TEST(IrqLine, LeadsToEveryInputThatIsConnected) {
  RecordingInput pic, ioapic;
  IrqLine line{"timer"};
  IrqDriver timer{line, "pit"};
  line.connect(pic, 0);
  line.connect(ioapic, 2);
  timer.raise();
  timer.raise();
  timer.lower();
  EXPECT_EQ(pic.seen, (Levels{{0, false}, {0, true}, {0, false}}));
  EXPECT_EQ(ioapic.seen, (Levels{{2, false}, {2, true}, {2, false}}));
}

TEST(IrqLine, TellsAnInputThatComesLateThePresentLevel) {
  RecordingInput input;
  IrqLine line{"late"};
  IrqDriver device{line, "device"};
  device.raise();
  line.connect(input, 5);
  EXPECT_EQ(input.seen, (Levels{{5, true}}));
}

TEST(IrqLine, StaysAssertedUntilItsLastDriverLetsGo) {
  RecordingInput input;
  IrqLine line{"shared", ActiveLevel::low};
  line.connect(input, 16);
  IrqDriver first{line, "first"};
  {
    IrqDriver second{line, "second"};
    first.raise();
    second.raise();
    EXPECT_EQ(line.drivers(), (std::vector<const IrqDriver*>{&first, &second}));
    first.lower();
    EXPECT_TRUE(line.asserted());
    EXPECT_FALSE(line.high());
  }
  EXPECT_FALSE(line.asserted());
  EXPECT_EQ(input.seen, (Levels{{16, true}, {16, false}, {16, true}}));
  EXPECT_EQ(line.drivers(), std::vector<const IrqDriver*>{&first});
}

TEST(IrqLine, PulseIsOneActiveEdgeWhateverWasDrivenBefore) {
  RecordingInput input;
  IrqLine line{"edge"};
  IrqDriver device{line, "device"};
  line.connect(input, 1);
  device.pulse();
  device.raise();
  device.pulse();
  EXPECT_EQ(input.seen,
            (Levels{{1, false}, {1, true}, {1, false}, {1, true}, {1, false}, {1, true}, {1, false}}));
}

}  // namespace
}  // namespace cbit::bus
