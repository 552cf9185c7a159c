#include "explain/explain.hpp"

#include <gtest/gtest.h>

#include <string>
#include <tuple>

#include "explain/matrix.hpp"

namespace cbit::explain {
namespace {

// POWER's secure guests have a bounce pool by force only.
ExplainOptions with_pool(Platform platform, ExplainOptions options) {
  options.bed.machine.platform = platform;
  options.bed.dma.swiotlb.force = platform == Platform::pef;
  return options;
}

Explanation run(Platform platform, MapKind map, DmaDirection direction) {
  const ExplainOptions options =
      with_pool(platform, {.map = map, .direction = direction, .size = 5000, .offset = 123});
  return explain(options).value();
}

class EveryDma : public testing::TestWithParam<std::tuple<Platform, MapKind, DmaDirection>> {};

TEST_P(EveryDma, WorksWithoutACauseWhereTheDriverUsesTheDmaApi) {
  const auto [platform, map, direction] = GetParam();
  const Explanation result = run(platform, map, direction);
  // No CONFIG_DMA_COHERENT_POOL on POWER.
  if (platform == Platform::pef && map == MapKind::coherent_atomic) {
    EXPECT_NE(result.verdict, Verdict::works);
    return;
  }
  EXPECT_EQ(result.verdict, Verdict::works);
  EXPECT_TRUE(result.causes.empty());
  EXPECT_EQ(result.cpu.sees, testbed::Sees::plaintext);
  EXPECT_EQ(result.device.sees, testbed::Sees::plaintext);
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
  for (const watch::Cause& cause : result.causes) EXPECT_FALSE(cause.remedies.empty());
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
  for (const watch::Cause& cause : result.causes) shown.causes.emplace_back(cause.info->name);
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
  EXPECT_EQ(region(Platform::sev, DmaDirection::from_device, KernelVersion::v7_2),
            (RegionResult{Verdict::fails, DmaPath::error, {"mr-refused-cc-dma-bounce"}}));
  EXPECT_EQ(region(Platform::sme, DmaDirection::from_device, KernelVersion::v7_2).verdict, Verdict::works);
}

// ---- a KeyID ----

ExplainOptions keyed(MapKind map, DmaDirection direction, mem::KeySelector key_id = 5) {
  ExplainOptions options{.map = map, .direction = direction, .size = 9000, .offset = 100};
  options.bed.machine.platform = Platform::mktme;
  options.key_id = key_id;
  return options;
}

TEST(ExplainKeyId, IsCarriedByTheAddressAndBothSidesSeeTheSame) {
  for (const MapKind map : {MapKind::streaming, MapKind::user_mr})
    for (const DmaDirection direction :
         {DmaDirection::to_device, DmaDirection::from_device, DmaDirection::bidirectional}) {
      const Explanation result = explain(keyed(map, direction)).value();
      EXPECT_EQ(result.verdict, Verdict::works);
      EXPECT_EQ(result.carried_key_id, (CarriedKeyId{5, false}));
      EXPECT_EQ(result.dma_address->value() >> 46, 5u);
      EXPECT_EQ(result.device.sees, testbed::Sees::plaintext);
      EXPECT_EQ(result.host.sees, testbed::Sees::ciphertext);
      EXPECT_TRUE(result.causes.empty());
    }
}

TEST(ExplainKeyId, IsCarriedByTheIommusEntryForADeviceThatCannotDriveIt) {
  ExplainOptions options = keyed(MapKind::streaming, DmaDirection::bidirectional, 7);
  options.bed.dma.iommu = IommuMode::translated;
  options.device.mask_bits = options.device.coherent_mask_bits = 32;
  const Explanation result = explain(options).value();
  EXPECT_EQ(result.verdict, Verdict::works);
  EXPECT_EQ(result.carried_key_id, (CarriedKeyId{7, true}));
  EXPECT_LT(result.dma_address->value(), 1ull << 32);
  EXPECT_FALSE(result.bounced);
}

TEST(ExplainKeyId, BouncesThroughKeyIdZeroForANarrowDevice) {
  ExplainOptions options = keyed(MapKind::streaming, DmaDirection::bidirectional);
  options.device.mask_bits = 46;
  const Explanation result = explain(options).value();
  EXPECT_EQ(result.verdict, Verdict::works);
  EXPECT_TRUE(result.bounced);
  EXPECT_EQ(result.carried_key_id, (CarriedKeyId{0, false}));
  EXPECT_EQ(result.host.sees, testbed::Sees::ciphertext);
  EXPECT_EQ(result.pool.sees, testbed::Sees::plaintext);
}

TEST(ExplainKeyId, IsLostByADriverThatHandsOutPhysicalAddresses) {
  const Explanation read = explain(keyed(MapKind::raw_phys, DmaDirection::to_device)).value();
  EXPECT_EQ(read.verdict, Verdict::broken);
  EXPECT_EQ(read.device.sees, testbed::Sees::ciphertext);
  EXPECT_EQ(read.carried_key_id, (CarriedKeyId{0, false}));
  ASSERT_FALSE(read.causes.empty());
  EXPECT_EQ(read.causes.front().info->name, "key-id-lost-in-dma-address");
  const Explanation written = explain(keyed(MapKind::raw_phys, DmaDirection::from_device)).value();
  EXPECT_EQ(written.verdict, Verdict::broken);
  EXPECT_EQ(written.cpu.sees, testbed::Sees::noise);
}

TEST(ExplainKeyId, SyncsAPartOfPagesThatWereMappedOneByOne) {
  ExplainOptions options = keyed(MapKind::streaming, DmaDirection::from_device);
  options.device.mask_bits = 46;
  options.sync = SyncRange{4000, 200};
  options.unmap = false;
  const Explanation result = explain(options).value();
  EXPECT_EQ(result.cpu.sees, testbed::Sees::mixed);
  options.sync = SyncRange{0, 9000};
  EXPECT_EQ(explain(options)->cpu.sees, testbed::Sees::plaintext);
}

TEST(ExplainKeyId, IsRefusedWhereThereIsNone) {
  ExplainOptions options = keyed(MapKind::streaming, DmaDirection::to_device);
  options.bed.machine.platform = Platform::sme;
  EXPECT_EQ(explain(options).error().code, ExitCode::usage);
  for (const mem::KeySelector beyond : {mem::KeySelector{0}, mem::KeySelector{64}})
    EXPECT_EQ(explain(keyed(MapKind::streaming, DmaDirection::to_device, beyond)).error().code,
              ExitCode::usage);
  for (const MapKind map : {MapKind::coherent, MapKind::coherent_atomic, MapKind::resource, MapKind::ttm_bo})
    EXPECT_EQ(explain(keyed(map, DmaDirection::from_device)).error().code, ExitCode::usage);
}

// ---- a virtio disk ----

struct DiskResult {
  Verdict verdict{};
  std::optional<kernel::Errno> probe;
  testbed::Sees ring{};  // by the device
  testbed::Sees data{};
  std::vector<std::string> causes;
  friend bool operator==(const DiskResult&, const DiskResult&) = default;
};

DiskResult shown(const Explanation& result) {
  DiskResult shown{
      result.verdict, result.virtio->probe, result.virtio->ring_device.sees, result.device.sees, {}};
  for (const watch::Cause& cause : result.causes) shown.causes.emplace_back(cause.info->name);
  return shown;
}

ExplainOptions disk(Platform platform, const VirtioChoice& choice = {},
                    DmaDirection direction = DmaDirection::to_device) {
  ExplainOptions options =
      with_pool(platform, {.map = MapKind::virtio_blk, .direction = direction, .size = 8192, .offset = 512});
  options.virtio = choice;
  return options;
}

constexpr std::uint64_t without_flag =
    spec::virtio_feature::version_1 | spec::virtio_feature::indirect_desc | spec::virtio_feature::event_idx;

TEST(ExplainVirtio, WorksOnEveryPlatformWithEitherRingWhenTheFlagIsTaken) {
  const DiskResult works{
      Verdict::works, std::nullopt, testbed::Sees::plaintext, testbed::Sees::plaintext, {}};
  for (const Platform platform : platforms)
    for (const bool packed : {false, true})
      for (const DmaDirection direction : {DmaDirection::to_device, DmaDirection::from_device}) {
        SCOPED_TRACE(to_string(platform));
        EXPECT_EQ(shown(explain(disk(platform, {.packed = packed}, direction)).value()), works);
      }
}

TEST(ExplainVirtio, CountsWhatEncryptionAndTranslationCost) {
  const VirtioFacts plain = *explain(disk(Platform::plain))->virtio;
  EXPECT_EQ(plain.bounces, 0u);
  EXPECT_EQ(plain.exits, 1u);
  const VirtioFacts sev = *explain(disk(Platform::sev))->virtio;
  EXPECT_GT(sev.bounces, 0u);
  EXPECT_EQ(sev.exits, 1u);
  EXPECT_EQ(sev.translated, 0u);
  ExplainOptions translated = disk(Platform::plain, {.virtio_iommu = true});
  translated.bed.dma.iommu = IommuMode::translated;
  const VirtioFacts viommu = *explain(translated)->virtio;
  EXPECT_GT(viommu.exits, 1u);
  EXPECT_GT(viommu.translated, 0u);
}

TEST(ExplainVirtio, IsRefusedByTheCheckAndHangsWithoutIt) {
  EXPECT_EQ(shown(explain(disk(Platform::sev, {.offers = without_flag})).value()),
            (DiskResult{Verdict::fails,
                        kernel::Errno::enodev,
                        testbed::Sees::none,
                        testbed::Sees::none,
                        {"flag-not-offered"}}));
  const Explanation before =
      explain(disk(Platform::sev, {.offers = without_flag, .kernel = VirtioKernelKind::before_check}))
          .value();
  EXPECT_EQ(before.verdict, Verdict::fails);
  EXPECT_FALSE(before.virtio->uses_dma_api);
  EXPECT_FALSE(before.virtio->request_reached);
  EXPECT_EQ(before.virtio->ring_device.sees, testbed::Sees::ciphertext);
  EXPECT_FALSE(before.bounced);
}

TEST(ExplainVirtio, WorksWithoutTheFlagWhenTheKernelAsksAboutEncryptionInstead) {
  const Explanation rfc =
      explain(disk(Platform::sev, {.offers = without_flag, .kernel = VirtioKernelKind::rfc})).value();
  EXPECT_EQ(rfc.verdict, Verdict::works);
  EXPECT_TRUE(rfc.virtio->uses_dma_api);
  EXPECT_TRUE(rfc.bounced);
}

TEST(ExplainVirtio, NamesALegacyDeviceAndADriverOlderThanTheFlag) {
  const std::uint64_t legacy = spec::virtio_feature::indirect_desc;
  EXPECT_EQ(shown(explain(disk(Platform::sev, {.offers = legacy})).value()).causes,
            std::vector<std::string>{"legacy-virtio"});
  EXPECT_EQ(explain(disk(Platform::plain, {.offers = legacy}))->verdict, Verdict::works);
  EXPECT_EQ(shown(explain(disk(Platform::plain, {.driver = VirtioDriverKind::without_flag})).value()),
            (DiskResult{Verdict::fails,
                        kernel::Errno::enodev,
                        testbed::Sees::none,
                        testbed::Sees::none,
                        {"flag-not-acked"}}));
  EXPECT_EQ(explain(disk(Platform::plain, {.driver = VirtioDriverKind::legacy}))->virtio->probe,
            kernel::Errno::enodev);
  EXPECT_EQ(explain(disk(Platform::plain,
                         {.offers = without_flag, .transitional = true, .driver = VirtioDriverKind::legacy}))
                ->verdict,
            Verdict::works);
}

TEST(ExplainVirtio, ShowsWhatADeviceReadsAtRawAddressesBesideARingThatIsRight) {
  const Explanation raw = explain(disk(Platform::sev, {.driver = VirtioDriverKind::raw_addresses})).value();
  EXPECT_EQ(raw.virtio->ring_device.sees, testbed::Sees::plaintext);
  EXPECT_NE(raw.verdict, Verdict::works);
  EXPECT_FALSE(raw.causes.empty());
  EXPECT_EQ(explain(disk(Platform::plain, {.driver = VirtioDriverKind::raw_addresses}))->verdict,
            Verdict::works);
}

TEST(ExplainVirtio, RefusesWhatContradictsItself) {
  const auto code = [](const ExplainOptions& options) { return explain(options).error().code; };
  EXPECT_EQ(code(disk(Platform::sev, {}, DmaDirection::bidirectional)), ExitCode::usage);
  ExplainOptions options = disk(Platform::sev);
  options.size = 100;
  EXPECT_EQ(code(options), ExitCode::usage);
  options = disk(Platform::sev);
  options.device.mask_bits = 32;
  EXPECT_EQ(code(options), ExitCode::usage);
  EXPECT_EQ(code(disk(Platform::sev, {.virtio_iommu = true})), ExitCode::usage);
  EXPECT_EQ(code(disk(Platform::sev, {.offers = spec::virtio_feature::access_platform})), ExitCode::usage);
  options = {};
  options.virtio = VirtioChoice{};
  EXPECT_EQ(code(options), ExitCode::usage);
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
  for (const watch::Cause& found : explanation.causes) text += " " + std::string{found.info->name};
  return text;
}

TEST(ExplainSession, RefusesAVirtioDiskWhichComesWithAMachineOfItsOwn) {
  auto session = ExplainSession::create({});
  ASSERT_TRUE(session);
  const auto refused = session->explain({.map = MapKind::virtio_blk});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ExitCode::usage);
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
        if (map == MapKind::virtio_blk) continue;
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
}  // namespace cbit::explain
