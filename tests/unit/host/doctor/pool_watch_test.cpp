#include "doctor/pool_watch.hpp"

#include <gmock/gmock.h>

#include "support/hostile_text.hpp"

namespace cbit::doctor {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST(PoolWatch, TakesAnyTextForATrace) {
  for (const std::string& text : testing::hostile_text) EXPECT_THAT(parse_bounce_trace(text), IsEmpty());
}

TEST(PoolWatch, SumsTheBouncesOfEachDevice) {
  const auto found = parse_bounce_trace(
      "# tracer: nop\n"
      " kworker-7 [001] d..2. 12.5: swiotlb_bounced: dev_name: 0000:00:04.0 dma_mask=ffffffffffffffff "
      "dev_addr=8000012345000 size=4096 FORCE\n"
      " kworker-7 [001] d..2. 12.6: swiotlb_bounced: dev_name: 0000:00:04.0 dma_mask=ffffffff dev_addr=1 "
      "size=512 "
      "NORMAL\n"
      " x: swiotlb_bounced: dev_name: 0000:00:05.0 dma_mask=1 dev_addr=1 size=nonsense FORCE\n");
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_EQ(found.at("0000:00:04.0").count, 2u);
  EXPECT_EQ(found.at("0000:00:04.0").bytes, 4608u);
}

TEST(PoolWatch, NamesTheDeviceThatFillsThePool) {
  const PoolSample before{.slots = 1000, .used = 10, .bounces = {{"a", {5, 5000}}, {"b", {1, 100}}}};
  const PoolSample now{.slots = 1000,
                       .used = 750,
                       .hiwater = 800,
                       .bounces = {{"a", {6, 6024}}, {"b", {11, 100 + 20480}}},
                       .full = 2,
                       .full_device = "c"};
  EXPECT_EQ(
      pool_watch_line(3, before, now),
      "      3.0      750     1000  75     +740      800  b bounced 10 times, 20 KiB; pool full 2 times, "
      "last for c\n");
  EXPECT_EQ(pool_watch_line(0, before, before), "      0.0       10     1000   1       +0        -\n");
  EXPECT_EQ(pool_watch_line(1, now, before), "      1.0       10     1000   1     -740        -\n")
      << "the trace's ring has lost what it held";
}

}  // namespace
}  // namespace cbit::doctor
