// From text to an Experiment.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>

#include "lab/experiment/steps.hpp"
#include "watch/causes.hpp"

namespace cbit {

using namespace lab;

namespace {

// ---- [machine]
// ----------------------------------------------------------------------------------------------

OrError<void> load_dma(const TableReader& keys, DmaConfig& dma) {
  dma.version = CBIT_TRY(keys.word("kernel-version", kernel_version_words)).value_or(dma.version);
  dma.iommu = CBIT_TRY(keys.word("iommu", iommu_mode_words)).value_or(dma.iommu);
  dma.iommu_explicit = !CBIT_TRY(keys.flag("iommu-default")).value_or(false);
  dma.coherent_pool_bytes = CBIT_TRY(keys.number("coherent-pool", page_size, 4ull << 20)).value_or(0);
  if (const auto parameter = CBIT_TRY(keys.text("swiotlb"))) {
    auto options = parse_swiotlb(*parameter);
    if (!options) return keys.error("swiotlb", options.error().message, options.error().hint);
    dma.swiotlb = *options;
  }
  dma.swiotlb.dynamic = CBIT_TRY(keys.flag("swiotlb-dynamic")).value_or(false);
  if (dma.swiotlb.dynamic && dma.version == KernelVersion::v6_1)
    return keys.error("swiotlb-dynamic", "Linux 6.1 has no dynamic SWIOTLB",
                      "add kernel-version = \"6.6\" or \"6.10\"");
  return {};
}

OrError<TestbedConfig> load_machine(const TableReader& keys) {
  TestbedConfig config;
  MachineConfig& machine = config.machine;
  machine.platform = CBIT_TRY(keys.word("platform", platform_words)).value_or(machine.platform);
  machine.c_bit = static_cast<unsigned>(CBIT_TRY(keys.number("cbit", 32, 51)).value_or(machine.c_bit));
  machine.memory_bytes =
      CBIT_TRY(keys.number("memory", 16ull << 20, 1ull << 40)).value_or(machine.memory_bytes);
  machine.cpus = static_cast<unsigned>(CBIT_TRY(keys.number("cpus", 1, 256)).value_or(machine.cpus));
  machine.cache = CBIT_TRY(keys.word("cache", cache_model_words)).value_or(machine.cache);
  machine.cipher = CBIT_TRY(keys.word("cipher", cipher_mode_words)).value_or(machine.cipher);
  machine.paging_levels = static_cast<unsigned>(CBIT_TRY(keys.number("paging-levels", 4, 5)).value_or(4));
  machine.seed =
      CBIT_TRY(keys.number("seed", 0, std::numeric_limits<std::uint64_t>::max())).value_or(machine.seed);
  CBIT_TRY(load_dma(keys, config.dma));
  return config;
}

// ---- [[device]]
// ---------------------------------------------------------------------------------------------

constexpr Word<ExperimentDevice::Kind> device_kind_words[] = {
    {"dma", ExperimentDevice::Kind::dma}, {"virtio-blk", ExperimentDevice::Kind::virtio_blk}};
constexpr std::string_view dma_only[] = {"mask",           "coherent-mask",    "bus-limit",
                                         "min-align-mask", "max-segment-size", "seg-boundary",
                                         "untrusted",      "address-bits",     "restricted-pool"};
constexpr std::string_view virtio_only[] = {"size",     "access-platform",  "acks-access-platform", "legacy",
                                            "indirect", "restricted-check", "raw-addresses"};

// A power of two less one.
OrError<std::optional<std::uint64_t>> low_mask(const TableReader& keys, std::string_view key,
                                               std::uint64_t max) {
  const auto mask = CBIT_TRY(keys.number(key, 0, max));
  if (mask && (*mask & (*mask + 1)) != 0)
    return keys.error(key, fmt::format("\"{}\" is {:#x}, no power of two less one", key, *mask),
                      "use 511, 4095, \"0xffff\", ...");
  return mask;
}

OrError<void> load_dma_device(const TableReader& keys, ExperimentDevice& device) {
  TestDeviceConfig& config = device.config;
  config.mask_bits = static_cast<unsigned>(CBIT_TRY(keys.number("mask", 1, 64)).value_or(config.mask_bits));
  config.coherent_mask_bits =
      static_cast<unsigned>(CBIT_TRY(keys.number("coherent-mask", 1, 64)).value_or(config.mask_bits));
  if (const auto bits = CBIT_TRY(keys.number("bus-limit", 1, 64)))
    config.bus_limit = bit_mask(static_cast<unsigned>(*bits));
  config.min_align_mask = static_cast<std::uint32_t>(
      CBIT_TRY(low_mask(keys, "min-align-mask", 65535)).value_or(config.min_align_mask));
  config.max_segment_size = static_cast<std::uint32_t>(
      CBIT_TRY(keys.number("max-segment-size", page_size, bit_mask(32))).value_or(config.max_segment_size));
  device.seg_boundary_mask = CBIT_TRY(low_mask(keys, "seg-boundary", bit_mask(63))).value_or(bit_mask(64));
  if (device.seg_boundary_mask < page_size - 1)
    return keys.error("seg-boundary", "\"seg-boundary\" is narrower than a page", "use 4095 or more");
  config.untrusted = CBIT_TRY(keys.flag("untrusted")).value_or(false);
  config.address_bits = static_cast<unsigned>(CBIT_TRY(keys.number("address-bits", 1, 64)).value_or(64));
  device.restricted_pool = CBIT_TRY(keys.number("restricted-pool", page_size, 64ull << 20)).value_or(0);
  return {};
}

OrError<void> load_virtio_device(const TableReader& keys, ExperimentDevice& device,
                                 const ExperimentLimits& limits) {
  device.disk_bytes = CBIT_TRY(keys.number("size", page_size, limits.bytes)).value_or(64 * 1024);
  if (device.disk_bytes % page_size != 0)
    return keys.error("size", "a disk has whole blocks", "use a multiple of 4K");
  device.access_platform = CBIT_TRY(keys.flag("access-platform")).value_or(true);
  device.acks_access_platform = CBIT_TRY(keys.flag("acks-access-platform")).value_or(true);
  device.legacy = CBIT_TRY(keys.flag("legacy")).value_or(false);
  device.indirect = CBIT_TRY(keys.flag("indirect")).value_or(true);
  device.restricted_check = CBIT_TRY(keys.flag("restricted-check")).value_or(true);
  device.raw_addresses = CBIT_TRY(keys.flag("raw-addresses")).value_or(false);
  if (device.legacy && device.access_platform)
    return keys.error("legacy", "a legacy device cannot offer VIRTIO_F_ACCESS_PLATFORM, which is bit 33",
                      "add access-platform = false");
  return {};
}

OrError<ExperimentDevice> load_device(const TableReader& keys, const ExperimentLimits& limits) {
  ExperimentDevice device;
  device.place = keys.place();
  device.config.name = CBIT_TRY(keys.need("name", keys.text("name")));
  device.kind = CBIT_TRY(keys.word("kind", device_kind_words)).value_or(ExperimentDevice::Kind::dma);
  const bool is_dma = device.kind == ExperimentDevice::Kind::dma;
  for (const std::string_view key : is_dma ? std::span<const std::string_view>{virtio_only} : dma_only)
    if (keys.has(key))
      return keys.error(key,
                        fmt::format("\"{}\" is no key of a {} device", key, is_dma ? "dma" : "virtio-blk"),
                        fmt::format("drop it, or say kind = \"{}\"", is_dma ? "virtio-blk" : "dma"));
  if (is_dma)
    CBIT_TRY(load_dma_device(keys, device));
  else
    CBIT_TRY(load_virtio_device(keys, device, limits));
  return device;
}

// ---- [[step]]
// -----------------------------------------------------------------------------------------------

// `fails = true`, or a part of the reason.
OrError<std::optional<std::string>> load_fails(const TableReader& keys) {
  const TomlValue* const value = keys.value("fails");
  if (value == nullptr) return std::optional<std::string>{};
  if (value->kind != TomlValue::Kind::flag) return keys.text("fails");
  return value->flag ? std::optional{std::string{}} : std::nullopt;
}

class Loader {
 public:
  Loader(std::string name, const ExperimentLimits& limits) : limits_{limits} {
    experiment_.name = std::move(name);
  }

