// What a device does with the addresses that it was given, and what an experiment may do to its IOMMU
// entries.
#include <fmt/format.h>

#include "base/format.hpp"
#include "lab/experiment/steps.hpp"

namespace cbit::lab {
namespace {

constexpr std::string_view read_keys[] = {"mapping", "offset", "length"};

OrError<Action> parse_device_read(StepParser& step) {
  const std::size_t id = CBIT_TRY(step.mapping());
  const MappingName& name = step.names.mappings[id];
  const Range range = CBIT_TRY(step.free_range(name.bytes));
  return [id, device = name.device, range](Run& run) -> StepResult {
    const Run::Mapping& mapping = *CBIT_TRY(run.made_mapping(id));
    Bytes bytes(range.bytes);
    CBIT_TRY(run.device_read(device, mapping, range, bytes));
    return fmt::format("{} bytes at {}", bytes.size(), Run::locate(mapping, range).front().at);
  };
}

constexpr std::string_view write_keys[] = {"mapping", "data", "offset", "length"};

OrError<Action> parse_device_write(StepParser& step) {
  const std::size_t id = CBIT_TRY(step.mapping());
  const MappingName name = step.names.mappings[id];
  const auto contents = CBIT_TRY(step.contents(name.bytes, testbed::Author::device, true));
  return [=](Run& run) -> StepResult {
    const Bytes data = contents.bytes();
    const Run::Mapping& mapping = *CBIT_TRY(run.made_mapping(id));
    CBIT_TRY(run.device_write(name.device, mapping, name, contents.range, data));
    return fmt::format("{} bytes at {}", data.size(), Run::locate(mapping, contents.range).front().at);
  };
}

constexpr std::string_view copy_keys[] = {"from", "to", "length"};

OrError<Action> parse_device_copy(StepParser& step) {
  const std::size_t from = CBIT_TRY(step.mapping("from"));
  const std::size_t to = CBIT_TRY(step.mapping("to"));
  const std::size_t reader = step.names.mappings[from].device;
  const MappingName target = step.names.mappings[to];
  if (reader != target.device)
    return step.keys.error("to", "the mappings belong to different devices",
                           "one device copies: map both for it");
  const std::uint64_t most = std::min(step.names.mappings[from].bytes, target.bytes);
  const Range range{0, CBIT_TRY(step.keys.number("length", 1, most)).value_or(most)};
  return [=](Run& run) -> StepResult {
    const Run::Mapping& source = *CBIT_TRY(run.made_mapping(from));
    const Run::Mapping& destination = *CBIT_TRY(run.made_mapping(to));
    Bytes bytes(range.bytes);
    CBIT_TRY(run.device_read(reader, source, range, bytes));
    CBIT_TRY(run.device_write(reader, destination, target, range, bytes));
    return fmt::format("{} bytes", bytes.size());
  };
}

constexpr std::string_view set_ioptes_keys[] = {"mapping", "encrypted"};

OrError<Action> parse_set_ioptes(StepParser& step) {
  const std::size_t id = CBIT_TRY(step.mapping());
  const std::size_t device = step.names.mappings[id].device;
  const bool encrypted = CBIT_TRY(step.keys.need("encrypted", step.keys.flag("encrypted")));
  return [=](Run& run) -> StepResult {
    const Run::Mapping& mapping = *CBIT_TRY(run.made_mapping(id));
    iommu::Iommu* const iommu = run.bed().machine().iommu();
    iommu::IommuDomain* const domain =
        iommu != nullptr ? iommu->domain_of(run.device(device).requester) : nullptr;
    if (domain == nullptr || domain->type() != iommu::IommuDomain::Type::translated)
      return trouble_in_step("no IOMMU translates for this device");
    for (const Run::Segment& segment : mapping.segments) {
      const std::uint64_t bytes = align_up(segment.at.page_offset() + segment.bytes, page_size);
      const auto done = domain->set_encrypted(segment.at.page(), bytes, encrypted);
      if (!done) return trouble_in_step(describe(done.error()));
    }
    return fmt::format("{} the C-bit", encrypted ? "set" : "cleared");
  };
}

constexpr std::string_view dma_keys[] = {"device", "iova", "length", "write"};

// What a device is told by a driver that the kernel does not check.
OrError<Action> parse_device_dma(StepParser& step) {
  const std::size_t device = CBIT_TRY(step.device(dma_kind));
  const auto bytes = CBIT_TRY(step.keys.number("length", 1, page_size)).value_or(64);
  const auto iova = CBIT_TRY(step.keys.need("iova", step.keys.number("iova", 0, bit_mask(63))));
  const bool write = CBIT_TRY(step.keys.flag("write")).value_or(false);
  return [=](Run& run) -> StepResult {
    bus::DmaPort& port = run.hardware(device).port();
    Bytes data(bytes, std::byte{0x5a});
    const auto done = write ? port.write(DmaAddr{iova}, data) : port.read(DmaAddr{iova}, data);
    if (!done) return trouble_in_step(describe(done.error()));
    return fmt::format("{} bytes at {:#x}", bytes, iova);
  };
}

constexpr StepKind device_step_kinds[] = {
    {"device-read", read_keys, parse_device_read},     {"device-write", write_keys, parse_device_write},
    {"device-copy", copy_keys, parse_device_copy},     {"device-dma", dma_keys, parse_device_dma},
    {"set-ioptes", set_ioptes_keys, parse_set_ioptes},
};

}  // namespace

std::span<const StepKind> device_steps() { return device_step_kinds; }

}  // namespace cbit::lab
