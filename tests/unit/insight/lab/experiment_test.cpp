#include "lab/experiment.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <sstream>

#include "lab/experiment/data.hpp"
#include "lab/experiment/devices.hpp"
#include "lab/experiment/expect.hpp"
#include "lab/experiment/steps.hpp"

namespace cbit::lab {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

constexpr std::string_view head = "title = 't'\n[machine]\nplatform = 'sev'\n[[device]]\nname = 'nic'\n";

// `steps` begins on line 6.
std::string with_head(std::string_view steps) { return std::string{head} + std::string{steps}; }

Error error_of(std::string_view text) {
  const auto loaded = load_experiment(text, "x.toml");
  if (!loaded) return loaded.error();
  ADD_FAILURE() << "loads";
  return {};
}

Error error_of_steps(std::string_view steps) { return error_of(with_head(steps)); }

ExperimentResult result_of(std::string_view text) {
  const auto loaded = load_experiment(text, "x.toml");
  if (!loaded) {
    ADD_FAILURE() << loaded.error().message;
    return {};
  }
  auto result = run_experiment(*loaded);
  if (!result) {
    ADD_FAILURE() << result.error().message;
    return {};
  }
  return *std::move(result);
}

constexpr std::string_view alloc_step = "[[step]]\ndo = 'alloc'\nname = 'b'\nsize = 64\n";  // lines 6 to 9

// ---- files that do not load ------------------------------------------------------------------------------

TEST(LabFile, NamesLineAndColumnOfBadToml) {
  EXPECT_THAT(error_of("title = 'x'\n[machine\n").message, StartsWith("x.toml:2:"));
  EXPECT_EQ(error_of("=").code, ExitCode::bad_input);
}

TEST(LabFile, NamesTheUnknownKeyAndListsTheKnownOnes) {
  const Error error = error_of_steps("[[step]]\ndo = 'alloc'\nname = 'b'\n  sise = 64\n");
  EXPECT_EQ(error.message, "x.toml:9:3: step \"alloc\" has no key \"sise\"");
  EXPECT_THAT(error.hint, HasSubstr("name, size, offset"));
  EXPECT_THAT(error.hint, HasSubstr("fails"));
}

TEST(LabFile, RefusesUnknownKeysInEveryTable) {
  EXPECT_THAT(error_of("titel = 'x'\n").message, StartsWith("x.toml:1:1: the file has no key \"titel\""));
  EXPECT_THAT(error_of("title = 'x'\n[machine]\nplattform = 'sev'\n").message,
              StartsWith("x.toml:3:1: [machine]"));
  EXPECT_THAT(error_of("title = 'x'\n[machine]\n[[device]]\nname = 'n'\nmusk = 1\n").message,
              StartsWith("x.toml:5:1: device of kind \"dma\""));
  EXPECT_THAT(
      error_of_steps("[[step]]\ndo = 'map'\nname = 'm'\nhow = 'sg'\nsegments = [{ bufer = 'b' }]\n").message,
      HasSubstr("segment has no key \"bufer\""));
}

TEST(LabFile, NamesTheMissingKey) {
  EXPECT_THAT(error_of("[machine]\n").message, HasSubstr("lacks the key \"title\""));
  EXPECT_EQ(error_of("[machine]\n").hint, "add a line: title = ...");
  EXPECT_THAT(error_of("title = 't'\n").message, HasSubstr("lacks the key \"machine\""));
  EXPECT_EQ(error_of("title = 't'\n").hint, "begin a table: [machine]");
  EXPECT_THAT(error_of("title = 't'\n[machine]\n").message, HasSubstr("lacks the key \"step\""));
  EXPECT_EQ(error_of_steps("[[step]]\ndo = 'alloc'\nname = 'b'\n").message,
            "x.toml:6:1: step \"alloc\" lacks the key \"size\"");
}

TEST(LabFile, RefusesValuesOfTheWrongType) {
  EXPECT_THAT(error_of("title = 5\n[machine]\n").message, HasSubstr("\"title\" is an integer"));
  EXPECT_THAT(error_of("title = 't'\nmachine = 1\n").message, HasSubstr("\"machine\" is an integer"));
  EXPECT_THAT(error_of("title = 't'\n[machine]\niommu-default = 'yes'\n").message,
              HasSubstr("\"iommu-default\" is a string"));
  EXPECT_THAT(error_of_steps("[[step]]\ndo = 'alloc'\nname = 'b'\nsize = 1.5\n").message,
              HasSubstr("\"size\" is a float, date or time"));
  EXPECT_THAT(error_of_steps("[[step]]\ndo = 3\n").message, HasSubstr("does not say what to do"));
  EXPECT_THAT(error_of("title = 't'\nstep = 4\n[machine]\n").message, HasSubstr("\"step\" is an integer"));
  EXPECT_THAT(error_of("title = 't'\nstep = [4]\n[machine]\n").hint, HasSubstr("a list of tables only"));
}

TEST(LabFile, RefusesNumbersOutOfRangeAndSaysTheRange) {
  const Error error = error_of("title = 't'\n[machine]\ncbit = 60\n");
  EXPECT_EQ(error.message, "x.toml:3:8: [machine]: \"cbit\" is 60, out of range");
  EXPECT_EQ(error.hint, "use 32 to 51");
  EXPECT_THAT(error_of_steps("[[step]]\ndo = 'alloc'\nname = 'b'\nsize = -1\n").message,
              HasSubstr("is not a number"));
  EXPECT_THAT(error_of_steps("[[step]]\ndo = 'alloc'\nname = 'b'\nsize = '4X'\n").message,
              HasSubstr("is not a number"));
  EXPECT_THAT(error_of_steps("[[step]]\ndo = 'alloc'\nname = 'b'\nsize = '65M'\n").message,
              HasSubstr("out of range"));
}

TEST(LabFile, ListsTheWordsThatAKeyKnows) {
  const Error error = error_of("title = 't'\n[machine]\nplatform = 'sew'\n");
  EXPECT_THAT(error.message, HasSubstr("does not know \"sew\""));
  EXPECT_THAT(error.hint, HasSubstr("sev, sev-es, sev-snp"));
}

TEST(LabFile, ListsTheStepsThatExist) {
  const Error error = error_of_steps("[[step]]\ndo = 'mapp'\n");
  EXPECT_EQ(error.message, "x.toml:7:6: there is no step \"mapp\"");
  EXPECT_THAT(error.hint, HasSubstr("map, unmap"));
}

TEST(LabFile, RefusesNamesThatDoNotExistYet) {
  const std::string text = std::string{alloc_step} + "[[step]]\ndo = 'cpu-write'\nbuffer = 'c'\n";
  const Error error = error_of_steps(text);
  EXPECT_EQ(error.message, "x.toml:12:10: step \"cpu-write\": there is no buffer \"c\" at this point");
  EXPECT_EQ(error.hint, "so far there are: b");
  EXPECT_THAT(error_of_steps("[[step]]\ndo = 'unmap'\nmapping = 'm'\n").hint,
              HasSubstr("no step before this one"));
  EXPECT_THAT(error_of_steps("[[step]]\ndo = 'cpu-read'\nthrough = 'w'\n").message,
              HasSubstr("no window \"w\""));
  EXPECT_THAT(error_of_steps("[[step]]\ndo = 'release'\ndevice = 'disk'\n").message,
              HasSubstr("no device \"disk\""));
}

TEST(LabFile, RefusesANameThatIsTaken) {
  EXPECT_THAT(error_of_steps(std::string{alloc_step} + std::string{alloc_step}).message,
              HasSubstr("there is a buffer \"b\" already"));
}

TEST(LabFile, RefusesContradictions) {
  const auto after_alloc = [](std::string_view step) {
    return error_of_steps(std::string{alloc_step} + std::string{step}).message;
  };
  EXPECT_THAT(after_alloc("[[step]]\ndo = 'map'\nname = 'm'\nhow = 'sg'\nbuffer = 'b'\n"),
              HasSubstr("contradicts"));
  EXPECT_THAT(after_alloc("[[step]]\ndo = 'map'\nname = 'm'\nbuffer = 'b'\nsegments = []\n"),
              HasSubstr("are for scatterlists"));
  EXPECT_THAT(after_alloc("[[step]]\ndo = 'map'\nname = 'm'\nbuffer = 'b'\np2pdma = true\n"),
              HasSubstr("P2PDMA"));
  EXPECT_THAT(after_alloc("[[step]]\ndo = 'free-coherent'\nbuffer = 'b'\n"), HasSubstr("no coherent memory"));
  EXPECT_THAT(after_alloc("[[step]]\ndo = 'free-pages'\nbuffer = 'b'\n"), HasSubstr("\"b\" is none"));
  EXPECT_THAT(after_alloc("[[step]]\ndo = 'map'\nname = 'm'\nbuffer = 'b'\n"
                          "[[step]]\ndo = 'iova-link'\nmapping = 'm'\nbuffer = 'b'\n"),
              HasSubstr("no IOVA space"));
  EXPECT_THAT(after_alloc("[[step]]\ndo = 'iova-alloc'\nname = 'm'\nsize = 64\nbuffer = 'b'\n"
                          "[[step]]\ndo = 'unmap'\nmapping = 'm'\n"),
              HasSubstr("not made by dma_map_*()"));
  EXPECT_THAT(after_alloc("[[step]]\ndo = 'expect'\n"), HasSubstr("nothing is expected"));
  EXPECT_THAT(after_alloc("[[step]]\ndo = 'expect'\ncpu-sees = 'old'\n"), HasSubstr("\"cpu-sees\" of what?"));
  EXPECT_THAT(after_alloc("[[step]]\ndo = 'expect'\nbuffer = 'b'\npath = 'direct'\n"),
              HasSubstr("\"path\" of what?"));
  EXPECT_THAT(after_alloc("[[step]]\ndo = 'expect'\ncauses = ['no-such-cause']\n"),
              HasSubstr("no cause \"no-such-cause\""));
  EXPECT_THAT(after_alloc("[[step]]\ndo = 'free'\nbuffer = 'b'\n[[step]]\ndo = 'free'\nbuffer = 'b'\n"),
              HasSubstr("free already"));
  EXPECT_THAT(error_of("title = 't'\n[machine]\nswiotlb-dynamic = true\n").message, HasSubstr("Linux 6.1"));
  EXPECT_THAT(error_of("title = 't'\n[machine]\nswiotlb = 'often'\n").message, StartsWith("x.toml:3:11:"));
  EXPECT_THAT(
      error_of("title = 't'\n[machine]\n[[device]]\nname = 'v'\nkind = 'virtio-blk'\nmask = 32\n").message,
      HasSubstr("device of kind \"virtio-blk\" has no key \"mask\""));
}

TEST(LabFile, RefusesDataThatDoesNotFit) {
  const auto write = [](std::string_view keys) {
    return error_of_steps(std::string{alloc_step} + "[[step]]\ndo = 'cpu-write'\nbuffer = 'b'\n" +
                          std::string{keys})
        .message;
  };
  EXPECT_THAT(write("data = { text = 'abc' }\nlength = 4\n"), HasSubstr("has 3 bytes, the range 4"));
  EXPECT_THAT(write("data = { fill = 1, length = 65 }\n"), HasSubstr("there is room for 64"));
  EXPECT_THAT(write("data = { hex = 'abc' }\n"), HasSubstr("not made of bytes"));
  EXPECT_THAT(write("data = { hex = 'zz' }\n"), HasSubstr("not made of bytes"));
  EXPECT_THAT(write("data = { text = '' }\n"), HasSubstr("empty"));
  EXPECT_THAT(write("data = []\n"), HasSubstr("empty"));
  EXPECT_THAT(write("data = {}\n"), HasSubstr("no contents"));
  EXPECT_THAT(write("data = { fill = 1, seed = 2 }\n"), HasSubstr("several kinds"));
  EXPECT_THAT(write("data = [{ fill = 1 }, { fill = 2 }]\n"), HasSubstr("has no end"));
  EXPECT_THAT(write("data = 'cpu'\n"), HasSubstr("\"data\" is a string"));
}

TEST(LabFile, HasLimits) {
  ExperimentLimits limits;
  limits.steps = 1;
  EXPECT_TRUE(load_experiment(with_head(alloc_step), "x.toml", limits));
  const std::string two = std::string{alloc_step} + "[[step]]\ndo = 'alloc'\nname = 'c'\nsize = 64\n";
  const auto refused = load_experiment(with_head(two), "x.toml", limits);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().hint, HasSubstr("at most 1"));
  limits = {.bytes = 127};
  EXPECT_THAT(load_experiment(with_head(two), "x.toml", limits).error().message,
              HasSubstr("more than 127 bytes in all"));
}