  OrError<Experiment> load(std::string_view text) {
    const TomlValue document = CBIT_TRY(parse_toml(text, experiment_.name));
    const TableReader keys = CBIT_TRY(TableReader::create(document, experiment_.name, "the file", top_keys));
    experiment_.title = CBIT_TRY(keys.need("title", keys.text("title")));
    experiment_.source = CBIT_TRY(keys.text("source")).value_or("");
    experiment_.description = CBIT_TRY(keys.text("description")).value_or("");
    CBIT_TRY(load_machine_table(keys));
    CBIT_TRY(load_devices(keys));
    CBIT_TRY(load_steps(keys));
    CBIT_TRY(load_causes(keys));
    return std::move(experiment_);
  }

 private:
  OrError<void> load_machine_table(const TableReader& keys) {
    const TomlValue* const table = keys.value("machine");
    if (table == nullptr) return keys.missing("machine");
    if (table->kind != TomlValue::Kind::table)
      return keys.error("machine", fmt::format("\"machine\" is {}", to_string(table->kind)),
                        "begin it with [machine]");
    experiment_.machine_place = table->place;
    const TableReader machine =
        CBIT_TRY(TableReader::create(*table, experiment_.name, "[machine]", machine_keys));
    experiment_.bed = CBIT_TRY(load_machine(machine));
    return {};
  }

