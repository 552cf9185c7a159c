#include "lab/peek.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace cbit::lab {
namespace {

using testing::Each;
using testing::HasSubstr;

// Text, in pages that are a guest's own and in coherent memory, which its kernel shares.
constexpr std::string_view steps = R"(
[[device]]
name = "nic"
[[step]]
do = "alloc"
name = "private"
size = 16384
[[step]]
do = "cpu-write"
buffer = "private"
data = { text = "the guest's secret is swordfish; ", length = 16384 }
[[step]]
do = "alloc-coherent"
device = "nic"
name = "shared"
size = 16384
[[step]]
do = "cpu-write"
buffer = "shared"
data = { text = "what the device may see; ", length = 16384 }
)";

Peek peek_at(std::string_view platform, std::string_view buffer) {
  const std::string text =
      "title = 't'\n[machine]\nplatform = '" + std::string{platform} + "'\n" + std::string{steps};
  const auto experiment = load_experiment(text, "peek.toml");
  if (!experiment) {
    ADD_FAILURE() << experiment.error().message;
    return {};
  }
  const auto seen = peek(*experiment, {.buffer = std::string{buffer}, .length = 16384});
  if (!seen) {
    ADD_FAILURE() << seen.error().message;
    return {};
  }
  return *seen;
}

std::vector<watch::PageLooks> guesses(std::string_view platform, std::string_view buffer) {
  std::vector<watch::PageLooks> looks;
  for (const PeekPage& page : peek_at(platform, buffer).host_pages) looks.push_back(page.look.looks);
  EXPECT_EQ(looks.size(), 4u);
  return looks;
}

TEST(PeekGuess, IsCiphertextOfAnEncryptedGuestsOwnPages) {
  for (const std::string_view platform : {"sev", "sev-es", "sev-snp", "sme"})
    EXPECT_THAT(guesses(platform, "private"), Each(watch::PageLooks::ciphertext)) << platform;
}

TEST(PeekGuess, IsTextOfPagesThatAreShared) {
  for (const std::string_view platform : {"sev", "sev-es", "sev-snp"})
    EXPECT_THAT(guesses(platform, "shared"), Each(watch::PageLooks::text)) << platform;
}

TEST(PeekGuess, IsTextOfAGuestInClear) {
  EXPECT_THAT(guesses("plain", "private"), Each(watch::PageLooks::text));
  EXPECT_THAT(guesses("plain", "shared"), Each(watch::PageLooks::text));
}

TEST(PeekGuess, AgreesWithTheComparison) {
  for (const std::string_view platform : {"plain", "sev", "sme"}) {
    const Peek seen = peek_at(platform, "private");
    const auto host = std::ranges::find(seen.views, "host", &PeekView::who);
    ASSERT_NE(host, seen.views.end());
    const bool guessed = seen.host_pages.front().look.looks == watch::PageLooks::ciphertext;
    EXPECT_EQ(host->sees == testbed::Sees::ciphertext, guessed) << platform;
  }
}

TEST(PeekGuess, IsALineOfTextForNeighboursThatLookAlike) {
  EXPECT_THAT(to_text(peek_at("sev", "private")),
              HasSubstr("to the host, by its bytes alone, 4 pages at P:0x"));
  EXPECT_THAT(to_text(peek_at("sev", "private")), HasSubstr("look like ciphertext (entropy 7.9"));
}

}  // namespace
}  // namespace cbit::lab