// ---- runs -------------------------------------------------------------------------------------------------

TEST(LabRun, ReportsAMachineThatCannotBeAtItsTable) {
  const auto loaded = load_experiment(
      "title = 't'\n[machine]\nplatform = 'sev'\ncbit = 32\nmemory = '8G'\n[[step]]\n"
      "do = 'alloc'\nname = 'b'\nsize = 1\n",
      "x.toml");
  ASSERT_TRUE(loaded) << loaded.error().message;
  const auto result = run_experiment(*loaded);
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, StartsWith("x.toml:2:1: C-bit position 32 lies inside RAM"));
  EXPECT_EQ(result.error().code, ExitCode::bad_input);
}

TEST(LabRun, ReportsADeviceThatCannotBeAtItsTable) {
  const auto loaded = load_experiment(
      "title = 't'\n[machine]\n[[device]]\nname = 'n'\nmask = 20\n[[step]]\n"
      "do = 'alloc'\nname = 'b'\nsize = 1\n",
      "x.toml");
  ASSERT_TRUE(loaded);
  const auto result = run_experiment(*loaded);
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, StartsWith("x.toml:3:1: dma_set_mask"));
}

constexpr std::string_view written = "[[step]]\ndo = 'cpu-write'\nbuffer = 'b'\n";  // lines 10 to 12

