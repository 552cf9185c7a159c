// The DMA API as a driver calls it.
#include <fmt/format.h>

#include <algorithm>

#include "base/format.hpp"
#include "lab/experiment/devices.hpp"
#include "lab/experiment/steps.hpp"
#include "watch/event_names.hpp"

namespace cbit::lab {
namespace {

// ---- map --------------------------------------------------------------------------------------------------

struct MapRequest {
  std::size_t id = 0;
  unsigned cpu = 0;
  bool p2pdma = false;
  bool check = true;  // the driver calls dma_mapping_error()
};

// Where each part was bounced to, by the address of the original. A virtio-iommu bounces its requests
// meanwhile.
void note_bounces(Run& run, const MappingName& name, Run::Mapping& mapping) {
  std::vector<SwiotlbAllocated> slots = run.happened().slots;
  std::erase_if(slots,
                [&](const SwiotlbAllocated& s) { return s.device != run.device(name.device).name_id; });
  for (const SwiotlbAllocated& taken : slots) mapping.slots += taken.slots;
  if (!slots.empty()) mapping.first_slot = slots.front().slot;
  for (const Part& part : name.parts) {
    const PhysAddr orig = run.buffer(part.buffer).phys(part.range.offset);
    const auto found = std::ranges::find(slots, orig, &SwiotlbAllocated::orig);
    mapping.bounces.push_back(found == slots.end() ? std::nullopt : std::optional{found->bounce});
  }
}

StepResult note_mapping(Run& run, const MappingName& name, Run::Mapping& mapping) {
  mapping.made = true;
  note_bounces(run, name, mapping);
  if (mapping.segments.empty()) mapping.segments = {{dma_mapping_error, name.bytes}};
  if (mapping.segments.front().at == dma_mapping_error) return tl::unexpected{run.mapping_trouble()};
  if (run.happened().mapped) {
    mapping.path = run.happened().mapped->path;
    mapping.encrypted = run.happened().mapped->encrypted;
  }
  std::string text = fmt::format("{}, {}", mapping.segments.front().at, to_string(mapping.path));
  if (mapping.segments.size() > 1) text += fmt::format(", {} segments", mapping.segments.size());
  if (mapping.first_slot) text += fmt::format(", {} slots from {}", mapping.slots, *mapping.first_slot);
  return text;
}

StepResult map_sg(Run& run, const MappingName& name, Run::Mapping& mapping, unsigned cpu) {
  const auto mapped = run.dma().map_sgtable(run.kernel().cpu(cpu), run.device(name.device), mapping.sg,
                                            name.direction, name.attrs);
  if (!mapped) {
    mapping.made = true;
    mapping.bounces.resize(name.parts.size());
    mapping.segments = {{dma_mapping_error, name.bytes}};
    StepTrouble why = run.mapping_trouble();
    why.reason = fmt::format("{}, {}", kernel::errno_name(mapped.error()), why.reason);
    return tl::unexpected{std::move(why)};
  }
  for (std::size_t i = 0; i < *mapped; ++i)
    mapping.segments.push_back({mapping.sg[i].dma, mapping.sg[i].dma_length});
  return note_mapping(run, name, mapping);
}

DmaAddr map_one(Run& run, const MappingName& name, const Run::Buffer& buffer, const MapRequest& request) {
  paging::Mmu& cpu = run.kernel().cpu(request.cpu);
  kernel::Device& dev = run.device(name.device);
  const Range range = name.parts.front().range;
  const PhysAddr phys = buffer.phys(range.offset);
  switch (name.how) {
    case MapHow::single:
      return run.dma().map_single(cpu, dev, buffer.at + range.offset, range.bytes, name.direction,
                                  name.attrs);
    case MapHow::page:
      return run.dma().map_page(cpu, dev, phys, range.bytes, name.direction, name.attrs, request.p2pdma);
    case MapHow::resource:
      return run.dma().map_resource(cpu, dev, phys, range.bytes, name.direction, name.attrs);
    case MapHow::raw_encrypted: return run.bed().machine().paging().view.layout.join_dma(phys, 1);
    case MapHow::raw_phys:
    case MapHow::sg:
    case MapHow::region:
    case MapHow::pages:
    case MapHow::iova:
    case MapHow::coherent: break;
  }
  return DmaAddr{phys.value()};
}

StepResult map(Run& run, const MappingName& name, const MapRequest& request) {
  Run::Mapping& mapping = run.mapping(request.id);
  mapping = {};
  for (const Part& part : name.parts) {
    const Run::Buffer& buffer = *CBIT_TRY(run.live_buffer(part.buffer));
    mapping.sg.push_back(
        {.phys = buffer.phys(part.range.offset), .length = part.range.bytes, .p2pdma = request.p2pdma});
  }
  const paging::SiteScope driver{run.kernel().cpu(request.cpu), run.bed().tracer().intern("driver")};
  if (name.how == MapHow::sg) return map_sg(run, name, mapping, request.cpu);

  const DmaAddr dma = map_one(run, name, run.buffer(name.parts.front().buffer), request);
  const bool raw = name.how == MapHow::raw_phys || name.how == MapHow::raw_encrypted;
  if (raw) {
    mapping.path = DmaPath::direct;
    mapping.encrypted = name.how == MapHow::raw_encrypted && run.kernel().cc().dma_encryption_mask() != 0;
  } else if (request.check) {
    (void)run.dma().mapping_error(run.device(name.device), dma);  // the outcome is judged below
  }
  mapping.segments = {{dma, name.bytes}};
  return note_mapping(run, name, mapping);
}

OrError<std::vector<Part>> parse_segments(const StepParser& step) {
  static constexpr std::string_view keys[] = {"buffer", "offset", "length"};
  std::vector<Part> parts;
  std::uint64_t total = 0;
  for (const TomlValue* table : CBIT_TRY(step.keys.tables("segments"))) {
    const TableReader reader = CBIT_TRY(TableReader::create(*table, step.keys.file(), "segment", keys));
    const StepParser segment{reader, step.names, step.experiment, step.limits};
    const std::size_t buffer = CBIT_TRY(segment.buffer());
    parts.push_back({buffer, CBIT_TRY(segment.range(step.names.buffers[buffer].bytes))});
    // A buffer may come many times, and who looks at the mapping sees all of them.
    total += parts.back().range.bytes;
    if (total > step.limits.bytes)
      return step.keys.error("segments",
                             fmt::format("the segments have more than {} bytes in all", step.limits.bytes),
                             "use fewer");
  }
  if (parts.empty()) return step.keys.missing("segments");
  return parts;
}

OrError<std::vector<Part>> parse_parts(const StepParser& step, MapHow how) {
  if (how == MapHow::sg) {
    for (const std::string_view key : {"buffer", "offset", "length"})
      if (step.keys.has(key))
        return step.keys.error(key, fmt::format("\"{}\" contradicts how = \"sg\"", key),
                               "give it in \"segments\"");
    return parse_segments(step);
  }
  if (step.keys.has("segments"))
    return step.keys.error("segments", "\"segments\" are for scatterlists",
                           "add how = \"sg\", or name a \"buffer\"");
  const Part part = CBIT_TRY(contiguous_part(step));
  if (how == MapHow::single && step.names.buffers[part.buffer].kind == BufferKind::bar)
    return step.keys.error("buffer", "a BAR has no address in the direct map",
                           "use how = \"resource\", or how = \"page\" with p2pdma = true");
  return std::vector{part};
}

constexpr std::string_view map_keys[] = {"name",   "buffer", "segments", "device", "how",   "direction",
                                         "offset", "length", "attrs",    "p2pdma", "check", "cpu"};

OrError<Action> parse_map(StepParser& step) {
  MappingName name;
  name.name = CBIT_TRY(step.keys.need("name", step.keys.text("name")));
  name.device = CBIT_TRY(step.device(dma_kind));
  name.how = CBIT_TRY(step.keys.word("how", map_how_words)).value_or(MapHow::single);
  name.parts = CBIT_TRY(parse_parts(step, name.how));
  for (const Part& part : name.parts) name.bytes += part.range.bytes;
  name.direction = CBIT_TRY(step.direction(DmaDirection::to_device));
  name.attrs = CBIT_TRY(step.attrs());

  MapRequest request;
  request.cpu = CBIT_TRY(step.cpu());
  request.p2pdma = CBIT_TRY(step.keys.flag("p2pdma")).value_or(false);
  request.check = CBIT_TRY(step.keys.flag("check")).value_or(true);
  if (request.p2pdma && name.how != MapHow::page && name.how != MapHow::sg)
    return step.keys.error("p2pdma", "P2PDMA memory has pages", "use how = \"page\" or \"sg\"");
  request.id = CBIT_TRY(step.names.mappings.add(step.keys, name));
  return [name, request](Run& run) { return map(run, name, request); };
}

// ---- unmap -----------------------------------------------------------------------------------------------

struct UnmapRequest {
  std::size_t id = 0;
  unsigned cpu = 0;
  MappingName name;  // as it was mapped
  MapHow how{};      // as it is unmapped, and so on
  std::uint64_t bytes = 0;
  DmaDirection direction{};
  DmaAttrs attrs;
};

StepResult unmap(Run& run, const UnmapRequest& request) {
  Run::Mapping& mapping = *CBIT_TRY(run.made_mapping(request.id));
  paging::Mmu& cpu = run.kernel().cpu(request.cpu);
  kernel::Device& dev = run.device(request.name.device);
  const DmaAddr dma = mapping.segments.front().at;
  const paging::SiteScope driver{cpu, run.bed().tracer().intern("driver")};
  switch (request.how) {
    case MapHow::single:
      run.dma().unmap_single(cpu, dev, dma, request.bytes, request.direction, request.attrs);
      break;
    case MapHow::page:
      run.dma().unmap_page(cpu, dev, dma, request.bytes, request.direction, request.attrs);
      break;
    case MapHow::sg: run.dma().unmap_sg(cpu, dev, mapping.sg, request.direction, request.attrs); break;
    case MapHow::resource:
      run.dma().unmap_resource(cpu, dev, dma, request.bytes, request.direction, request.attrs);
      break;
    case MapHow::raw_phys:
    case MapHow::raw_encrypted:
    case MapHow::region:
    case MapHow::pages:
    case MapHow::iova:
    case MapHow::coherent: break;
  }
  mapping.ended = true;
  return fmt::format("{}", dma);
}

bool is_api_mapping(MapHow how) {
  return how == MapHow::single || how == MapHow::page || how == MapHow::sg || how == MapHow::resource;
}

OrError<std::size_t> api_mapping(const StepParser& step) {
  const std::size_t id = CBIT_TRY(step.mapping());
  const MapHow how = step.names.mappings[id].how;
  if (is_api_mapping(how)) return id;
  return step.keys.error("mapping", "the mapping was not made by dma_map_*()",
                         how == MapHow::region  ? "dereg-mr ends a memory region"
                         : how == MapHow::pages ? "free-pages ends it"
                         : how == MapHow::iova  ? "iova-destroy ends it"
                         : how == MapHow::coherent
                             ? "coherent memory needs no sync, and free-coherent ends it"
                             : "the DMA API knows nothing of a raw address");
}

constexpr std::string_view unmap_keys[] = {"mapping", "how", "length", "direction", "attrs", "cpu"};

OrError<Action> parse_unmap(StepParser& step) {
  UnmapRequest request;
  request.id = CBIT_TRY(api_mapping(step));
  request.cpu = CBIT_TRY(step.cpu());
  request.name = step.names.mappings[request.id];
  request.how = CBIT_TRY(step.keys.word("how", map_how_words)).value_or(request.name.how);
  if (!is_api_mapping(request.how))
    return step.keys.error("how", "there is no such dma_unmap_*()", "use single, page, sg or resource");
  request.bytes = CBIT_TRY(step.keys.number("length", 1, step.limits.bytes)).value_or(request.name.bytes);
  request.direction = CBIT_TRY(step.direction(request.name.direction));
  request.attrs = CBIT_TRY(step.attrs(request.name.attrs));
  return [request](Run& run) { return unmap(run, request); };
}

// ---- sync -------------------------------------------------------------------------------------------------

constexpr std::string_view sync_keys[] = {"mapping", "offset", "length", "direction", "cpu"};

OrError<Action> parse_sync(StepParser& step, bool for_cpu) {
  const std::size_t id = CBIT_TRY(api_mapping(step));
  const MappingName& name = step.names.mappings[id];
  const std::size_t device = name.device;
  const bool is_sg = name.how == MapHow::sg;
  const unsigned cpu = CBIT_TRY(step.cpu());
  const DmaDirection direction = CBIT_TRY(step.direction(name.direction));
  const Range range = CBIT_TRY(step.free_range(name.bytes));
  if (is_sg && (step.keys.has("offset") || step.keys.has("length")))
    return step.keys.error("offset", "a scatterlist is synced as a whole", "drop \"offset\" and \"length\"");
  return [=](Run& run) -> StepResult {
    Run::Mapping& mapping = *CBIT_TRY(run.made_mapping(id));
    paging::Mmu& mmu = run.kernel().cpu(cpu);
    kernel::Device& dev = run.device(device);
    const paging::SiteScope driver{mmu, run.bed().tracer().intern("driver")};
    const DmaAddr at = mapping.segments.front().at + range.offset;
    if (is_sg && for_cpu) run.dma().sync_sg_for_cpu(mmu, dev, mapping.sg, direction);
    if (is_sg && !for_cpu) run.dma().sync_sg_for_device(mmu, dev, mapping.sg, direction);
    if (!is_sg && for_cpu) run.dma().sync_single_for_cpu(mmu, dev, at, range.bytes, direction);
    if (!is_sg && !for_cpu) run.dma().sync_single_for_device(mmu, dev, at, range.bytes, direction);
    return fmt::format("{} bytes at {}", range.bytes, at);
  };
}

OrError<Action> parse_sync_for_cpu(StepParser& step) { return parse_sync(step, true); }
OrError<Action> parse_sync_for_device(StepParser& step) { return parse_sync(step, false); }

// ---- coherent memory -------------------------------------------------------------------------------------

// Memory that the DMA API gives: a buffer and its mapping in one.
struct MemoryRequest {
  std::size_t buffer = 0;
  std::size_t mapping = 0;
  MappingName name;
  unsigned cpu = 0;
  bool atomic = false;
};

// Later steps find both by the step's name.
OrError<void> name_memory(StepParser& step, BufferKind kind, MemoryRequest& request) {
  MappingName& name = request.name;
  request.buffer = CBIT_TRY(step.new_buffer(kind, name.bytes));
  name.name = step.names.buffers[request.buffer].name;
  name.parts = {{request.buffer, {0, name.bytes}}};
  request.mapping = CBIT_TRY(step.names.mappings.add(step.keys, name));
  return {};
}

StepResult alloc_coherent(Run& run, const MemoryRequest& request) {
  paging::Mmu& cpu = run.kernel().cpu(request.cpu);
  const paging::SiteScope driver{cpu, run.bed().tracer().intern("driver")};
  const auto made = run.dma().alloc(cpu, run.device(request.name.device), request.name.bytes, request.atomic,
                                    request.name.attrs);
  if (!made) {
    StepTrouble why = run.mapping_trouble();
    why.reason = "NULL, " + why.reason;
    return tl::unexpected{std::move(why)};
  }
  Run::Buffer& buffer = run.buffer(request.buffer);
  buffer.coherent = *made;
  Run::Mapping& mapping = run.mapping(request.mapping);
  mapping.segments = {{made->dma, request.name.bytes}};
  // With NO_KERNEL_MAPPING the address is a cookie that leads nowhere.
  CBIT_TRY(run.adopt(buffer, cpu, made->cpu, request.name.bytes));
  return note_mapping(run, request.name, mapping);
}

constexpr std::string_view alloc_coherent_keys[] = {"name", "size", "device", "atomic", "attrs", "cpu"};

OrError<Action> parse_alloc_coherent(StepParser& step) {
  MemoryRequest request;
  MappingName& name = request.name;
  name.bytes = CBIT_TRY(step.keys.need("size", step.keys.number("size", 1, step.limits.bytes)));
  name.device = CBIT_TRY(step.device(dma_kind));
  name.how = MapHow::coherent;
  name.attrs = CBIT_TRY(step.attrs());
  request.atomic = CBIT_TRY(step.keys.flag("atomic")).value_or(false);
  request.cpu = CBIT_TRY(step.cpu());
  CBIT_TRY(name_memory(step, BufferKind::coherent, request));
  return [request](Run& run) { return alloc_coherent(run, request); };
}

OrError<std::size_t> coherent_buffer(const StepParser& step) {
  const std::size_t id = CBIT_TRY(step.buffer());
  if (step.names.buffers[id].kind == BufferKind::coherent) return id;
  return step.keys.error("buffer", fmt::format("\"{}\" is no coherent memory", step.names.buffers[id].name),
                         "name a buffer of alloc-coherent");
}

// Memory that the DMA API allocated is a mapping of the same name.
const MappingName& mapping_of(const StepParser& step, std::size_t buffer) {
  return step.names.mappings[*step.names.mappings.find(step.names.buffers[buffer].name)];
}

constexpr std::string_view free_coherent_keys[] = {"buffer", "attrs", "cpu"};

OrError<Action> parse_free_coherent(StepParser& step) {
  const std::size_t id = CBIT_TRY(coherent_buffer(step));
  const MappingName& name = mapping_of(step, id);
  const std::size_t device = name.device;
  const unsigned cpu = CBIT_TRY(step.cpu());
  const DmaAttrs attrs = CBIT_TRY(step.attrs(name.attrs));
  return [=](Run& run) -> StepResult {
    Run::Buffer& buffer = run.buffer(id);
    if (buffer.coherent.bytes == 0) return trouble_in_step("the buffer was never allocated");
    buffer.exists = false;
    run.dma().free(run.kernel().cpu(cpu), run.device(device), buffer.coherent, attrs);
    return fmt::format("{} bytes at {}", buffer.coherent.bytes, buffer.coherent.dma);
  };
}

constexpr std::string_view mmap_coherent_keys[] = {"name", "buffer"};

OrError<Action> parse_mmap_coherent(StepParser& step) {
  const std::size_t id = CBIT_TRY(coherent_buffer(step));
  const std::size_t device = mapping_of(step, id).device;
  const std::string name = CBIT_TRY(step.keys.need("name", step.keys.text("name")));
  const std::size_t window = CBIT_TRY(step.names.windows.add(step.keys, {name, id}));
  return [=](Run& run) -> StepResult {
    const Run::Buffer& buffer = *CBIT_TRY(run.live_buffer(id));
    auto user = run.mm().create_user_space();
    if (!user) return trouble_in_step(describe(user.error()));
    const auto at = run.dma().mmap(run.device(device), **user, buffer.coherent);
    if (!at) return trouble_in_step(std::string{kernel::errno_name(at.error())});
    run.window(window) = {*at, std::move(*user)};
    return fmt::format("{}", *at);
  };
}

// ---- dma_alloc_pages -------------------------------------------------------------------------------------

struct PagesRequest : MemoryRequest {
  bool check = true;
};

// The driver reaches the pages by page_address(), and who looks knows them even where that leads nowhere.
void adopt_pages(Run& run, Run::Buffer& buffer, paging::Mmu& cpu) {
  const VirtAddr at = run.mm().page_address(buffer.pages.page);
  if (run.adopt(buffer, cpu, at, buffer.pages.bytes)) return;
  const PhysAddr first = run.happened().mapped ? run.happened().mapped->phys : PhysAddr{};
  buffer.first_offset = 0;
  for (std::uint64_t done = 0; done < buffer.pages.bytes; done += page_size)
    buffer.frames.push_back(first + done);
  run.begin_shadow(buffer, buffer.pages.bytes);
}

StepResult alloc_pages(Run& run, const PagesRequest& request) {
  paging::Mmu& cpu = run.kernel().cpu(request.cpu);
  kernel::Device& dev = run.device(request.name.device);
  const paging::SiteScope driver{cpu, run.bed().tracer().intern("driver")};
  const auto made =
      run.dma().alloc_pages(cpu, dev, request.name.bytes, request.name.direction, request.atomic);
  if (!made) {
    StepTrouble why = run.mapping_trouble();
    why.reason = "NULL, " + why.reason;
    return tl::unexpected{std::move(why)};
  }
  if (request.check) (void)run.dma().mapping_error(dev, made->dma);
  Run::Buffer& buffer = run.buffer(request.buffer);
  buffer.pages = *made;
  Run::Mapping& mapping = run.mapping(request.mapping);
  mapping.segments = {{made->dma, request.name.bytes}};
  adopt_pages(run, buffer, cpu);
  const std::string text = CBIT_TRY(note_mapping(run, request.name, mapping));
  return fmt::format("{}, page {}", text, made->page);
}

constexpr std::string_view alloc_pages_keys[] = {"name",   "size",  "device", "direction",
                                                 "atomic", "check", "cpu"};

OrError<Action> parse_alloc_pages(StepParser& step) {
  PagesRequest request;
  MappingName& name = request.name;
  const auto size = CBIT_TRY(step.keys.need("size", step.keys.number("size", 1, step.limits.bytes)));
  name.bytes = align_up(size, page_size);
  name.device = CBIT_TRY(step.device(dma_kind));
  name.how = MapHow::pages;
  name.direction = CBIT_TRY(step.direction(DmaDirection::bidirectional));
  request.atomic = CBIT_TRY(step.keys.flag("atomic")).value_or(false);
  request.check = CBIT_TRY(step.keys.flag("check")).value_or(true);
  request.cpu = CBIT_TRY(step.cpu());
  CBIT_TRY(name_memory(step, BufferKind::dma_pages, request));
  return [request](Run& run) { return alloc_pages(run, request); };
}

constexpr std::string_view free_pages_keys[] = {"buffer", "direction", "cpu"};

OrError<Action> parse_free_pages(StepParser& step) {
  const std::size_t id = CBIT_TRY(step.buffer());
  if (step.names.buffers[id].kind != BufferKind::dma_pages)
    return step.keys.error("buffer", fmt::format("\"{}\" is none", step.names.buffers[id].name),
                           "name a buffer of alloc-pages");
  const MappingName& name = mapping_of(step, id);
  const std::size_t device = name.device;
  const DmaDirection direction = CBIT_TRY(step.direction(name.direction));
  const unsigned cpu = CBIT_TRY(step.cpu());
  return [=](Run& run) -> StepResult {
    Run::Buffer& buffer = run.buffer(id);
    if (buffer.pages.bytes == 0) return trouble_in_step("the buffer was never allocated");
    buffer.exists = false;
    paging::Mmu& mmu = run.kernel().cpu(cpu);
    const paging::SiteScope driver{mmu, run.bed().tracer().intern("driver")};
    run.dma().free_pages(mmu, run.device(device), buffer.pages, direction);
    return fmt::format("{} bytes at {}", buffer.pages.bytes, buffer.pages.dma);
  };
}

// ---- the rest --------------------------------------------------------------------------------------------

constexpr std::string_view release_keys[] = {"device"};

OrError<Action> parse_release(StepParser& step) {
  const std::size_t device = CBIT_TRY(step.device(dma_kind));
  return [device](Run& run) -> StepResult {
    run.leaked_mappings = run.dma().release(run.device(device));
    return fmt::format("{} mappings leaked", run.leaked_mappings);
  };
}

constexpr std::string_view run_worker_keys[] = {"cpu"};

OrError<Action> parse_run_worker(StepParser& step) {
  const unsigned cpu = CBIT_TRY(step.cpu());
  return [cpu](Run& run) -> StepResult {
    return std::string{run.dma().run_workers(run.kernel().cpu(cpu)) ? "a pool grew" : "nothing to do"};
  };
}

constexpr std::string_view wait_keys[] = {"us"};

OrError<Action> parse_wait(StepParser& step) {
  const std::uint64_t us = CBIT_TRY(step.keys.need("us", step.keys.number("us", 1, 1'000'000)));
  return [us](Run& run) -> StepResult {
    run.bed().machine().clock().advance(us * 1000);
    return fmt::format("{} us pass", us);
  };
}

constexpr StepKind dma_step_kinds[] = {
    {"map", map_keys, parse_map},
    {"unmap", unmap_keys, parse_unmap},
    {"sync-for-cpu", sync_keys, parse_sync_for_cpu},
    {"sync-for-device", sync_keys, parse_sync_for_device},
    {"alloc-coherent", alloc_coherent_keys, parse_alloc_coherent},
    {"free-coherent", free_coherent_keys, parse_free_coherent},
    {"mmap-coherent", mmap_coherent_keys, parse_mmap_coherent},
    {"alloc-pages", alloc_pages_keys, parse_alloc_pages},
    {"free-pages", free_pages_keys, parse_free_pages},
    {"release", release_keys, parse_release},
    {"run-worker", run_worker_keys, parse_run_worker},
    {"wait", wait_keys, parse_wait},
};

}  // namespace

std::span<const StepKind> dma_steps() { return dma_step_kinds; }

OrError<Part> contiguous_part(const StepParser& step) {
  const std::size_t buffer = CBIT_TRY(step.buffer());
  const Range range = CBIT_TRY(step.range(step.names.buffers[buffer].bytes));
  if (step.names.buffers[buffer].kind == BufferKind::area &&
      range.offset % page_size + range.bytes > page_size)
    return step.keys.error("buffer", "the pages of a process' memory are not contiguous",
                           "map them one by one, or with how = \"sg\" and a segment for each");
  return Part{buffer, range};
}

}  // namespace cbit::lab
