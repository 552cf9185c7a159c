// The two-step DMA API, dma_iova_*(). The IOVA space is a mapping that grows with each range that is linked.
#include <fmt/format.h>

#include "base/format.hpp"
#include "lab/experiment/devices.hpp"
#include "lab/experiment/steps.hpp"

namespace cbit::lab {
namespace {

// What a mapping step of this file knows at run time.
struct IovaRequest {
  std::size_t id = 0;
  std::size_t device = 0;
  unsigned cpu = 0;
  DmaDirection direction{};
  DmaAttrs attrs;
};

OrError<IovaRequest> parse_iova_space(const StepParser& step) {
  IovaRequest request{.id = CBIT_TRY(step.mapping())};
  const MappingName& name = step.names.mappings[request.id];
  if (name.how != MapHow::iova)
    return step.keys.error("mapping", "the mapping has no IOVA space of its own", "iova-alloc makes one");
  request.device = name.device;
  request.cpu = CBIT_TRY(step.cpu());
  return request;
}

OrError<IovaRequest> parse_iova_request(const StepParser& step) {
  IovaRequest request = CBIT_TRY(parse_iova_space(step));
  const MappingName& name = step.names.mappings[request.id];
  request.direction = CBIT_TRY(step.direction(name.direction));
  request.attrs = CBIT_TRY(step.attrs(name.attrs));
  return request;
}

Result<Run::Mapping*, StepTrouble> iova_space(Run& run, const IovaRequest& request) {
  Run::Mapping& mapping = run.mapping(request.id);
  if (mapping.iova.bytes == 0) return trouble_in_step("there is no IOVA space");
  return &mapping;
}

// ---- dma_iova_try_alloc ----------------------------------------------------------------------------------

constexpr std::string_view iova_alloc_keys[] = {"name",   "size",      "device", "buffer",
                                                "offset", "direction", "cpu"};

OrError<Action> parse_iova_alloc(StepParser& step) {
  MappingName name;
  name.name = CBIT_TRY(step.keys.need("name", step.keys.text("name")));
  name.device = CBIT_TRY(step.device(dma_kind));
  name.how = MapHow::iova;
  name.direction = CBIT_TRY(step.direction(DmaDirection::to_device));
  const std::uint64_t bytes =
      CBIT_TRY(step.keys.need("size", step.keys.number("size", 1, step.limits.bytes)));
  const std::size_t buffer = CBIT_TRY(step.buffer());
  const auto offset = CBIT_TRY(step.keys.number("offset", 0, step.names.buffers[buffer].bytes)).value_or(0);
  IovaRequest request{.device = name.device, .cpu = CBIT_TRY(step.cpu())};
  request.id = CBIT_TRY(step.names.mappings.add(step.keys, name));
  return [=](Run& run) -> StepResult {
    const Run::Buffer& first = *CBIT_TRY(run.live_buffer(buffer));
    Run::Mapping& mapping = run.mapping(request.id);
    mapping = {};
    if (!run.dma().iova_try_alloc(run.kernel().cpu(request.cpu), run.device(request.device), mapping.iova,
                                  first.phys(offset), bytes))
      return trouble_in_step("false: the driver has to map range by range");
    return fmt::format("{} bytes at {}", bytes, mapping.iova.addr);
  };
}

// ---- dma_iova_link ---------------------------------------------------------------------------------------

struct IovaLink {
  IovaRequest iova;
  Part part;
  std::uint64_t at = 0;  // in the IOVA space
};

StepResult link_range(Run& run, const IovaLink& request) {
  Run::Mapping& mapping = *CBIT_TRY(iova_space(run, request.iova));
  const Run::Buffer& buffer = *CBIT_TRY(run.live_buffer(request.part.buffer));
  paging::Mmu& cpu = run.kernel().cpu(request.iova.cpu);
  const paging::SiteScope driver{cpu, run.bed().tracer().intern("driver")};
  const Range range = request.part.range;
  const auto done =
      run.dma().iova_link(cpu, run.device(request.iova.device), mapping.iova, buffer.phys(range.offset),
                          request.at, range.bytes, request.iova.direction, request.iova.attrs);
  if (!done) {
    StepTrouble why = run.mapping_trouble();
    why.reason = fmt::format("{}, {}", kernel::errno_name(done.error()), why.reason);
    return tl::unexpected{std::move(why)};
  }
  mapping.made = true;
  mapping.segments.push_back({mapping.iova.addr + request.at, range.bytes});
  mapping.bounces.emplace_back();
  for (const SwiotlbAllocated& taken : run.happened().slots) {
    mapping.slots += taken.slots;
    if (!mapping.first_slot) mapping.first_slot = taken.slot;
    if (taken.orig == buffer.phys(range.offset)) mapping.bounces.back() = taken.bounce;
  }
  if (run.happened().mapped) {
    mapping.path = run.happened().mapped->path;
    mapping.encrypted = run.happened().mapped->encrypted;
  }
  return fmt::format("{} bytes at {}{}", range.bytes, mapping.segments.back().at,
                     mapping.iova.swiotlb ? ", some of them bounced" : "");
}

constexpr std::string_view iova_link_keys[] = {"mapping", "buffer",    "offset", "length",
                                               "at",      "direction", "attrs",  "cpu"};

OrError<Action> parse_iova_link(StepParser& step) {
  IovaLink request{.iova = CBIT_TRY(parse_iova_request(step))};
  MappingName& name = step.names.mappings[request.iova.id];
  request.part = CBIT_TRY(contiguous_part(step));
  request.at = CBIT_TRY(step.keys.number("at", 0, step.limits.bytes)).value_or(name.bytes);
  name.bytes += request.part.range.bytes;
  if (name.bytes > step.limits.bytes)
    return step.keys.error("length", fmt::format("more than {} bytes are linked", step.limits.bytes),
                           "link fewer");
  name.parts.push_back(request.part);
  return [request](Run& run) { return link_range(run, request); };
}

// ---- the rest --------------------------------------------------------------------------------------------

constexpr std::string_view iova_sync_keys[] = {"mapping", "cpu"};

OrError<Action> parse_iova_sync(StepParser& step) {
  const IovaRequest request = CBIT_TRY(parse_iova_space(step));
  return [=](Run& run) -> StepResult {
    const Run::Mapping& mapping = *CBIT_TRY(iova_space(run, request));
    const auto done = run.dma().iova_sync(run.kernel().cpu(request.cpu), run.device(request.device),
                                          mapping.iova, 0, mapping.iova.bytes);
    if (!done) return trouble_in_step(std::string{kernel::errno_name(done.error())});
    return fmt::format("{} bytes at {}", mapping.iova.bytes, mapping.iova.addr);
  };
}

constexpr std::string_view iova_unlink_keys[] = {"mapping", "at", "length", "direction", "attrs", "cpu"};

OrError<Action> parse_iova_unlink(StepParser& step) {
  const IovaRequest request = CBIT_TRY(parse_iova_request(step));
  const auto at = CBIT_TRY(step.keys.number("at", 0, step.limits.bytes)).value_or(0);
  const auto bytes = CBIT_TRY(step.keys.need("length", step.keys.number("length", 1, step.limits.bytes)));
  return [=](Run& run) -> StepResult {
    Run::Mapping& mapping = *CBIT_TRY(iova_space(run, request));
    run.dma().iova_unlink(run.kernel().cpu(request.cpu), run.device(request.device), mapping.iova, at, bytes,
                          request.direction, request.attrs);
    return fmt::format("{} bytes at {}", bytes, mapping.iova.addr + at);
  };
}

constexpr std::string_view iova_destroy_keys[] = {"mapping", "length", "direction", "attrs", "cpu"};

OrError<Action> parse_iova_destroy(StepParser& step) {
  const IovaRequest request = CBIT_TRY(parse_iova_request(step));
  const auto bytes = CBIT_TRY(step.keys.number("length", 0, step.limits.bytes))
                         .value_or(step.names.mappings[request.id].bytes);
  return [=](Run& run) -> StepResult {
    Run::Mapping& mapping = *CBIT_TRY(iova_space(run, request));
    const DmaAddr at = mapping.iova.addr;
    run.dma().iova_destroy(run.kernel().cpu(request.cpu), run.device(request.device), mapping.iova, bytes,
                           request.direction, request.attrs);
    mapping.ended = true;
    return fmt::format("{} bytes at {}", bytes, at);
  };
}

constexpr StepKind iova_step_kinds[] = {
    {"iova-alloc", iova_alloc_keys, parse_iova_alloc},
    {"iova-link", iova_link_keys, parse_iova_link},
    {"iova-sync", iova_sync_keys, parse_iova_sync},
    {"iova-unlink", iova_unlink_keys, parse_iova_unlink},
    {"iova-destroy", iova_destroy_keys, parse_iova_destroy},
};

}  // namespace

std::span<const StepKind> iova_steps() { return iova_step_kinds; }

}  // namespace cbit::lab