TEST(LabRun, PassesWhenAllIsAsExpected) {
  const auto result = result_of(with_head(std::string{alloc_step} + std::string{written} +
                                          "[[step]]\ndo = 'expect'\nbuffer = 'b'\ncpu-sees = 'plaintext'\n"
                                          "host-sees = 'ciphertext'\ndram-sees = 'ciphertext'\n"));
  EXPECT_TRUE(result.passed());
  EXPECT_THAT(result.steps, testing::SizeIs(3));
}

TEST(LabRun, ShowsWhatWasFoundInsteadByteByByte) {
  const std::string text =
      with_head(std::string{alloc_step} + std::string{written} +
                "[[step]]\ndo = 'expect'\nbuffer = 'b'\ncpu-sees = { pattern = 'device' }\n"
                "host-sees = 'plaintext'\n");
  const auto loaded = load_experiment(text, "x.toml");
  ASSERT_TRUE(loaded);
  const auto result = run_experiment(*loaded);
  ASSERT_TRUE(result);
  ASSERT_THAT(result->failures, testing::SizeIs(2));
  EXPECT_EQ(result->failures[0].step, 2u);
  EXPECT_EQ(result->failures[0].place.line, 13u);
  EXPECT_THAT(result->failures[0].mismatch.dump, HasSubstr("ABCDEFGHIJKLMN"));
  EXPECT_THAT(result->failures[0].mismatch.dump, HasSubstr("abcdefghijklmn"));
  EXPECT_THAT(result->failures[0].mismatch.dump, HasSubstr("64 of 64 bytes differ"));
  EXPECT_EQ(result->failures[1].mismatch.expected, "plaintext");
  EXPECT_EQ(result->failures[1].mismatch.found, "ciphertext");
  const std::string report = failures_text(*loaded, *result);
  EXPECT_THAT(report, StartsWith("x.toml:13:1: step 3 (expect): cpu-sees\n"));
}

