#include "doctor/device_models.hpp"

namespace cbit::doctor {
namespace {

void replace_all(std::string& text, const std::string& from, const std::string& to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
}

std::vector<watch::Cause> renamed(std::vector<watch::Cause> causes, const std::string& from,
                                  const std::string& to) {
  if (from == to) return causes;
  for (watch::Cause& cause : causes) {
    replace_all(cause.device, from, to);
    replace_all(cause.kernel_message, from, to);
    for (watch::Evidence& evidence : cause.evidence) replace_all(evidence.text, from, to);
  }
  return causes;
}

PerformedDma summary_of(const explain::Explanation& done, bool encrypted) {
  return {.use = {.map = done.options.map,
                  .verdict = done.verdict,
                  .path = done.path,
                  .encryption_bit = done.encryption_bit,
                  .bounced = done.bounced,
                  .shared = encrypted && !done.encryption_bit && done.path != DmaPath::error},
          .largest_mapping = done.largest_mapping,
          .limit_unknown_to_driver = done.bounced && done.max_mapping_size == ~std::uint64_t{0},
          .causes = done.causes};
}

}  // namespace

OrError<explain::ExplainSession*> DeviceModels::of(IommuMode mode) {
  auto found = sessions_.find(mode);
  if (found == sessions_.end()) {
    std::vector<std::string> said;
    const testbed::TestbedConfig config = model_of(subject_.host, subject_.system, mode, said);
    if (sessions_.empty()) notes_.insert(notes_.end(), said.begin(), said.end());
    found = sessions_.emplace(mode, CBIT_TRY(explain::ExplainSession::create(config))).first;
  }
  return &found->second;
}

OrError<PerformedDma> DeviceModels::perform(IommuMode mode, const explain::ExplainOptions& options,
                                            const std::optional<VirtioNegotiated>& virtio) {
  explain::ExplainSession* const model = CBIT_TRY(of(mode));
  const testbed::TestDeviceConfig& device = options.device;
  const Key key{mode,
                device.mask_bits,
                device.coherent_mask_bits,
                device.min_align_mask,
                device.untrusted,
                options.map,
                options.ttm_policy,
                virtio ? virtio->offered : 0,
                virtio ? virtio->accepted : 0,
                virtio ? virtio->status : -1};
  auto found = done_.find(key);
  if (found == done_.end()) {
    const bool encrypted = is_encrypted(subject_.system.platform);
    auto result = model->explain(options, virtio).map([&](const explain::Explanation& done) {
      return summary_of(done, encrypted);
    });
    found = done_.emplace(key, Done{device.name, std::move(result)}).first;
  }
  OrError<PerformedDma> result = found->second.result;
  if (result) result->causes = renamed(std::move(result->causes), found->second.device, device.name);
  return result;
}

OrError<std::vector<watch::Cause>> DeviceModels::explain_negotiation(IommuMode mode, std::string_view device,
                                                                     const VirtioNegotiated& virtio) {
  return CBIT_TRY(of(mode))->explain_negotiation(device, virtio);
}

}  // namespace cbit::doctor
