#include "lab/explain.hpp"

#include <gtest/gtest.h>

#include <string>
#include <tuple>

#include "lab/matrix.hpp"

namespace cbit {
namespace {

Explanation run(Platform platform, MapKind map, DmaDirection direction) {
  ExplainOptions options{.map = map, .direction = direction, .size = 5000, .offset = 123};
  options.bed.machine.platform = platform;
  return explain(options).value();
}

class EveryDma : public testing::TestWithParam<std::tuple<Platform, MapKind, DmaDirection>> {};

TEST_P(EveryDma, WorksWithoutACauseWhereTheDriverUsesTheDmaApi) {
  const auto [platform, map, direction] = GetParam();
  const Explanation result = run(platform, map, direction);
  EXPECT_EQ(result.verdict, Verdict::works);
  EXPECT_TRUE(result.causes.empty());
  EXPECT_EQ(result.cpu.sees, Sees::plaintext);
  EXPECT_EQ(result.device.sees, Sees::plaintext);
  EXPECT_FALSE(result.steps.empty());
  for (const StepTaken& step : result.steps) EXPECT_FALSE(step.source.empty()) << step.rule;
}

INSTANTIATE_TEST_SUITE_P(AllPlatforms, EveryDma,
                         testing::Combine(testing::ValuesIn(platforms),
                                          testing::Values(MapKind::streaming, MapKind::coherent,
                                                          MapKind::coherent_atomic),
                                          testing::Values(DmaDirection::to_device, DmaDirection::from_device,
                                                          DmaDirection::bidirectional)));

class RawDma : public testing::TestWithParam<Platform> {};

TEST_P(RawDma, GoesWrongForAReasonWhereMemoryIsEncryptedAndOnlyThere) {
  const Explanation result = run(GetParam(), MapKind::raw_phys, DmaDirection::bidirectional);
  EXPECT_EQ(result.verdict == Verdict::works, !is_encrypted(GetParam()));
  EXPECT_EQ(result.causes.empty(), !is_encrypted(GetParam()));
  for (const Cause& cause : result.causes) EXPECT_FALSE(cause.remedy.empty());
}

INSTANTIATE_TEST_SUITE_P(AllPlatforms, RawDma, testing::ValuesIn(platforms));

TEST(Explain, GivesTheSameJsonForTheSameOptions) {
  EXPECT_EQ(to_json(run(Platform::sev, MapKind::streaming, DmaDirection::bidirectional)),
            to_json(run(Platform::sev, MapKind::streaming, DmaDirection::bidirectional)));
}

TEST(Explain, TellsAPoolThatIsFullFromARequestThatCannotFit) {
  ExplainOptions options{.size = 262144};
  options.bed.machine.platform = Platform::sev;
  EXPECT_EQ(explain(options)->verdict, Verdict::works);
  EXPECT_EQ(explain(options)->swiotlb.io_tlb_used, 128u);
  options.size = 262145;
  const Explanation refused = explain(options).value();
  EXPECT_EQ(refused.verdict, Verdict::fails);
  ASSERT_EQ(refused.causes.size(), 1u);
  EXPECT_EQ(refused.causes[0].info->name, "request-over-segment-limit");
  EXPECT_NE(refused.causes[0].kernel_message.find("swiotlb buffer is full (sz: 262145 bytes)"),
            std::string::npos);
}

// The verdict and path of one registered region, and the names of its causes.
struct RegionResult {
  Verdict verdict{};
  DmaPath path{};
  std::vector<std::string> causes;
  friend bool operator==(const RegionResult&, const RegionResult&) = default;
};

RegionResult region(Platform platform, DmaDirection direction, KernelVersion version = KernelVersion::v6_1,
                    unsigned mask = 64, IommuMode iommu = IommuMode::none) {
  ExplainOptions options{.map = MapKind::user_mr, .direction = direction, .size = 9000, .offset = 100};
  options.bed.machine.platform = platform;
  options.bed.dma.version = version;
  options.bed.dma.iommu = iommu;
  options.device.mask_bits = mask;
  const Explanation result = explain(options).value();
  RegionResult shown{result.verdict, result.path, {}};
  for (const Cause& cause : result.causes) shown.causes.emplace_back(cause.info->name);
  return shown;
}

TEST(ExplainUserMr, WorksWhereTheDeviceReachesTheApplicationsPagesUnderTheirKey) {
  for (const DmaDirection direction :
       {DmaDirection::to_device, DmaDirection::from_device, DmaDirection::bidirectional}) {
    EXPECT_EQ(region(Platform::plain, direction), (RegionResult{Verdict::works, DmaPath::direct, {}}));
    EXPECT_EQ(region(Platform::sme, direction), (RegionResult{Verdict::works, DmaPath::direct, {}}));
    EXPECT_EQ(region(Platform::sme, direction, KernelVersion::v6_1, 47, IommuMode::translated),
              (RegionResult{Verdict::works, DmaPath::iommu, {}}));
  }
}

TEST(ExplainUserMr, BreaksInBothDirectionsWhereItBounces) {
  const RegionResult broken{Verdict::broken, DmaPath::swiotlb, {"mr-on-private-memory"}};
  for (const DmaDirection direction : {DmaDirection::to_device, DmaDirection::from_device}) {
    EXPECT_EQ(region(Platform::sev, direction), broken);
    EXPECT_EQ(region(Platform::tdx, direction), broken);
    EXPECT_EQ(region(Platform::sme, direction, KernelVersion::v6_1, 47), broken);
  }
}

TEST(ExplainUserMr, IsRefusedByTheNextKernelInAGuestAndNotOnAHost) {
  EXPECT_EQ(region(Platform::sev, DmaDirection::from_device, KernelVersion::next),
            (RegionResult{Verdict::fails, DmaPath::error, {"mr-refused-cc-dma-bounce"}}));
  EXPECT_EQ(region(Platform::sme, DmaDirection::from_device, KernelVersion::next).verdict, Verdict::works);
}

TEST(Explain, LeavesLiveMappingsAloneWhenAskedToLookBeforeTheUnmap) {
  ExplainOptions options{.unmap = false};
  options.bed.machine.platform = Platform::sev;
  EXPECT_TRUE(explain(options)->causes.empty());
}

TEST(Explain, RefusesWhatContradictsItself) {
  EXPECT_EQ(explain({.size = 0}).error().code, ExitCode::usage);
  EXPECT_EQ(explain({.offset = page_size}).error().code, ExitCode::usage);
  EXPECT_EQ(explain({.map = MapKind::coherent, .sync = SyncRange{0, 1}}).error().code, ExitCode::usage);
  EXPECT_EQ(explain({.size = 64, .sync = SyncRange{60, ~0ull}}).error().code, ExitCode::usage);
}

// What a reader sees of an explanation, but for addresses and costs.
std::string gist(const Explanation& explanation) {
  std::string text = std::string{to_string(explanation.verdict)} + " " +
                     std::string{to_string(explanation.path)} + (explanation.bounced ? " bounced" : "") +
                     (explanation.encryption_bit ? " C" : "") + " " +
                     std::to_string(explanation.largest_mapping);
  for (const Cause& found : explanation.causes) text += " " + std::string{found.info->name};
  return text;
}

TEST(ExplainSession, SaysOfManyDmasOnOneMachineWhatExplainSaysOfEach) {
  for (const Platform platform : platforms) {
    ExplainOptions options;
    options.bed.machine.platform = platform;
    options.bed.machine.memory_bytes = 6ull << 30;
    auto session = ExplainSession::create(options.bed);
    ASSERT_TRUE(session);
    for (const auto& [word, map] : map_kind_words)
      for (const unsigned mask : {64u, 32u}) {
        options.map = map;
        options.device.mask_bits = options.device.coherent_mask_bits = mask;
        const auto alone = explain(options), together = session->explain(options),
                   again = session->explain(options);
        ASSERT_TRUE(alone && together && again);
        EXPECT_EQ(gist(*together), gist(*alone)) << to_string(platform) << " " << word << " " << mask;
        EXPECT_EQ(gist(*again), gist(*alone)) << to_string(platform) << " " << word << " " << mask;
      }
  }
}

TEST(ExplainSession, TellsWhatTheBouncePoolServesAtMost) {
  ExplainOptions options;
  options.bed.machine.platform = Platform::sev;
  auto session = ExplainSession::create(options.bed);
  ASSERT_TRUE(session);
  EXPECT_EQ(session->explain(options)->largest_mapping, 262144u);
  options.device.min_align_mask = 4095;
  EXPECT_EQ(session->explain(options)->max_mapping_size, 258048u);
  options.map = MapKind::coherent;
  EXPECT_EQ(session->explain(options)->largest_mapping, 258048u) << "dma_max_mapping_size() is of the device";
}

TEST(ExplainSession, GoesOnAfterARefusal) {
  auto session = ExplainSession::create({});
  ASSERT_TRUE(session);
  EXPECT_FALSE(session->explain({.device = {.mask_bits = 0}}));
  EXPECT_FALSE(session->explain({.size = 0}));
  EXPECT_EQ(session->explain({})->verdict, Verdict::works);
}

TEST(Matrix, RunsEveryCombinationOnce) {
  MatrixOptions options;
  options.platforms = {Platform::plain, Platform::sme};
  options.masks = {32, 64};
  const auto cells = run_matrix(options).value();
  EXPECT_EQ(cells.size(), 2u * 3 * 5 * 2);
  EXPECT_NE(render(cells, TableFormat::text), render(cells, TableFormat::markdown));
}

}  // namespace
}  // namespace cbit