TEST(LabRun, StopsAtAnActionThatFailsUnexpectedly) {
  const auto result =
      result_of(with_head("[[step]]\ndo = 'alloc'\nname = 'b'\nsize = 262145\n[[step]]\ndo = 'map'\n"
                          "name = 'm'\nbuffer = 'b'\n[[step]]\ndo = 'unmap'\nmapping = 'm'\n"));
  ASSERT_THAT(result.failures, testing::SizeIs(1));
  EXPECT_EQ(result.failures[0].mismatch.expected, "success");
  EXPECT_THAT(result.failures[0].mismatch.found, HasSubstr("DMA_MAPPING_ERROR: pool-full"));
  EXPECT_THAT(result.steps, testing::SizeIs(2)) << "the unmap is not performed";
}

TEST(LabRun, TakesAnExpectedFailureAsSuccessAndItsAbsenceAsFailure) {
  const std::string_view map = "[[step]]\ndo = 'map'\nname = 'm'\nbuffer = 'b'\n";
  const auto with_size = [&](int size, std::string_view fails) {
    return result_of(with_head("[[step]]\ndo = 'alloc'\nname = 'b'\nsize = " + std::to_string(size) + "\n" +
                               std::string{map} + std::string{fails}));
  };
  EXPECT_TRUE(with_size(262145, "fails = true\n").passed());
  EXPECT_TRUE(with_size(262145, "fails = 'pool-full'\n").passed());
  EXPECT_FALSE(with_size(262145, "fails = 'no-pool'\n").passed()) << "for another reason";
  const auto result = with_size(64, "fails = true\n");
  ASSERT_THAT(result.failures, testing::SizeIs(1));
  EXPECT_THAT(result.failures[0].mismatch.found, StartsWith("success"));
}

