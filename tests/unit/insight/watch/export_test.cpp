#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "stage.hpp"
#include "watch/event_names.hpp"
#include "watch/export/chrome_trace.hpp"
#include "watch/export/fields.hpp"
#include "watch/export/ftrace.hpp"
#include "watch/export/json_lines.hpp"

namespace cbit::watch {
namespace {

using Json = nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

// A run with every kind of event that the formats treat apart.
void play(Stage& s) {
  const Agent cpu0{AgentKind::cpu, 0};
  s.cpu(StepTaken{"SEV guest: every streaming mapping bounces", "kernel/dma/direct.h: dma_direct_map_page"});
  s.cpu(SwiotlbBounced{s.device, bit_mask(64), encrypted_dma, 512, true});
  s.cpu(SwiotlbAllocated{s.device, 1, 1, 0, bounce_phys, buffer_page});
  s.tracer.emit(cpu0, SwiotlbCopied{buffer_page, bounce_phys, 512, true}, 61);
  s.map(DmaPath::swiotlb, bounce_dma, 512, DmaDirection::bidirectional);
  s.dev(KeyMismatch{buffer_page, no_key, memory_key, cpu0, s.site, 0});
  s.device_reads(bounce_dma, bounce_phys, no_key);
  s.device_writes(bounce_dma, bounce_phys, no_key);
  s.unmap(bounce_dma, 512, DmaDirection::bidirectional, true);
  s.cpu(SwiotlbReleased{1, 1});
  s.cpu(IommuMapped{1, iova, buffer_page, 4096, true});
  s.cpu(IommuUnmapped{1, iova, 4096});
  s.printk("swiotlb buffer is full (sz: 262145 bytes), total 32768 (slots), used 0 (slots)");
  s.device_fault(FaultKind::rmp_violation, raw_dma, buffer_page.value(), true);
  s.host(PageConversion{buffer_page, 1, false, false, s.site});
  s.tracer.emit(Agent{AgentKind::cpu, 1}, Flush{FlushKind::clflush, 64, s.site}, 320);
  s.map(DmaPath::iommu, iova);  // stays mapped
  s.device_reads(iova, buffer_page, memory_key, memory_key, true);
}

template <class Sink>
std::string exported() {
  Stage stage{Stage::guest()};
  std::ostringstream out;
  Sink sink{stage.tracer, out};
  stage.tracer.attach(sink);
  play(stage);
  if constexpr (requires { sink.finish(); }) sink.finish();
  return out.str();
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in{text};
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

TEST(Exporters, GiveTheSameBytesForTheSameRun) {
  EXPECT_EQ(exported<JsonLines>(), exported<JsonLines>());
  EXPECT_EQ(exported<ChromeTrace>(), exported<ChromeTrace>());
  EXPECT_EQ(exported<Ftrace>(), exported<Ftrace>());
}

// ---- fields ----------------------------------------------------------------------------------------------

// An enumeration that grew without a stable name would print "?".
TEST(Fields, PrintsEveryEventWithNamesInsteadOfNumbers) {
  Clock clock;
  const Tracer tracer{clock};
  const std::function<void(const EventPayload&)> check = [&](const EventPayload& payload) {
    SCOPED_TRACE(event_name(payload));
    std::set<std::string> names;
    for (const Field& field : fields_of(payload, tracer)) {
      EXPECT_TRUE(names.insert(field.name).second) << field.name;
      const auto* const text = std::get_if<std::string>(&field.value);
      EXPECT_TRUE(text == nullptr || *text != "?") << field.name;
      const bool is_name = field.name == "device" || field.name == "dev_name" || field.name.ends_with("site");
      EXPECT_EQ(is_name, text != nullptr && *text == "unknown") << field.name;
    }
  };
  [&]<class... Payload>(std::type_identity<std::variant<Payload...>>) {
    (check(Payload{}), ...);
  }(std::type_identity<EventPayload>{});
}

TEST(Fields, HasAStableNameForEachEnumerator) {
  std::set<std::string_view> names;
  for (int i = 0; i <= static_cast<int>(FaultKind::bus_master_off); ++i)
    EXPECT_TRUE(names.insert(stable_name(static_cast<FaultKind>(i))).second) << i;
  for (int i = 0; i <= static_cast<int>(DmaFailure::not_told); ++i)
    EXPECT_NE(stable_name(static_cast<DmaFailure>(i)), "?") << i;
  for (int i = 0; i <= static_cast<int>(DmaDebugKind::wrong_attributes); ++i)
    EXPECT_NE(stable_name(static_cast<DmaDebugKind>(i)), "?") << i;
  EXPECT_FALSE(names.contains("?"));
}

TEST(Fields, SplitsAFaultAndNamesItsRequester) {
  Clock clock;
  const Tracer tracer{clock};
  const auto fields =
      fields_of(DeviceFault{0, 0x18, DmaAddr{0x10}, {FaultKind::iommu_protection, 0x20, true}}, tracer);
  std::vector<std::string> names;
  for (const Field& field : fields) names.push_back(field.name);
  EXPECT_THAT(names,
              ElementsAre("device", "requester", "bus_address", "fault", "fault_address", "fault_write"));
  EXPECT_EQ(std::get<std::string>(fields[1].value), "00:03.0");
  EXPECT_EQ(std::get<std::string>(fields[3].value), "iommu-protection");
}

// ---- JSON lines ------------------------------------------------------------------------------------------

TEST(JsonLines, HasAHeaderAndAnObjectPerEvent) {
  const auto lines = lines_of(exported<JsonLines>());
  EXPECT_EQ(lines[0], R"({"format":"cbit-events","version":1})");
  ASSERT_EQ(lines.size(), 19u);
  std::uint64_t before = 0;
  for (std::size_t i = 1; i < lines.size(); ++i) {
    const Json line = Json::parse(lines[i]);
    EXPECT_GE(line["time_ns"].get<std::uint64_t>(), before);
    before = line["time_ns"].get<std::uint64_t>();
    EXPECT_TRUE(line["event"].is_string());
    EXPECT_TRUE(line["agent"].is_string());
  }
}

TEST(JsonLines, PrintsAMappingWithItsFieldsInOrder) {
  Stage s{Stage::guest()};
  std::ostringstream out;
  JsonLines sink{s.tracer, out};
  s.tracer.attach(sink);
  s.map(DmaPath::swiotlb, bounce_dma, 512, DmaDirection::from_device, DmaMappingKind::sg);
  EXPECT_EQ(
      lines_of(out.str())[1],
      R"({"time_ns":0,"duration_ns":0,"agent":"cpu0","event":"dma_map","device":"0000:00:03.0","kind":"sg",)"
      R"("dma":"0x40000800","phys":"0x12345000","bytes":512,"direction":"from-device","path":"swiotlb",)"
      R"("encrypted":false})");
}

TEST(JsonLines, SurvivesTextThatIsNotUtf8) {
  Stage s{Stage::guest()};
  std::ostringstream out;
  JsonLines sink{s.tracer, out};
  s.tracer.attach(sink);
  s.printk("bad \xff \" \n byte");
  EXPECT_THAT(Json::parse(lines_of(out.str())[1])["text"].get<std::string>(), HasSubstr("\" \n byte"));
}

// ---- ftrace ----------------------------------------------------------------------------------------------

TEST(Ftrace, BeginsAsTheKernelsTraceFileDoes) {
  EXPECT_TRUE(exported<Ftrace>().starts_with("# tracer: nop\n#\n"));
}

TEST(Ftrace, EveryLineIsTaskPidCpuFlagsTimeEvent) {
  for (const std::string& line : lines_of(exported<Ftrace>())) {
    if (line.starts_with('#')) continue;
    EXPECT_THAT(line,
                testing::MatchesRegex(" *[^ ]+-[0-9]+ +\\[[0-9][0-9][0-9]\\] [.]{5} +[0-9]+\\.[0-9]{9}: "
                                      "[a-z_]+: .+"));
  }
}

TEST(Ftrace, PrintsSwiotlbBouncedAsTheKernelDoes) {
  EXPECT_THAT(exported<Ftrace>(),
              HasSubstr("swiotlb_bounced: dev_name: 0000:00:03.0 dma_mask=ffffffffffffffff "
                        "dev_addr=800012345000 size=512 FORCE\n"));
}

TEST(Ftrace, PrintsIommuMapsAsTheKernelDoes) {
  EXPECT_THAT(exported<Ftrace>(), HasSubstr(": map: IOMMU: iova=0x00000000fffff000 - 0x0000000100000000 "
                                            "paddr=0x0000000012345000 size=4096\n"));
  EXPECT_THAT(exported<Ftrace>(), HasSubstr(": unmap: IOMMU: iova=0x00000000fffff000 - 0x0000000100000000 "
                                            "size=4096 unmapped_size=4096\n"));
}

TEST(Ftrace, PrintsTheOthersAsNamesAndValues) {
  EXPECT_THAT(exported<Ftrace>(),
              HasSubstr("device_fault: device=0000:00:03.0 requester=00:03.0 bus_address=0x12345000 "
                        "fault=rmp-violation fault_address=0x12345000 fault_write=1\n"));
  EXPECT_THAT(exported<Ftrace>(), HasSubstr("console: [swiotlb buffer is full (sz: 262145 bytes)"));
}

TEST(Ftrace, KeepsAMessageOnOneLine) {
  Stage s{Stage::guest()};
  std::ostringstream out;
  Ftrace sink{s.tracer, out};
  s.tracer.attach(sink);
  const std::size_t header = lines_of(out.str()).size();
  s.printk("two\nlines");
  EXPECT_EQ(lines_of(out.str()).size(), header + 1);
}

// ---- Chrome trace ----------------------------------------------------------------------------------------

using TrackId = std::pair<int, int>;

// Nanoseconds, exactly: the text has three decimals.
std::int64_t ns(const Json& microseconds) { return std::llround(microseconds.get<double>() * 1000); }

void expect_nested(const std::vector<std::pair<std::int64_t, std::int64_t>>& slices) {
  std::vector<std::int64_t> open;
  for (const auto& [begin, end] : slices) {
    EXPECT_LT(begin, end);
    while (!open.empty() && open.back() <= begin) open.pop_back();
    EXPECT_TRUE(open.empty() || end <= open.back());
    open.push_back(end);
  }
}

TEST(ChromeTrace, IsJsonWithNestedSlicesAndTimesInOrder) {
  const Json trace = Json::parse(exported<ChromeTrace>());
  EXPECT_EQ(trace["displayTimeUnit"], "ns");
  std::map<TrackId, std::vector<std::pair<std::int64_t, std::int64_t>>> slices;
  std::int64_t before = 0;
  for (const Json& event : trace["traceEvents"]) {
    if (event["ph"] == "M") continue;
    EXPECT_GE(ns(event["ts"]), before);
    before = ns(event["ts"]);
    if (event["ph"] == "X")
      slices[{event["pid"], event["tid"]}].emplace_back(ns(event["ts"]), ns(event["ts"]) + ns(event["dur"]));
  }
  EXPECT_GE(slices.size(), 3u);
  for (const auto& [track, of_track] : slices) expect_nested(of_track);
}

TEST(ChromeTrace, CutsASliceThatWouldOutliveTheOneAroundIt) {
  Stage s{Stage::guest()};
  std::ostringstream out;
  ChromeTrace sink{s.tracer, out};
  const Agent cpu0{AgentKind::cpu, 0};
  sink.on_event({100, 100, cpu0, Flush{FlushKind::wbinvd, 1, 0}});
  sink.on_event({150, 500, cpu0, Flush{FlushKind::tlb_full, 1, 0}});
  sink.finish();
  std::vector<std::int64_t> durations;
  const Json trace = Json::parse(out.str());
  for (const Json& event : trace["traceEvents"])
    if (event["ph"] == "X") durations.push_back(ns(event["dur"]));
  EXPECT_THAT(durations, ElementsAre(100, 50));
}

TEST(ChromeTrace, EveryArrowBeginsOnceEndsOnceAndSitsInASlice) {
  std::map<int, std::string> phases;
  std::set<std::pair<TrackId, std::int64_t>> slice_starts;
  const Json trace = Json::parse(exported<ChromeTrace>());
  for (const Json& event : trace["traceEvents"]) {
    const std::string phase = event["ph"];
    if (phase == "X") slice_starts.insert({{event["pid"], event["tid"]}, ns(event["ts"])});
    if (phase != "s" && phase != "t" && phase != "f") continue;
    phases[event["id"]] += phase;
    EXPECT_TRUE(slice_starts.contains({{event["pid"], event["tid"]}, ns(event["ts"])}));
  }
  EXPECT_THAT(phases, ElementsAre(testing::Pair(1, "sttf"), testing::Pair(2, "stf")));
}

TEST(ChromeTrace, NamesATrackPerCpuAndPerDevice) {
  std::set<std::string> names;
  const Json trace = Json::parse(exported<ChromeTrace>());
  for (const Json& event : trace["traceEvents"])
    if (event["ph"] == "M") names.insert(event["args"]["name"]);
  EXPECT_THAT(names, testing::IsSupersetOf({"CPUs", "Devices", "cpu0", "cpu1", "0000:00:03.0", "host"}));
}

TEST(ChromeTrace, CountsTheSlotsInUse) {
  std::vector<int> used;
  const Json trace = Json::parse(exported<ChromeTrace>());
  for (const Json& event : trace["traceEvents"])
    if (event["ph"] == "C") used.push_back(event["args"]["used"]);
  EXPECT_THAT(used, ElementsAre(1, 0));
}

TEST(ChromeTrace, OfARunWithoutEventsIsCompleteToo) {
  Clock clock;
  const Tracer tracer{clock};
  std::ostringstream out;
  ChromeTrace sink{tracer, out};
  sink.finish();
  EXPECT_EQ(Json::parse(out.str())["traceEvents"].size(), 3u);
}

}  // namespace
}  // namespace cbit::watch
