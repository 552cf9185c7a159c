#include <nlohmann/json.hpp>

#include "base/safe_text.hpp"
#include "explain/rdma/perftest.hpp"
#include "watch/export/cause_json.hpp"

namespace cbit::explain {
namespace {

using Json = nlohmann::ordered_json;

Json cost_json(const testbed::RdmaCost& cost) {
  return {{"copies", cost.copies},
          {"bytes_bounced", cost.bytes_bounced},
          {"bytes_copied", cost.bytes_copied},
          {"pages_converted", cost.pages_converted},
          {"tlb_flushes", cost.flushes},
          {"virtual_ns", cost.virtual_ns}};
}

}  // namespace

std::string to_json(const RdmaRunReport& report, std::string_view test) {
  const testbed::RdmaNodeConfig& node = report.options.node;
  const Json json{{"schema", "cbit-rdma-1"},
                  {"test", test},
                  {"platform", to_string(node.bed.machine.platform)},
                  {"method", word_of(testbed::rdma_method_words, node.method)},
                  {"linux", to_string(node.bed.dma.version)},
                  {"iommu", to_string(node.bed.dma.iommu)},
                  {"mask_bits", node.mask_bits},
                  {"bytes", node.bytes},
                  {"iterations", report.options.iterations},
                  {"registration", report.registration},
                  {"completed", report.completed},
                  {"verified", report.verified},
                  {"status", ibv_wc_status_str(report.status)},
                  {"transfers", cost_json(report.cost)},
                  {"set_up", cost_json(report.set_up)},
                  {"causes", watch::causes_json(report.causes)}};
  return json_text(json, 2) + '\n';
}

}  // namespace cbit::explain