TEST(LabRun, ComparesTheCausesAtTheEnd) {
  const std::string steps = std::string{alloc_step} + std::string{written} +
                            "[[step]]\ndo = 'map'\nname = 'm'\nbuffer = 'b'\nhow = 'raw-phys'\n"
                            "[[step]]\ndo = 'device-read'\nmapping = 'm'\n";
  const auto result = result_of("causes = []\n" + with_head(steps));
  ASSERT_THAT(result.failures, testing::SizeIs(1));
  EXPECT_FALSE(result.failures[0].step);
  EXPECT_EQ(result.failures[0].mismatch.expected, "none");
  EXPECT_EQ(result.failures[0].mismatch.found, "page-still-private, raw-physical-address");
  EXPECT_TRUE(
      result_of("causes = ['page-still-private', 'raw-physical-address']\n" + with_head(steps)).passed());
  EXPECT_TRUE(result_of(with_head(steps)).passed()) << "nothing was said about causes";
}

TEST(LabRun, IsTheSameEveryTime) {
  const std::string text = with_head(std::string{alloc_step} + std::string{written} +
                                     "[[step]]\ndo = 'expect'\nbuffer = 'b'\nhost-sees = 'plaintext'\n");
  EXPECT_EQ(result_of(text).failures[0].mismatch.dump, result_of(text).failures[0].mismatch.dump);
}

// ---- data -------------------------------------------------------------------------------------------------

Bytes data_of(std::string_view toml, std::uint64_t offset, std::uint64_t bytes) {
  const auto document = parse_toml(toml, "x.toml");
  EXPECT_TRUE(document);
  const auto data = Data::parse(*document->find("d"), "x.toml", "d");
  EXPECT_TRUE(data);
  return data->bytes(offset, bytes);
}

