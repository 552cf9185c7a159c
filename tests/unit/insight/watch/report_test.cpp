#include "watch/report.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "stage.hpp"

namespace cbit::watch {
namespace {

using testing::HasSubstr;
using testing::Not;

std::vector<Cause> some_causes() {
  Stage s{Stage::guest()};
  s.printk("swiotlb buffer is full (sz: 2097152 bytes), total 524288 (slots), used 564 (slots)");
  s.cpu(SwiotlbFull{.device = s.device,
                    .bytes = 2097152,
                    .slots_wanted = 1024,
                    .segment_slots = 128,
                    .slots_total = 524288,
                    .slots_used = 564});
  s.device_reads(raw_dma, buffer_page, memory_key);
  s.device_reads(raw_dma, buffer_page, memory_key);
  return s.explainer.causes();
}

TEST(Report, ShowsTheCauseItsEvidenceLinuxsWordsAndTheRemedy) {
  const std::string text = render_causes(some_causes());
  EXPECT_THAT(text, HasSubstr("  request-over-segment-limit: One request is longer"));
  EXPECT_THAT(text, HasSubstr("    device            0000:00:03.0\n"));
  EXPECT_THAT(text, HasSubstr("    request           2097152 bytes, 1024 slots"));
  EXPECT_THAT(text, HasSubstr("    Linux says        swiotlb buffer is full (sz: 2097152 bytes)"));
  EXPECT_THAT(text, HasSubstr("    remedy            driver author: Limit segments"));
  EXPECT_THAT(text, HasSubstr("    where             P:0x12345000, 1 page\n"));
  EXPECT_THAT(text, HasSubstr("2 times, first at"));
}

TEST(Report, HasEscapeSequencesOnlyWhenAskedFor) {
  EXPECT_THAT(render_causes(some_causes()), Not(HasSubstr("\x1b")));
  EXPECT_THAT(render_causes(some_causes(), {.colour = true}),
              HasSubstr("\x1b[31mrequest-over-segment-limit\x1b[0m"));
}

TEST(Report, IsTheSameTextWithAndWithoutColour) {
  std::string coloured = render_causes(some_causes(), {.colour = true});
  for (std::size_t at; (at = coloured.find('\x1b')) != std::string::npos;)
    coloured.erase(at, coloured.find('m', at) - at + 1);
  EXPECT_EQ(coloured, render_causes(some_causes()));
}

TEST(Report, BreaksLongLinesAtBlanks) {
  std::size_t column = 0;
  for (const char c : render_causes(some_causes())) {
    column = c == '\n' ? 0 : column + 1;
    EXPECT_LE(column, 110u);
  }
}

TEST(Report, NumbersTheStepsAndNamesTheirSource) {
  const std::vector<StepTaken> steps{{"SEV guest: bounce", "kernel/dma/direct.h: dma_direct_map_page"},
                                     {"slot 0", "kernel/dma/swiotlb.c: swiotlb_find_slots"}};
  EXPECT_EQ(render_steps(steps),
            "   1. SEV guest: bounce\n      kernel/dma/direct.h: dma_direct_map_page\n"
            "   2. slot 0\n      kernel/dma/swiotlb.c: swiotlb_find_slots\n");
}

TEST(Report, OfNothingIsNothing) {
  EXPECT_EQ(render_causes({}), "");
  EXPECT_EQ(render_steps({}), "");
  EXPECT_EQ(render_range({}), "");
}

}  // namespace
}  // namespace cbit::watch
