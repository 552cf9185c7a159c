#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/safe_text.hpp"
#include "explain/explain.hpp"
#include "explain/matrix.hpp"
#include "watch/export/cause_json.hpp"

namespace cbit::explain {
namespace {

using Json = nlohmann::ordered_json;

Json hex(std::uint64_t value) { return fmt::format("{:#x}", value); }

Json feature_words(std::uint64_t features) {
  Json words = Json::array();
  for (const auto& [word, bit] : virtio_offer_words)
    if ((features & bit) != 0) words.push_back(word);
  return words;
}

Json virtio_of(const VirtioChoice& choice) {
  return {{"offers", feature_words(choice.offers.value_or(~std::uint64_t{0}))},
          {"ring", word_of(ring_words, choice.packed)},
          {"transitional", choice.transitional},
          {"driver", word_of(virtio_driver_words, choice.driver)},
          {"kernel", word_of(virtio_kernel_words, choice.kernel)},
          {"iommu_kind", word_of(machine::iommu_kind_words, choice.virtio_iommu)}};
}

Json errno_of(const std::optional<kernel::Errno>& error) {
  if (!error) return nullptr;
  return kernel::errno_name(*error);
}

Json facts_of(const VirtioFacts& virtio) {
  return {{"offered", hex(virtio.offered)},
          {"accepted", hex(virtio.accepted)},
          {"status", virtio.status},
          {"probe", errno_of(virtio.probe)},
          {"uses_dma_api", virtio.uses_dma_api},
          {"ring", virtio.ring ? hex(virtio.ring->value()) : Json(nullptr)},
          {"ring_device_sees", to_string(virtio.ring_device.sees)},
          {"ring_host_sees", to_string(virtio.ring_host.sees)},
          {"request_reached", virtio.request_reached},
          {"request", errno_of(virtio.request)},
          {"exits", virtio.exits},
          {"bounces", virtio.bounces},
          {"translated", virtio.translated}};
}

Json request_of(const ExplainOptions& options) {
  const machine::MachineConfig& machine = options.bed.machine;
  Json request = {{"platform", to_string(machine.platform)},
                  {"cbit", machine.c_bit},
                  {"memory", machine.memory_bytes},
                  {"cpus", machine.cpus},
                  {"kernel_version", to_string(options.bed.dma.version)},
                  {"iommu", to_string(options.bed.dma.iommu)},
                  {"mask", options.device.mask_bits},
                  {"coherent_mask", options.device.coherent_mask_bits},
                  {"map", to_string(options.map)},
                  {"direction", to_string(options.effective_direction())},
                  {"size", options.size},
                  {"offset", options.offset}};
  if (options.map == MapKind::ttm_bo)
    request["ttm_policy"] = to_string(options.ttm_policy.value_or(TtmPolicy::fixed));
  if (options.key_id) request["key_id"] = *options.key_id;
  if (options.map == MapKind::virtio_blk)
    request["virtio"] = virtio_of(options.virtio.value_or(VirtioChoice{}));
  return request;
}

Json steps_of(const Explanation& explanation) {
  Json list = Json::array();
  for (const StepTaken& step : explanation.steps)
    list.push_back({{"rule", step.rule}, {"source", step.source}});
  return list;
}

Json swiotlb_of(const Explanation& explanation) {
  const kernel::SwiotlbUsage& usage = explanation.swiotlb;
  return {{"slots_used", usage.io_tlb_used},
          {"slots_total", usage.io_tlb_nslabs},
          {"areas", usage.areas},
          {"bytes", usage.bytes_bounced}};
}

Json cost_of(const Explanation& explanation) {
  const kernel::ConversionCost& cost = explanation.conversions;
  return {{"pages_converted", cost.pages},
          {"large_pages_split", cost.large_pages_split},
          {"tlb_flushes", cost.tlb_flushes},
          {"cache_lines_flushed", cost.cache_lines_flushed},
          {"hypercalls", cost.hypercalls}};
}

Json fault_of(const Explanation& explanation) {
  if (!explanation.device_fault) return nullptr;
  const Fault& fault = *explanation.device_fault;
  return {{"what", to_string(fault.kind)}, {"address", hex(fault.address)}, {"write", fault.write}};
}

}  // namespace

std::string to_json(const Explanation& explanation) {
  Json json;
  json["schema"] = "cbit-explain-1";
  json["request"] = request_of(explanation.options);
  json["verdict"] = to_string(explanation.verdict);
  json["path"] = to_string(explanation.path);
  json["dma_address"] = explanation.dma_address ? hex(explanation.dma_address->value()) : Json(nullptr);
  json["buffer"] = hex(explanation.buffer.value());
  json["encryption_bit"] = explanation.encryption_bit;
  json["bounced"] = explanation.bounced;
  json["cpu_sees"] = to_string(explanation.cpu.sees);
  json["device_sees"] = to_string(explanation.device.sees);
  json["host_sees"] = to_string(explanation.host.sees);
  json["pool_sees"] = to_string(explanation.pool.sees);
  json["device_fault"] = fault_of(explanation);
  if (explanation.carried_key_id)
    json["carried_key_id"] = {{"id", explanation.carried_key_id->id},
                              {"in_iommu_entry", explanation.carried_key_id->in_iommu_entry}};
  if (explanation.virtio) json["virtio"] = facts_of(*explanation.virtio);
  json["causes"] = watch::causes_json(explanation.causes);
  json["steps"] = steps_of(explanation);
  json["kernel_log"] = explanation.kernel_log;
  json["swiotlb"] = swiotlb_of(explanation);
  json["conversions"] = cost_of(explanation);
  json["bytes"] = {{"cpu", to_hex(explanation.cpu.bytes)},
                   {"device", to_hex(explanation.device.bytes)},
                   {"host", to_hex(explanation.host.bytes)},
                   {"pool", to_hex(explanation.pool.bytes)}};
  return json_text(json, 2) + '\n';
}

}  // namespace cbit::explain