TEST(LabData, PatternsDependOnThePlaceInTheBuffer) {
  const Bytes whole = data_of("d = { pattern = 'cpu' }", 0, 64);
  EXPECT_EQ(data_of("d = { pattern = 'cpu' }", 16, 48), Bytes(whole.begin() + 16, whole.end()));
  EXPECT_EQ(whole, testbed::authored_bytes(testbed::Author::cpu, 64));
}

TEST(LabData, PiecesFollowEachOtherAndUnitsRepeat) {
  const Bytes bytes = data_of("d = [{ hex = '00 ff', length = 3 }, { text = 'ab' }, { fill = 7 }]", 0, 7);
  EXPECT_EQ(to_hex(bytes), "00ff0061620707");
}

TEST(LabData, NoiseFromASeedIsRepeatable) {
  EXPECT_EQ(data_of("d = { seed = 3 }", 0, 32), pattern_bytes(32, 3));
  EXPECT_NE(data_of("d = { seed = 4 }", 0, 32), pattern_bytes(32, 3));
}

TEST(LabDiff, ShowsRowsThatDifferAndCountsTheRest) {
  const Bytes left(256, std::byte{0}), right(256, std::byte{1});
  const std::string text = hex_diff(left, right, 0x1000);
  EXPECT_THAT(text, HasSubstr("0x1000"));
  EXPECT_THAT(text, HasSubstr("8 more rows differ"));
  EXPECT_THAT(text, HasSubstr("256 of 256 bytes differ"));
  EXPECT_THAT(hex_diff(left, left, 0), HasSubstr("0 of 256 bytes differ"));
  EXPECT_THAT(hex_diff(Bytes(3), Bytes(5), 0), HasSubstr("2 of 5 bytes differ")) << "of unequal length";
}

// ---- the format as a whole -------------------------------------------------------------------------------

TEST(LabFormat, EveryExperimentThatComesWithItPasses) {
  ASSERT_GE(builtin_experiments().size(), 36u);
  for (const BuiltinExperiment& builtin : builtin_experiments()) {
    const auto loaded = load_experiment(builtin.text, std::string{builtin.name});
    ASSERT_TRUE(loaded) << loaded.error().message;
    EXPECT_FALSE(loaded->title.empty());
    EXPECT_FALSE(loaded->source.empty()) << builtin.name;
    const auto result = run_experiment(*loaded);
    ASSERT_TRUE(result) << result.error().message;
    EXPECT_TRUE(result->passed()) << failures_text(*loaded, *result);
  }
}

std::set<std::string_view> all_keys() {
  std::set<std::string_view> keys;
  const auto add = [&](auto&& list) { keys.insert(std::begin(list), std::end(list)); };
  add(lab::top_keys);
  add(lab::machine_keys);
  add(lab::common_device_keys);
  add(lab::common_step_keys);
  add(lab::data_keys);
  for (const StepKind& kind : step_kinds()) {
    keys.insert(kind.name);
    add(kind.keys);
  }
  for (const DeviceKind& kind : device_kinds()) {
    keys.insert(kind.name);
    add(kind.keys);
  }
  return keys;
}

TEST(LabFormat, TheDocumentDescribesEveryStepAndKey) {
  std::ifstream file{"docs/lab-format.md"};
  std::stringstream text;
  text << file.rdbuf();
  ASSERT_FALSE(text.str().empty());
  for (const std::string_view key : all_keys())
    EXPECT_THAT(text.str(), HasSubstr(std::string{'`'}.append(key).append("`")))
        << "docs/lab-format.md lacks it";
}

TEST(LabFormat, StepNamesAreUnique) {
  std::set<std::string_view> names;
  for (const StepKind& kind : step_kinds()) EXPECT_TRUE(names.insert(kind.name).second) << kind.name;
}

}  // namespace
}  // namespace cbit::lab
