#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/safe_text.hpp"
#include "stream/report.hpp"

namespace cbit::stream {
namespace {

using Json = nlohmann::ordered_json;

Json causes_of(const StreamPass& pass) {
  Json list = Json::array();
  for (const watch::Cause& cause : pass.causes)
    list.push_back({{"name", cause.info->name},
                    {"device", cause.device},
                    {"remedy", cause.remedies.front().text},
                    {"count", cause.count}});
  return list;
}

Json pass_of(const StreamPass& pass) {
  return {{"bytes", pass.bytes},
          {"in_guest", to_hex(pass.in_guest)},
          {"intact", pass.intact},
          {"host",
           {{"private_pages", pass.scan.private_pages},
            {"shared_pages", pass.scan.shared_pages},
            {"sectors_in_private_pages", pass.scan.sectors_in_private_pages},
            {"sectors_in_shared_pages", pass.scan.sectors_in_shared_pages}}},
          {"swiotlb",
           {{"slots_total", pass.swiotlb.io_tlb_nslabs},
            {"slots_used_max", pass.counters.counts().slots_used_max},
            {"areas", pass.swiotlb.areas},
            {"bounces", pass.swiotlb.bounces},
            {"bytes", pass.swiotlb.bytes_bounced}}},
          {"conversions",
           {{"pages", pass.conversions.pages},
            {"large_pages_split", pass.conversions.large_pages_split},
            {"tlb_flushes", pass.conversions.tlb_flushes},
            {"hypercalls", pass.conversions.hypercalls}}},
          {"virtual_ns", pass.virtual_ns},
          {"causes", causes_of(pass)}};
}

}  // namespace

std::string to_json(const StreamReport& report) {
  const Json json{{"schema", "cbit-stream-1"},
                  {"platform", to_string(report.options.bed.machine.platform)},
                  {"source", to_hex(report.source)},
                  {"target", to_hex(report.target)},
                  {"equal", report.equal},
                  {"telling_sectors", report.telling_sectors},
                  {"correct", pass_of(report.correct)},
                  {"raw_addresses", pass_of(report.raw)}};
  return json_text(json, 2) + '\n';
}

}  // namespace cbit::stream
