#include "guest/watch_report.hpp"

#include <iterator>
#include <nlohmann/json.hpp>

#include "base/bytes.hpp"
#include "base/format.hpp"
#include "base/safe_text.hpp"
#include "watch/export/cause_json.hpp"
#include "watch/report.hpp"

namespace cbit::guest {
namespace {

using Json = nlohmann::ordered_json;

// A run has a handful; the rest is in the JSON.
constexpr std::size_t callers_shown = 8;
constexpr std::size_t places_shown = 8;

std::string of_pools(const WatchReport& report) {
  std::string text;
  auto out = std::back_inserter(text);
  for (const mem::PhysRange& pool : report.pools)
    fmt::format_to(out, "Bounce buffers: {} MiB at {}\n", pool.bytes >> 20, pool.first);
  const watch::CostCounts& counts = report.counts;
  if (!report.pools.empty())
    fmt::format_to(out, "  {} bounces, {} bytes into the pool, {} bytes out of it, at most {} slots in use\n",
                   counts.bounces, counts.bounced_to_pool.bytes, counts.bounced_from_pool.bytes,
                   counts.slots_used_max);
  return text;
}

// Why less may be told than happened.
std::string of_watch(const WatchReport& report) {
  std::string text;
  if (!report.lacks.empty()) text += fmt::format("Built without {}\n", fmt::join(report.lacks, ", "));
  if (!report.not_watched.empty())
    text += fmt::format("Not watched: {} of its functions, for instance {}\n", report.not_watched.size(),
                        report.not_watched.front());
  return text;
}

std::string of_pages(const WatchReport& report) {
  const watch::CostCounts& counts = report.counts;
  std::string text = fmt::format("Pages: {} made shared, {} made private again, in {} calls\n",
                                 counts.pages_shared, counts.pages_made_private, counts.conversions);
  auto out = std::back_inserter(text);
  for (std::size_t i = 0; i < report.callers.size() && i < callers_shown; ++i) {
    const CallerConversions& caller = report.callers[i];
    fmt::format_to(out, "  {:>8} shared {:>8} private  {}\n", caller.pages_shared, caller.pages_made_private,
                   caller.caller);
  }
  if (report.callers.size() > callers_shown)
    fmt::format_to(out, "  and {} callers with fewer pages\n", report.callers.size() - callers_shown);
  return text;
}

std::string of_told(const ToldReport& told) {
  if (told.calls == 0) return {};
  std::string text = fmt::format(
      "Told to the hypervisor in {} calls: {} pages shared, {} private; of {} written since, {} disagree\n",
      told.calls, told.pages_shared, told.pages_private, told.pages_judged, told.disagreements);
  for (const PhysAddr place : told.places) text += fmt::format("  at {}\n", place);
  return text;
}

std::string of_devices(const WatchReport& report) {
  if (report.devices.empty()) return "DMA: none\n";
  std::string text = fmt::format("DMA: {:<18} {:>10} {:>10} {:>10} {:>14} {:>14}\n", "device", "mappings",
                                 "bounced", "refused", "bytes read", "bytes written");
  for (const DeviceTraffic& device : report.devices)
    fmt::format_to(std::back_inserter(text), "     {:<18} {:>10} {:>10} {:>10} {:>14} {:>14}\n",
                   device.device, device.mappings, device.bounced, device.refused, device.bytes_read,
                   device.bytes_written);
  return text;
}

// Nothing where no IOMMU has shown.
std::string of_iommu(const WatchReport& report) {
  std::uint64_t mappings = 0, faults = 0;
  for (const DeviceTraffic& device : report.devices) {
    mappings += device.translated;
    faults += device.iommu_faults;
  }
  if (mappings == 0 && faults == 0) return {};
  return fmt::format("IOMMU: {} mappings translated, {} accesses of devices refused\n", mappings, faults);
}

std::string of_views(const SecretViews& views) {
  const auto line = [](std::string_view who, const Bytes& bytes) {
    std::string text;
    for (const std::byte byte : bytes) {
      const char c = static_cast<char>(byte);
      text += c >= ' ' && c <= '~' ? c : '.';
    }
    return fmt::format("    {:<6}{}  |{}|\n", who, to_hex(bytes), text);
  };
  return fmt::format("  at {}, as it is seen by\n", views.at) + line("guest", views.guest) +
         line("host", views.host) + line("DRAM", views.dram);
}

std::string of_secrets(const WatchReport& report) {
  std::string text;
  auto out = std::back_inserter(text);
  for (const SecretFound& secret : report.secrets) {
    fmt::format_to(out, "Secret \"{}\": ", safe_line(secret.secret));
    if (report.is_encrypted) fmt::format_to(out, "under the guest's key {} times; ", secret.guest);
    fmt::format_to(out, "the host finds it {} times, DRAM holds it {} times\n", secret.host, secret.dram);
    if (secret.views) text += of_views(*secret.views);
    for (const PhysAddr place : secret.places) fmt::format_to(out, "  the host finds it at {}\n", place);
  }
  return text;
}

std::string of_exposure(const WatchReport& report) {
  const Exposure& found = report.exposure;
  if (!report.is_encrypted) return {};
  std::string text = "Private bytes in shared memory: ";
  if (found.searched == Exposure::Searched::not_at_all)
    return text + "not searched, for not every mapping was seen\n";
  auto out = std::back_inserter(text);
  fmt::format_to(
      out, "{} that no mapping gave away, {} left behind by mappings, {} copied along{}\n", found.bytes,
      found.left_behind, found.copied_along,
      found.searched == Exposure::Searched::in_part ? "; too much looks alike to search it all" : "");
  for (std::size_t i = 0; i < found.places.size() && i < places_shown; ++i) {
    const Exposure::Place& place = found.places[i];
    fmt::format_to(out, "  {} bytes at {}, which are private\n", place.twin.bytes, place.twin.at);
    text += of_views(place.views);
  }
  if (found.places.size() > places_shown)
    fmt::format_to(out, "  and {} places more\n", found.places.size() - places_shown);
  return text;
}

std::string hex(PhysAddr at) { return fmt::format("{:#x}", at.value()); }

Json json_of(const DeviceTraffic& device) {
  return {{"device", device.device},
          {"mappings", device.mappings},
          {"mapped_bytes", device.mapped_bytes},
          {"bounced", device.bounced},
          {"translated", device.translated},
          {"iommu_faults", device.iommu_faults},
          {"refused", device.refused},
          {"bytes_read", device.bytes_read},
          {"bytes_written", device.bytes_written}};
}

Json json_of(const CallerConversions& caller) {
  return {{"caller", caller.caller},
          {"calls", caller.calls},
          {"pages_shared", caller.pages_shared},
          {"pages_made_private", caller.pages_made_private}};
}

Json json_of(const ToldReport& told) {
  Json places = Json::array();
  for (const PhysAddr place : told.places) places.push_back(hex(place));
  return {{"calls", told.calls},
          {"pages_shared", told.pages_shared},
          {"pages_private", told.pages_private},
          {"pages_judged", told.pages_judged},
          {"disagreements", told.disagreements},
          {"places", places}};
}

Json json_of(const mem::PhysRange& pool) { return {{"first", hex(pool.first)}, {"bytes", pool.bytes}}; }

Json json_of(const SecretViews& views) {
  return {{"at", hex(views.at)},
          {"guest", to_hex(views.guest)},
          {"host", to_hex(views.host)},
          {"dram", to_hex(views.dram)}};
}

Json json_of(const SecretFound& secret) {
  Json places = Json::array();
  for (const PhysAddr place : secret.places) places.push_back(hex(place));
  Json json{{"secret", secret.secret},
            {"guest", secret.guest},
            {"host", secret.host},
            {"dram", secret.dram},
            {"places", places}};
  if (secret.views) json["views"] = json_of(*secret.views);
  return json;
}

Json json_of(const Exposure::Place& place) {
  return {{"at", hex(place.twin.at)}, {"bytes", place.twin.bytes}, {"private", json_of(place.views)}};
}

template <class Row>
Json json_of(const std::vector<Row>& rows) {
  Json list = Json::array();
  for (const Row& row : rows) list.push_back(json_of(row));
  return list;
}

Json json_of(const Exposure& found) {
  constexpr std::string_view searched[] = {"not", "in-part", "all"};
  return {{"searched", searched[static_cast<std::size_t>(found.searched)]},
          {"bytes", found.bytes},
          {"left_behind", found.left_behind},
          {"copied_along", found.copied_along},
          {"places", json_of(found.places)}};
}

}  // namespace

std::string to_text(const WatchReport& report) {
  std::string text = fmt::format("cbit: Linux {}, {}\n", report.kernel, report.platform);
  if (report.found) {
    text += of_watch(report) + of_pages(report) + of_told(report.told) + of_pools(report) +
            of_devices(report) + of_iommu(report);
    if (report.lost_calls != 0)
      text += fmt::format("Calls whose return was not seen: {}\n", report.lost_calls);
    text += of_exposure(report);
  } else {
    text += "The kernel's calls were not seen: the image that ran is not the one in the file.\n";
  }
  text += of_secrets(report);
  return text + (report.causes.empty() ? "Causes: none\n" : "Causes\n" + watch::render_causes(report.causes));
}

std::string to_dma_text(const WatchReport& report) {
  if (!report.found) return "The kernel has not been found in memory yet.\n";
  return of_pools(report) + of_devices(report) + of_iommu(report);
}

std::string to_json(const WatchReport& report) {
  const watch::CostCounts& counts = report.counts;
  Json json;
  json["schema"] = "cbit-run-1";
  json["platform"] = report.platform;
  json["kernel"] = report.kernel;
  json["watched"] = report.found;
  json["lacks"] = report.lacks;
  json["not_watched"] = report.not_watched;
  json["lost_calls"] = report.lost_calls;
  json["conversions"] = {{"calls", counts.conversions},
                         {"pages_shared", counts.pages_shared},
                         {"pages_made_private", counts.pages_made_private},
                         {"callers", json_of(report.callers)}};
  json["told"] = json_of(report.told);
  json["swiotlb"] = {
      {"pools", json_of(report.pools)},           {"bounces", counts.bounces},
      {"bytes_in", counts.bounced_to_pool.bytes}, {"bytes_out", counts.bounced_from_pool.bytes},
      {"slots_used_max", counts.slots_used_max},  {"full", counts.pool_full}};
  json["devices"] = json_of(report.devices);
  json["exposure"] = json_of(report.exposure);
  json["secrets"] = json_of(report.secrets);
  json["causes"] = watch::causes_json(report.causes);
  return json_text(json, 2) + '\n';
}

}  // namespace cbit::guest
