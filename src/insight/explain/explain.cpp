#include "explain/explain.hpp"

#include <fmt/format.h>

#include "explain/maps/findings.hpp"
#include "explain/maps/map_experiment.hpp"

namespace cbit::explain {

std::string_view to_string(Verdict verdict) {
  switch (verdict) {
    case Verdict::works: return "works";
    case Verdict::broken: return "broken";
    case Verdict::fails: return "fails";
  }
  return "?";
}

namespace {

OrError<void> check_key_id(const ExplainOptions& options) {
  const machine::MachineConfig& machine = options.bed.machine;
  if (machine::traits_of(machine.platform).key_selection != machine::KeySelection::key_id)
    return usage_error(
        fmt::format("--key-id has no meaning on {}, which has no KeyIDs", to_string(machine.platform)),
        "add --platform mktme");
  const std::uint64_t key_ids = bit_mask(machine.key_id_bits);
  if (*options.key_id == 0 || *options.key_id > key_ids)
    return usage_error(fmt::format("--key-id {} is not a KeyID that a key can have", *options.key_id),
                       fmt::format("use 1 to {}", key_ids));
  if (!info_of(options.map).takes_key_id)
    return usage_error(
        fmt::format("--key-id has no meaning with --map {}, whose memory is the kernel's and of KeyID 0",
                    to_string(options.map)),
        "use --map streaming, raw-phys or user-mr");
  return {};
}

}  // namespace

OrError<void> check(const ExplainOptions& options) {
  const bool writes = options.effective_direction() != DmaDirection::to_device;
  if (options.size == 0 || options.size > explain_size_max)
    return usage_error(
        fmt::format("--size {} is out of range", options.size),
        fmt::format("use 1 to {} bytes, the largest block of the page allocator", explain_size_max));
  if (options.offset >= page_size)
    return usage_error(fmt::format("--offset {} is not within a page", options.offset), "use 0 to 4095");
  if (options.device_writes && !writes)
    return usage_error("--device-writes contradicts --direction to-device", "use --direction from-device");
  if (options.device_writes && (*options.device_writes == 0 || *options.device_writes > options.size))
    return usage_error(fmt::format("--device-writes {} does not fit the buffer of {} bytes",
                                   *options.device_writes, options.size),
                       "use 1 to the --size");
  if (options.sync && !info_of(options.map).can_sync)
    return usage_error(fmt::format("--sync has no meaning with --map {}", to_string(options.map)),
                       "only streaming mappings are synced");
  if (options.sync && (options.sync->length == 0 || options.sync->offset >= options.size ||
                       options.sync->length > options.size - options.sync->offset))
    return usage_error(fmt::format("--sync {}+{} is not inside the buffer of {} bytes", options.sync->offset,
                                   options.sync->length, options.size),
                       "use OFFSET+LENGTH within --size");
  if (options.device.untrusted && options.bed.dma.iommu != IommuMode::translated)
    return usage_error("--untrusted matters only behind a translating IOMMU", "add --iommu translated");
  if (options.key_id) CBIT_TRY(check_key_id(options));
  if (options.virtio && options.map != MapKind::virtio_blk)
    return usage_error("options of a virtio disk have no meaning here", "add --map virtio-blk");
  return experiment_of(options.map).check(options);
}

OrError<Explanation> explain(const ExplainOptions& options, EventSink* sink) {
  CBIT_TRY(check(options));
  const MapExperiment& experiment = experiment_of(options.map);
  const auto bed = CBIT_TRY(testbed::Testbed::create(experiment.machine(options), {sink}));
  return experiment.perform(options, *bed, bed->explainer());
}

ExplainSession::ExplainSession(std::unique_ptr<testbed::Testbed> bed)
    : bed_{std::move(bed)}, booted_{bed_->explainer()} {
  bed_->tracer().detach(bed_->explainer());
}

OrError<ExplainSession> ExplainSession::create(const testbed::TestbedConfig& config) {
  return ExplainSession{CBIT_TRY(testbed::Testbed::create(config))};
}

OrError<Explanation> ExplainSession::explain(ExplainOptions options,
                                             const std::optional<VirtioNegotiated>& virtio) {
  options.bed = bed_->config();
  CBIT_TRY(check(options));
  if (info_of(options.map).has_own_machine)
    return usage_error("a virtio disk comes with a machine of its own", "explain it by itself");
  watch::Explainer explainer{booted_};
  const Attached attached{bed_->tracer(), explainer};
  if (virtio) negotiate(options.device.name, *virtio);
  return experiment_of(options.map).perform(options, *bed_, explainer);
}

std::vector<watch::Cause> ExplainSession::explain_negotiation(std::string_view device,
                                                              const VirtioNegotiated& virtio) {
  watch::Explainer explainer{booted_};
  const Attached attached{bed_->tracer(), explainer};
  negotiate(device, virtio);
  return explainer.causes();
}

void ExplainSession::negotiate(std::string_view device, VirtioNegotiated virtio) {
  virtio.device = bed_->tracer().intern(device);
  bed_->tracer().emit(bed_->kernel().cpu(0).agent(), virtio);
}

}  // namespace cbit::explain
