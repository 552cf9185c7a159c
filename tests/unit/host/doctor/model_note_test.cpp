// What is said of a kernel that no modelled version was read in.
#include "doctor/model_note.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cbit::doctor {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::string note(unsigned major, unsigned minor) {
  return model_note(spec::KernelRelease{major, minor}).value_or("");
}

TEST(ModelNote, SaysWhoseRulesAreTakenAndWhatChangesThereafter) {
  EXPECT_THAT(note(6, 14),
              AllOf(HasSubstr("this kernel is 6.14"), HasSubstr("rules of 6.12 (as of 6.12.117)"),
                    HasSubstr("from 6.19 on dma_map_resource() fails")));
  EXPECT_THAT(note(6, 18), AllOf(HasSubstr("rules of 6.19 (as of 6.19.10)"), HasSubstr("from 7.2 on")));
  EXPECT_THAT(note(7, 4), AllOf(HasSubstr("rules of 7.3 (as of 7.3.4)"), Not(HasSubstr(" on "))))
      << "nothing that is only posted";
}

TEST(ModelNote, SaysNothingOfTheModelsOwnSeries) {
  for (const auto& [major, minor] : {std::pair{6u, 1u}, {6u, 6u}, {6u, 12u}, {7u, 2u}, {7u, 3u}})
    EXPECT_EQ(note(major, minor), "");
  EXPECT_EQ(model_note(std::nullopt), std::nullopt);
}

}  // namespace
}  // namespace cbit::doctor
