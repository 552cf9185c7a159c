// From text to an Experiment.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>

#include "base/safe_text.hpp"
#include "base/text.hpp"
#include "lab/experiment/devices.hpp"
#include "lab/experiment/steps.hpp"
#include "watch/causes.hpp"

namespace cbit::lab {

namespace {

// ---- [machine] --------------------------------------------------------------------------------------------

OrError<void> load_dma(const TableReader& keys, kernel::DmaConfig& dma) {
  dma.version = CBIT_TRY(keys.word("kernel-version", kernel_version_words)).value_or(dma.version);
  dma.iommu = CBIT_TRY(keys.word("iommu", iommu_mode_words)).value_or(dma.iommu);
  dma.iommu_strict = CBIT_TRY(keys.flag("iommu-strict"));
  dma.iommu_explicit = !CBIT_TRY(keys.flag("iommu-default")).value_or(false);
  dma.debug_all_errors = CBIT_TRY(keys.flag("dma-debug-all-errors")).value_or(false);
  dma.direct_remap = CBIT_TRY(keys.flag("direct-remap")).value_or(false);
  dma.coherent_pool_bytes = CBIT_TRY(keys.number("coherent-pool", page_size, 4ull << 20)).value_or(0);
  if (const auto parameter = CBIT_TRY(keys.text("swiotlb"))) {
    auto options = kernel::parse_swiotlb(*parameter);
    if (!options) return keys.error("swiotlb", options.error().message, options.error().hint);
    dma.swiotlb = *options;
  }
  dma.swiotlb.dynamic = CBIT_TRY(keys.flag("swiotlb-dynamic")).value_or(false);
  if (dma.swiotlb.dynamic && !spec::has_dynamic_swiotlb(dma.version))
    return keys.error("swiotlb-dynamic",
                      fmt::format("Linux {} has no dynamic SWIOTLB", to_string(dma.version)),
                      "add kernel-version = \"6.6\", or a later one");
  return {};
}

OrError<testbed::TestbedConfig> load_machine(const TableReader& keys) {
  testbed::TestbedConfig config;
  machine::MachineConfig& machine = config.machine;
  machine.platform = CBIT_TRY(keys.word("platform", platform_words)).value_or(machine.platform);
  machine.c_bit = static_cast<unsigned>(CBIT_TRY(keys.number("cbit", 32, 51)).value_or(machine.c_bit));
  machine.memory_bytes =
      CBIT_TRY(keys.number("memory", 16ull << 20, 1ull << 40)).value_or(machine.memory_bytes);
  machine.cpus = static_cast<unsigned>(CBIT_TRY(keys.number("cpus", 1, 256)).value_or(machine.cpus));
  machine.virtual_machine = CBIT_TRY(keys.flag("virtual-machine")).value_or(false);
  machine.migration_control = CBIT_TRY(keys.flag("migration-control")).value_or(false);
  machine.virtio_iommu = CBIT_TRY(keys.word("iommu-kind", machine::iommu_kind_words)).value_or(false);
  machine.cache = CBIT_TRY(keys.word("cache", mem::cache_model_words)).value_or(machine.cache);
  machine.cipher = CBIT_TRY(keys.word("cipher", crypt::cipher_mode_words)).value_or(machine.cipher);
  machine.paging_levels = static_cast<unsigned>(CBIT_TRY(keys.number("paging-levels", 4, 5)).value_or(4));
  machine.key_id_bits =
      static_cast<unsigned>(CBIT_TRY(keys.number("key-id-bits", 1, 15)).value_or(machine.key_id_bits));
  machine.seed =
      CBIT_TRY(keys.number("seed", 0, std::numeric_limits<std::uint64_t>::max())).value_or(machine.seed);
  machine.sev.asids = static_cast<unsigned>(CBIT_TRY(keys.number("sev-asids", 0, 1023)).value_or(0));
  machine.sev.min_sev_asid =
      static_cast<unsigned>(CBIT_TRY(keys.number("sev-min-asid", 1, 1024)).value_or(1));
  machine.rmp = CBIT_TRY(keys.flag("rmp")).value_or(false);
  CBIT_TRY(load_dma(keys, config.dma));
  return config;
}

// ---- [[step]] ---------------------------------------------------------------------------------------------

// `fails = true`, or a part of the reason.
OrError<std::optional<std::string>> load_fails(const TableReader& keys) {
  const TomlValue* const value = keys.value("fails");
  if (value == nullptr) return std::optional<std::string>{};
  if (value->kind != TomlValue::Kind::flag) return keys.text("fails");
  return value->flag ? std::optional{std::string{}} : std::nullopt;
}

class Loader {
 public:
  Loader(std::string_view name, const ExperimentLimits& limits) : limits_{limits} {
    experiment_.name = safe_line(name);
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
    keep_names();
    return std::move(experiment_);
  }