  OrError<void> load_devices(const TableReader& keys) {
    const auto tables = CBIT_TRY(keys.tables("device"));
    if (tables.size() > limits_.devices)
      return keys.error("device", fmt::format("there are {} devices", tables.size()),
                        fmt::format("use at most {}", limits_.devices));
    for (const TomlValue* table : tables) {
      const TableReader reader =
          CBIT_TRY(TableReader::create(*table, experiment_.name, "[[device]]", device_keys));
      experiment_.devices.push_back(CBIT_TRY(load_device(reader, limits_)));
      const ExperimentDevice& device = experiment_.devices.back();
      CBIT_TRY(names_.devices.add(reader, {device.config.name, device.kind}));
      if (device.disk_bytes > limits_.bytes - names_.bytes)
        return reader.error("size", fmt::format("the disks have more than {} bytes in all", limits_.bytes),
                            "use smaller disks");
      names_.bytes += device.disk_bytes;
    }
    return {};
  }

  OrError<void> load_steps(const TableReader& keys) {
    const auto tables = CBIT_TRY(keys.tables("step"));
    if (tables.empty()) return keys.missing("step");
    if (tables.size() > limits_.steps)
      return keys.error("step", fmt::format("there are {} steps", tables.size()),
                        fmt::format("use at most {}; split the experiment", limits_.steps));
    for (const TomlValue* table : tables) experiment_.steps.push_back(CBIT_TRY(load_step(*table)));
    return {};
  }

  OrError<ExperimentStep> load_step(const TomlValue& table) {
    const TomlValue* const verb = table.find("do");
    if (verb == nullptr || verb->kind != TomlValue::Kind::text)
      return error_at(experiment_.name, verb != nullptr ? verb->place : table.place,
                      "the step does not say what to do", "add do = \"map\" or another kind of step");
    const auto kind = std::ranges::find(step_kinds(), std::string_view{verb->text}, &StepKind::name);
    if (kind == step_kinds().end()) return unknown_step(*verb);
    const TableReader keys = CBIT_TRY(TableReader::create(
        table, experiment_.name, fmt::format("step \"{}\"", kind->name), kind->keys, common_step_keys));
    CBIT_TRY(keys.text("note"));
    ExperimentStep step{.place = table.place, .kind = std::string{kind->name}};
    step.fails = CBIT_TRY(load_fails(keys));
    StepParser parser{keys, names_, experiment_, limits_};
    step.action = CBIT_TRY(kind->parse(parser));
    return step;
  }

  [[nodiscard]] tl::unexpected<Error> unknown_step(const TomlValue& verb) const {
    std::vector<std::string_view> known;
    for (const StepKind& kind : step_kinds()) known.push_back(kind.name);
    return error_at(experiment_.name, verb.place, fmt::format("there is no step \"{}\"", verb.text),
                    fmt::format("use one of {}", fmt::join(known, ", ")));
  }

  OrError<void> load_causes(const TableReader& keys) {
    experiment_.causes = CBIT_TRY(keys.texts("causes"));
    if (!experiment_.causes) return {};
    experiment_.causes_place = keys.value("causes")->place;
    for (const std::string& name : *experiment_.causes)
      if (find_cause(name) == nullptr)
        return keys.error("causes", fmt::format("there is no cause \"{}\"", name),
                          "docs/causes.md lists them");
    return {};
  }

  const ExperimentLimits& limits_;
  Experiment experiment_;
  StepParser::Names names_;
};

}  // namespace

OrError<Experiment> load_experiment(std::string_view text, std::string name, const ExperimentLimits& limits) {
  return Loader{std::move(name), limits}.load(text);
}

}  // namespace cbit
