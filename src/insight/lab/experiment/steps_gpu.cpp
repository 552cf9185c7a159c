// Buffer objects of TTM, every way to map them, and what the GPU does with them.
#include <fmt/format.h>

#include <algorithm>

#include "base/format.hpp"
#include "lab/experiment/devices.hpp"
#include "lab/experiment/gpu_part.hpp"
#include "lab/experiment/steps.hpp"
#include "watch/event_names.hpp"

namespace cbit::lab {
namespace {

constexpr Word<paging::PageCaching> caching_words[] = {
    {"cached", paging::PageCaching::write_back},
    {"write-combined", paging::PageCaching::write_combined},
    {"uncached", paging::PageCaching::uncached}};

tl::unexpected<StepTrouble> trouble_of(kernel::Errno error) {
  return trouble_in_step(std::string{kernel::errno_name(error)});
}

OrError<std::size_t> parse_bo(const StepParser& step, std::string_view key = "bo") {
  const std::size_t id = CBIT_TRY(step.buffer(key));
  if (step.names.buffers[id].kind == BufferKind::bo) return id;
  return step.keys.error(key, fmt::format("\"{}\" is no buffer object", step.names.buffers[id].name),
                         "name a buffer of bo-create");
}

// ---- objects ----------------------------------------------------------------------------------------------

constexpr std::string_view create_keys[] = {"name", "size", "device", "placement", "caching", "zero", "cpu"};

OrError<Action> parse_create(StepParser& step) {
  kernel::TtmDevice::BoRequest request;
  request.bytes = CBIT_TRY(step.keys.need("size", step.keys.number("size", 1, step.limits.bytes)));
  request.placement = CBIT_TRY(step.keys.word("placement", ttm_placement_words)).value_or(TtmPlacement::tt);
  request.caching =
      CBIT_TRY(step.keys.word("caching", caching_words)).value_or(paging::PageCaching::write_back);
  request.zero_alloc = CBIT_TRY(step.keys.flag("zero")).value_or(true);
  const std::size_t device = CBIT_TRY(step.device(gpu_kind));
  const unsigned cpu = CBIT_TRY(step.cpu());
  const std::size_t id = CBIT_TRY(step.new_buffer(BufferKind::bo, request.bytes));
  return [=](Run& run) -> StepResult {
    GpuPart& part = run.part<GpuPart>();
    paging::Mmu& mmu = run.kernel().cpu(cpu);
    const paging::SiteScope driver{mmu, run.bed().tracer().intern("driver")};
    const auto made = part.driver(device).ttm().bo_init(mmu, request);
    if (!made) return trouble_of(made.error());
    part.add(id, device, **made);
    run.begin_shadow(run.buffer(id), request.bytes);
    part.refresh(run, id);
    return fmt::format("{} pages in {}", (*made)->pages, to_string((*made)->placement));
  };
}

constexpr std::string_view bo_keys[] = {"bo", "cpu"};

OrError<Action> parse_bo_free(StepParser& step) {
  const std::size_t id = CBIT_TRY(parse_bo(step));
  return [id](Run& run) -> StepResult {
    GpuPart& part = run.part<GpuPart>();
    const GpuPart::Object& object = *CBIT_TRY(part.object(id));
    if (object.bo->pin_count != 0 || !object.bo->vmas.empty())
      return trouble_in_step("the object is still mapped: close its windows first");
    const std::uint64_t pages = object.bo->pages;
    part.put(run, id);
    return fmt::format("{} pages", pages);
  };
}

OrError<Action> parse_populate(StepParser& step) {
  const std::size_t id = CBIT_TRY(parse_bo(step));
  const unsigned cpu = CBIT_TRY(step.cpu());
  return [=](Run& run) -> StepResult {
    GpuPart& part = run.part<GpuPart>();
    const GpuPart::Object& object = *CBIT_TRY(part.object(id));
    const bool swapped = object.bo->tt.swapped();
    const auto done = part.driver(object.device).ttm().tt_populate(run.kernel().cpu(cpu), *object.bo);
    if (!done) return trouble_of(done.error());
    part.refresh(run, id);
    return std::string{swapped ? "swapped in" : "has its pages"};
  };
}

OrError<Action> parse_swapout(StepParser& step) {
  const std::size_t id = CBIT_TRY(parse_bo(step));
  const unsigned cpu = CBIT_TRY(step.cpu());
  return [=](Run& run) -> StepResult {
    GpuPart& part = run.part<GpuPart>();
    const GpuPart::Object& object = *CBIT_TRY(part.object(id));
    const auto pages = part.driver(object.device).ttm().swapout(run.kernel().cpu(cpu), *object.bo);
    if (!pages) return trouble_of(pages.error());
    part.refresh(run, id);
    return fmt::format("{} pages", *pages);
  };
}

enum class MoveHow : std::uint8_t { gpu, memcpy };
constexpr Word<MoveHow> move_words[] = {{"gpu", MoveHow::gpu}, {"memcpy", MoveHow::memcpy}};

constexpr std::string_view move_keys[] = {"bo", "to", "how", "cpu"};

OrError<Action> parse_bo_move(StepParser& step) {
  const std::size_t id = CBIT_TRY(parse_bo(step));
  const TtmPlacement to = CBIT_TRY(step.keys.need("to", step.keys.word("to", ttm_placement_words)));
  const bool by_gpu = CBIT_TRY(step.keys.word("how", move_words)).value_or(MoveHow::gpu) == MoveHow::gpu;
  const unsigned cpu = CBIT_TRY(step.cpu());
  return [=](Run& run) -> StepResult {
    GpuPart& part = run.part<GpuPart>();
    const GpuPart::Object& object = *CBIT_TRY(part.object(id));
    const TtmPlacement from = object.bo->placement;
    const auto done =
        part.driver(object.device).ttm().validate(run.kernel().cpu(cpu), *object.bo, to, by_gpu);
    part.refresh(run, id);
    if (!done) return trouble_of(done.error());
    return fmt::format("{} to {}", to_string(from), to_string(to));
  };
}

enum class Transfer : std::uint8_t { to_host, from_host };
constexpr Word<Transfer> transfer_words[] = {{"to-host", Transfer::to_host},
                                             {"from-host", Transfer::from_host}};

constexpr std::string_view transfer_keys[] = {"bo", "way", "cpu"};

OrError<Action> parse_transfer(StepParser& step) {
  const std::size_t id = CBIT_TRY(parse_bo(step));
  const Transfer way = CBIT_TRY(step.keys.word("way", transfer_words)).value_or(Transfer::to_host);
  const unsigned cpu = CBIT_TRY(step.cpu());
  return [=](Run& run) -> StepResult {
    GpuPart& part = run.part<GpuPart>();
    const GpuPart::Object& object = *CBIT_TRY(part.object(id));
    kernel::GpuDriver& driver = part.driver(object.device);
    paging::Mmu& mmu = run.kernel().cpu(cpu);
    const auto done = way == Transfer::to_host ? driver.transfer_to_host(mmu, *object.bo)
                                               : driver.transfer_from_host(mmu, *object.bo);
    if (!done) return trouble_of(done.error());
    return fmt::format("{} bytes", object.bo->bytes);
  };
}

// ---- windows ----------------------------------------------------------------------------------------------

constexpr std::string_view bo_vmap_keys[] = {"name", "bo", "cpu"};

OrError<Action> parse_bo_vmap(StepParser& step) {
  const std::size_t id = CBIT_TRY(parse_bo(step));
  const unsigned cpu = CBIT_TRY(step.cpu());
  const std::size_t window = CBIT_TRY(step.new_window(id));
  return [=](Run& run) -> StepResult {
    GpuPart& part = run.part<GpuPart>();
    const GpuPart::Object& object = *CBIT_TRY(part.object(id));
    const auto at = part.driver(object.device).ttm().vmap(run.kernel().cpu(cpu), *object.bo);
    if (!at) return trouble_of(at.error());
    part.refresh(run, id);
    run.window(window).at = *at;
    part.open(window, {.buffer = id, .at = *at});
    return fmt::format("{}", *at);
  };
}

constexpr std::string_view kmap_keys[] = {"name", "bo", "page", "pages", "cpu"};

OrError<Action> parse_kmap(StepParser& step) {
  const std::size_t id = CBIT_TRY(parse_bo(step));
  const std::uint64_t page = CBIT_TRY(step.keys.number("page", 0, bit_mask(32))).value_or(0);
  const std::uint64_t pages = CBIT_TRY(step.keys.number("pages", 1, bit_mask(32))).value_or(1);
  const unsigned cpu = CBIT_TRY(step.cpu());
  const std::size_t window = CBIT_TRY(step.new_window(id));
  return [=](Run& run) -> StepResult {
    GpuPart& part = run.part<GpuPart>();
    const GpuPart::Object& object = *CBIT_TRY(part.object(id));
    const auto map = part.driver(object.device).ttm().kmap(run.kernel().cpu(cpu), *object.bo, page, pages);
    if (!map) return trouble_of(map.error());
    part.refresh(run, id);
    // Offsets through the window count from the object's first byte.
    run.window(window).at = VirtAddr{map->at.value() - page * page_size};
    part.open(window, {.buffer = id, .kmap = *map, .at = map->at});
    return fmt::format("{}, {}", map->at,
                       map->kind == kernel::TtmKmap::Kind::kmap   ? "the direct map"
                       : map->kind == kernel::TtmKmap::Kind::vmap ? "a vmap"
                                                                  : "an ioremap");
  };
}

constexpr std::string_view bo_mmap_keys[] = {"name", "bo"};

OrError<Action> parse_bo_mmap(StepParser& step) {
  const std::size_t id = CBIT_TRY(parse_bo(step));
  const std::size_t window = CBIT_TRY(step.new_window(id));
  return [=](Run& run) -> StepResult {
    GpuPart& part = run.part<GpuPart>();
    const GpuPart::Object& object = *CBIT_TRY(part.object(id));
    auto user = run.mm().create_user_space();
    if (!user) return trouble_in_step(describe(user.error()));
    kernel::TtmDevice& ttm = part.driver(object.device).ttm();
    const auto at = ttm.mmap(**user, *object.bo);
    if (!at) return trouble_of(at.error());
    kernel::UserSpace& space = **user;
    const auto on_fault = [&run, &part, &ttm, &space, id](const Fault& fault) -> Result<void> {
      CBIT_TRY(ttm.vm_fault(space, fault));
      part.refresh(run, id);
      return {};
    };
    run.window(window) = {*at, std::move(*user), on_fault};
    part.open(window, {.buffer = id, .user = *at, .at = *at});
    return fmt::format("{}", *at);
  };
}

constexpr std::string_view close_keys[] = {"window"};

OrError<Action> parse_close(StepParser& step) {
  const std::size_t window = CBIT_TRY(step.names.windows.get(step.keys, "window"));
  const bool of_bo = step.names.buffers[step.names.windows[window].buffer].kind == BufferKind::bo;
  if (!of_bo)
    return step.keys.error("window", "the window was not made by bo-vmap, bo-kmap or bo-mmap",
                           "use unmap-window");
  return [window](Run& run) -> StepResult {
    CBIT_TRY(run.part<GpuPart>().close(run, window));
    return std::string{"closed"};
  };
}

// ---- the GPU ----------------------------------------------------------------------------------------------

// Where the GPU finds the object.
Result<dev::GpuAddr, StepTrouble> gpu_address(Run& run, std::size_t id) {
  const GpuPart::Object& object = *CBIT_TRY(run.part<GpuPart>().object(id));
  if (const auto at = run.part<GpuPart>().driver(object.device).address(*object.bo)) return *at;
  return trouble_in_step("the GPU does not reach the object: it is in system placement");
}

dev::Gpu& gpu_of(Run& run, std::size_t id) {
  GpuPart& part = run.part<GpuPart>();
  return part.driver((*part.object(id))->device).gpu();
}

constexpr std::string_view gpu_write_keys[] = {"bo", "data", "offset", "length"};

OrError<Action> parse_gpu_write(StepParser& step) {
  const std::size_t id = CBIT_TRY(parse_bo(step));
  const auto contents = CBIT_TRY(step.contents(step.names.buffers[id].bytes, testbed::Author::device, false));
  return [=](Run& run) -> StepResult {
    const Bytes data = contents.bytes();
    const dev::GpuAddr at = CBIT_TRY(gpu_address(run, id)) + contents.range.offset;
    if (const auto done = gpu_of(run, id).store(at, data); !done)
      return trouble_in_step(describe(done.error()));
    run.buffer(id).written(contents.range.offset, data);
    return fmt::format("{} bytes at {:#x}", data.size(), at.value());
  };
}

constexpr std::string_view gpu_read_keys[] = {"bo", "offset", "length"};

OrError<Action> parse_gpu_read(StepParser& step) {
  const std::size_t id = CBIT_TRY(parse_bo(step));
  const Range range = CBIT_TRY(step.range(step.names.buffers[id].bytes));
  return [=](Run& run) -> StepResult {
    const dev::GpuAddr at = CBIT_TRY(gpu_address(run, id)) + range.offset;
    Bytes bytes(range.bytes);
    if (const auto done = gpu_of(run, id).load(at, bytes); !done)
      return trouble_in_step(describe(done.error()));
    return fmt::format("{} bytes at {:#x}", bytes.size(), at.value());
  };
}

constexpr std::string_view gpu_copy_keys[] = {"from", "to", "length"};

OrError<Action> parse_gpu_copy(StepParser& step) {
  const std::size_t from = CBIT_TRY(parse_bo(step, "from"));
  const std::size_t to = CBIT_TRY(parse_bo(step, "to"));
  const std::uint64_t most = std::min(step.names.buffers[from].bytes, step.names.buffers[to].bytes);
  const std::uint64_t bytes = CBIT_TRY(step.keys.number("length", 1, most)).value_or(most);
  return [=](Run& run) -> StepResult {
    const dev::GpuAddr source = CBIT_TRY(gpu_address(run, from));
    const dev::GpuAddr target = CBIT_TRY(gpu_address(run, to));
    if (&gpu_of(run, from) != &gpu_of(run, to)) return trouble_in_step("the objects are of two GPUs");
    Bytes data(bytes);
    auto done = gpu_of(run, from).load(source, data);
    if (done) done = gpu_of(run, to).store(target, data);
    if (!done) return trouble_in_step(describe(done.error()));
    run.buffer(to).written(0, data);
    return fmt::format("{} bytes", bytes);
  };
}

constexpr StepKind gpu_step_kinds[] = {
    {"bo-create", create_keys, parse_create},       {"bo-free", bo_keys, parse_bo_free},
    {"bo-populate", bo_keys, parse_populate},       {"bo-swapout", bo_keys, parse_swapout},
    {"bo-move", move_keys, parse_bo_move},          {"bo-transfer", transfer_keys, parse_transfer},
    {"bo-vmap", bo_vmap_keys, parse_bo_vmap},       {"bo-kmap", kmap_keys, parse_kmap},
    {"bo-mmap", bo_mmap_keys, parse_bo_mmap},       {"bo-close", close_keys, parse_close},
    {"gpu-write", gpu_write_keys, parse_gpu_write}, {"gpu-read", gpu_read_keys, parse_gpu_read},
    {"gpu-copy", gpu_copy_keys, parse_gpu_copy},
};

}  // namespace

std::span<const StepKind> gpu_steps() { return gpu_step_kinds; }

}  // namespace cbit::lab