 private:
  void keep_names() {
    for (std::size_t i = 0; i < names_.buffers.size(); ++i)
      experiment_.buffers.push_back({names_.buffers[i].name, names_.buffers[i].bytes});
    for (std::size_t i = 0; i < names_.mappings.size(); ++i)
      experiment_.mappings.push_back({names_.mappings[i].name, names_.mappings[i].device});
  }

  OrError<void> load_machine_table(const TableReader& keys) {
    const TomlValue* const table = keys.value("machine");
    if (table == nullptr) return keys.missing("machine", "begin a table: [machine]");
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
    for (const TomlValue* table : tables) CBIT_TRY(load_device(*table));
    return {};
  }

  OrError<void> load_device(const TomlValue& table) {
    const DeviceKind& kind = *CBIT_TRY(kind_of(table));
    const TableReader keys =
        CBIT_TRY(TableReader::create(table, experiment_.name, fmt::format("device of kind \"{}\"", kind.name),
                                     kind.keys, common_device_keys));
    ExperimentDevice device{.kind = kind.name, .place = table.place};
    device.name = CBIT_TRY(keys.need("name", keys.text("name")));
    CBIT_TRY(kind.parse(keys, limits_, device));
    CBIT_TRY(names_.devices.add(keys, {device.name, device.kind}));
    if (device.disk_bytes > limits_.bytes - names_.bytes)
      return keys.error("size", fmt::format("the disks have more than {} bytes in all", limits_.bytes),
                        "use smaller disks");
    names_.bytes += device.disk_bytes;
    experiment_.devices.push_back(std::move(device));
    return {};
  }

  [[nodiscard]] OrError<const DeviceKind*> kind_of(const TomlValue& table) const {
    const TomlValue* const kind = table.find("kind");
    if (kind != nullptr && kind->kind != TomlValue::Kind::text)
      return error_at(experiment_.name, kind->place, "the kind of the device is no string",
                      "use kind = \"dma\" or another kind of device");
    const std::string_view name = kind != nullptr ? std::string_view{kind->text} : dma_kind;
    const auto found = std::ranges::find(device_kinds(), name, &DeviceKind::name);
    if (found != device_kinds().end()) return &*found;
    std::vector<std::string_view> known;
    for (const DeviceKind& each : device_kinds()) known.push_back(each.name);
    return error_at(experiment_.name, kind->place, fmt::format("there is no kind of device \"{}\"", name),
                    did_you_mean(name, known));
  }

  OrError<void> load_steps(const TableReader& keys) {
    const auto tables = CBIT_TRY(keys.tables("step"));
    if (tables.empty()) return keys.missing("step", "begin a table: [[step]]");
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
                    did_you_mean(verb.text, known));
  }

  OrError<void> load_causes(const TableReader& keys) {
    experiment_.causes = CBIT_TRY(keys.texts("causes"));
    if (!experiment_.causes) return {};
    experiment_.causes_place = keys.value("causes")->place;
    for (const std::string& name : *experiment_.causes)
      if (watch::find_cause(name) == nullptr)
        return keys.error("causes", fmt::format("there is no cause \"{}\"", name),
                          did_you_mean(name, watch::cause_names(), "docs/causes.md lists them"));
    return {};
  }

  const ExperimentLimits& limits_;
  Experiment experiment_;
  StepParser::Names names_;
};

}  // namespace

OrError<Experiment> load_experiment(std::string_view text, std::string name, const ExperimentLimits& limits) {
  return Loader{name, limits}.load(text);
}

}  // namespace cbit::lab
