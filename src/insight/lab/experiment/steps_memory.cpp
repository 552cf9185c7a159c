// Buffers, the CPU's accesses to them, and their encryption attribute.
#include <fmt/format.h>

#include "base/format.hpp"
#include "lab/experiment/steps.hpp"

namespace cbit::lab {
namespace {

// ---- alloc, free, bar, pool-slot -------------------------------------------------------------------------

constexpr std::string_view alloc_keys[] = {"name", "size", "offset", "at", "below"};

struct AllocRequest {
  std::size_t id = 0;
  std::uint64_t bytes = 0;
  std::uint64_t offset = 0;
  std::optional<PhysAddr> at;
  std::uint64_t below = bit_mask(64);

  [[nodiscard]] std::uint64_t pages() const { return (offset + bytes + page_size - 1) / page_size; }
};

StepResult alloc(Run& run, const AllocRequest& request) {
  std::optional<VirtAddr> pages;
  if (!request.at)
    pages = run.mm().alloc_pages(request.pages(), request.below);
  else if (run.mm().page_allocator().allocate_at(*request.at, request.pages()))
    pages = run.mm().phys_to_virt(*request.at);
  if (!pages) return trouble_in_step("no memory: alloc_pages() has no such run of pages");
  Run::Buffer& buffer = run.buffer(request.id);
  CBIT_TRY(run.adopt(buffer, run.kernel().cpu(0), *pages + request.offset, request.bytes));
  return fmt::format("{} bytes at {}, {}", request.bytes, buffer.phys(0), buffer.at);
}

OrError<Action> parse_alloc(StepParser& step) {
  AllocRequest request;
  request.bytes = CBIT_TRY(step.keys.need("size", step.keys.number("size", 1, step.limits.bytes)));
  request.offset = CBIT_TRY(step.keys.number("offset", 0, page_size - 1)).value_or(0);
  request.below = CBIT_TRY(step.keys.number("below", page_size, bit_mask(52))).value_or(bit_mask(64));
  if (const auto at = CBIT_TRY(step.keys.number("at", 0, bit_mask(52)))) {
    if (*at % page_size != 0)
      return step.keys.error("at", "\"at\" is not the address of a page", "use a multiple of 4K");
    if (step.keys.has("below"))
      return step.keys.error("below", "\"below\" contradicts \"at\"", "give one of them");
    request.at = PhysAddr{*at};
  }
  request.id = CBIT_TRY(step.new_buffer(BufferKind::pages, request.bytes));
  return [request](Run& run) { return alloc(run, request); };
}

constexpr std::string_view free_keys[] = {"buffer"};

OrError<Action> parse_free(StepParser& step) {
  const std::size_t id = CBIT_TRY(step.buffer());
  BufferName& name = step.names.buffers[id];
  if (name.kind != BufferKind::pages)
    return step.keys.error("buffer", fmt::format("\"{}\" was not made by alloc", name.name),
                           "coherent memory is freed by free-coherent; bars and pool slots stay");
  if (name.freed)
    return step.keys.error("buffer", fmt::format("\"{}\" is free already", name.name), "free it once");
  name.freed = true;
  return [id](Run& run) -> StepResult {
    Run::Buffer& buffer = *CBIT_TRY(run.live_buffer(id));
    buffer.exists = false;
    run.mm().free_pages(buffer.at.page(), buffer.frames.size());
    return fmt::format("{} pages", buffer.frames.size());
  };
}

constexpr std::string_view bar_keys[] = {"name", "size"};

// The PCI hole holds this much.
constexpr std::uint64_t bar_bytes_max = 16ull << 20;

OrError<Action> parse_bar(StepParser& step) {
  const std::uint64_t bytes =
      CBIT_TRY(step.keys.number("size", page_size, bar_bytes_max)).value_or(page_size);
  if ((bytes & (bytes - 1)) != 0)
    return step.keys.error("size", fmt::format("a BAR of {} bytes does not exist", bytes),
                           "use a power of two");
  const std::size_t id = CBIT_TRY(step.new_buffer(BufferKind::bar, bytes));
  return [id, bytes](Run& run) -> StepResult {
    auto bar = std::make_unique<bus::RamBar>(bytes);
    Run::Buffer& buffer = run.buffer(id);
    buffer.bar = bar.get();
    const mem::PhysRange range = run.bed().machine().add_bar(std::move(bar), bytes);
    for (std::uint64_t done = 0; done < bytes; done += page_size) buffer.frames.push_back(range.first + done);
    run.begin_shadow(buffer, bytes);
    return fmt::format("{} bytes at {}", bytes, range.first);
  };
}

constexpr std::string_view pool_slot_keys[] = {"name", "slot", "size"};

OrError<Action> parse_pool_slot(StepParser& step) {
  const std::uint64_t slot = CBIT_TRY(step.keys.number("slot", 0, bit_mask(32))).value_or(0);
  const std::uint64_t bytes =
      CBIT_TRY(step.keys.number("size", 1, step.limits.bytes)).value_or(kernel::io_tlb_size);
  const std::size_t id = CBIT_TRY(step.new_buffer(BufferKind::pool, bytes));
  return [=](Run& run) -> StepResult {
    kernel::Swiotlb* const pool = run.dma().swiotlb();
    if (pool == nullptr) return trouble_in_step("there is no bounce pool");
    const mem::PhysRange range = pool->default_pool();
    const PhysAddr at = range.first + slot * kernel::io_tlb_size;
    if (!range.contains(at, bytes)) return trouble_in_step("the bounce pool has no such slots");
    CBIT_TRY(run.adopt(run.buffer(id), run.kernel().cpu(0), run.mm().phys_to_virt(at), bytes));
    return fmt::format("slot {} at {}", slot, at);
  };
}

// ---- cpu-write, cpu-read ---------------------------------------------------------------------------------

struct Target {
  Run::Lens lens;
  std::uint64_t bytes = 0;
};

// `buffer`, or `through` for a window on it.
OrError<Target> parse_target(const StepParser& step) {
  Target target;
  target.lens.cpu = CBIT_TRY(step.cpu());
  if (step.keys.has("buffer") && step.keys.has("through"))
    return step.keys.error("through", "\"through\" contradicts \"buffer\"",
                           "the window knows its buffer: drop \"buffer\"");
  if (step.keys.has("through")) {
    target.lens.window = CBIT_TRY(step.window());
    target.lens.buffer = step.names.windows[*target.lens.window].buffer;
  } else {
    target.lens.buffer = CBIT_TRY(step.buffer());
  }
  target.bytes = step.names.buffers[target.lens.buffer].bytes;
  return target;
}

constexpr std::string_view cpu_write_keys[] = {"buffer", "through", "data", "offset", "length", "cpu"};

OrError<Action> parse_cpu_write(StepParser& step) {
  const Target target = CBIT_TRY(parse_target(step));
  const auto contents = CBIT_TRY(step.contents(target.bytes, testbed::Author::cpu, false));
  return [=](Run& run) -> StepResult {
    const Bytes data = contents.bytes();
    CBIT_TRY(run.cpu_write(target.lens, contents.range.offset, data));
    return fmt::format("{} bytes", data.size());
  };
}

constexpr std::string_view cpu_read_keys[] = {"buffer", "through", "offset", "length", "cpu"};

OrError<Action> parse_cpu_read(StepParser& step) {
  const Target target = CBIT_TRY(parse_target(step));
  const Range range = CBIT_TRY(step.range(target.bytes));
  return [=](Run& run) -> StepResult {
    Bytes bytes(range.bytes);
    CBIT_TRY(run.cpu_read(target.lens, range.offset, bytes));
    return fmt::format("{} bytes", bytes.size());
  };
}

// What the kernel itself wrote, such as a descriptor ring, is known to nobody but the CPU.
OrError<Action> parse_snapshot(StepParser& step) {
  const Target target = CBIT_TRY(parse_target(step));
  const Range range = CBIT_TRY(step.range(target.bytes));
  return [=](Run& run) -> StepResult {
    Bytes bytes(range.bytes);
    CBIT_TRY(run.cpu_read(target.lens, range.offset, bytes));
    run.buffer(target.lens.buffer).written(range.offset, bytes);
    return fmt::format("{} bytes", bytes.size());
  };
}

// ---- set-memory, fail-conversions ------------------------------------------------------------------------

enum class Attribute : std::uint8_t { encrypted, decrypted };
constexpr Word<Attribute> attribute_words[] = {{"encrypted", Attribute::encrypted},
                                               {"decrypted", Attribute::decrypted}};

constexpr std::string_view set_memory_keys[] = {"buffer", "to", "early", "cpu"};

OrError<Action> parse_set_memory(StepParser& step) {
  const std::size_t id = CBIT_TRY(step.buffer());
  const bool encrypt =
      CBIT_TRY(step.keys.need("to", step.keys.word("to", attribute_words))) == Attribute::encrypted;
  const bool early = CBIT_TRY(step.keys.flag("early")).value_or(false);
  const unsigned cpu = CBIT_TRY(step.cpu());
  if (step.names.buffers[id].kind == BufferKind::bar)
    return step.keys.error("buffer", "a BAR has no encryption attribute", "name a buffer of alloc");
  return [=](Run& run) -> StepResult {
    const Run::Buffer& buffer = *CBIT_TRY(run.live_buffer(id));
    if (!run.mm().in_direct_map(buffer.at)) return trouble_in_step("the buffer is not in the direct map");
    const std::uint64_t pages = buffer.frames.size();
    const VirtAddr at = buffer.at.page();
    paging::Mmu& mmu = run.kernel().cpu(cpu);
    kernel::Mm& mm = run.mm();
    const auto done =
        early ? (encrypt ? mm.early_set_memory_encrypted(mmu, at, pages * page_size)
                         : mm.early_set_memory_decrypted(mmu, at, pages * page_size))
              : (encrypt ? mm.set_memory_encrypted(mmu, at, pages) : mm.set_memory_decrypted(mmu, at, pages));
    if (!done) return trouble_in_step(describe(done.error()));
    return fmt::format("{} pages", pages);
  };
}

constexpr std::string_view fail_conversions_keys[] = {"after"};

OrError<Action> parse_fail_conversions(StepParser& step) {
  const std::uint64_t after = CBIT_TRY(step.keys.number("after", 1, 1'000'000)).value_or(1);
  return [after](Run& run) -> StepResult {
    run.mm().fail_conversion_after(after);
    return fmt::format("call {} of set_memory_* from now on fails", after);
  };
}

// ---- windows ---------------------------------------------------------------------------------------------

std::vector<PhysAddr> page_frames(const Run::Buffer& buffer) {
  std::vector<PhysAddr> frames;
  for (const PhysAddr frame : buffer.frames) frames.push_back(frame.page());
  return frames;
}

// Pages that move are mapped by the driver that moves them.
OrError<void> refuse_bo(const StepParser& step, std::size_t buffer, std::string hint) {
  if (step.names.buffers[buffer].kind != BufferKind::bo) return {};
  return step.keys.error("buffer", fmt::format("\"{}\" is a buffer object", step.names.buffers[buffer].name),
                         std::move(hint));
}

constexpr std::string_view vmap_keys[] = {"name", "buffer", "protection"};

OrError<Action> parse_vmap(StepParser& step) {
  const std::size_t id = CBIT_TRY(step.buffer());
  const auto protection =
      CBIT_TRY(step.keys.word("protection", attribute_words)).value_or(Attribute::encrypted);
  if (step.names.buffers[id].kind == BufferKind::bar)
    return step.keys.error("buffer", "a BAR cannot be vmapped", "name a buffer of alloc or alloc-coherent");
  CBIT_TRY(refuse_bo(step, id, "use bo-vmap"));
  const std::size_t window = CBIT_TRY(step.new_window(id));
  return [=](Run& run) -> StepResult {
    const Run::Buffer& buffer = *CBIT_TRY(run.live_buffer(id));
    const auto at = run.mm().vmap(page_frames(buffer), protection == Attribute::encrypted ? 1 : 0);
    if (!at) return trouble_in_step(describe(at.error()));
    run.window(window).at = *at + buffer.first_offset;
    return fmt::format("{}", *at + buffer.first_offset);
  };
}

constexpr std::string_view remap_keys[] = {"name", "buffer", "protection"};

OrError<Action> parse_remap(StepParser& step) {
  const std::size_t id = CBIT_TRY(step.buffer());
  const auto protection =
      CBIT_TRY(step.keys.word("protection", attribute_words)).value_or(Attribute::encrypted);
  CBIT_TRY(refuse_bo(step, id, "use bo-mmap"));
  const std::size_t window = CBIT_TRY(step.new_window(id));
  return [=](Run& run) -> StepResult {
    const Run::Buffer& buffer = *CBIT_TRY(run.live_buffer(id));
    const std::vector<PhysAddr> frames = page_frames(buffer);
    for (std::size_t i = 1; i < frames.size(); ++i)
      if (frames[i] != frames[0] + i * page_size)
        return trouble_in_step("the buffer's frames are not contiguous");
    auto user = run.mm().create_user_space();
    if (!user) return trouble_in_step(describe(user.error()));
    const auto at =
        (*user)->remap_pfn_range(frames[0], frames.size(), protection == Attribute::encrypted ? 1 : 0);
    if (!at) return trouble_in_step(describe(at.error()));
    run.window(window) = {*at + buffer.first_offset, std::move(*user)};
    return fmt::format("{}", *at + buffer.first_offset);
  };
}

constexpr std::string_view unmap_window_keys[] = {"window"};

OrError<Action> parse_unmap_window(StepParser& step) {
  const std::size_t id = CBIT_TRY(step.names.windows.get(step.keys, "window"));
  const std::size_t buffer = step.names.windows[id].buffer;
  if (step.names.buffers[buffer].kind == BufferKind::bo)
    return step.keys.error("window", "the window is the driver's mapping of a buffer object", "use bo-close");
  return [=](Run& run) -> StepResult {
    Run::Window& window = run.window(id);
    if (window.at == VirtAddr{}) return trouble_in_step("the window does not exist");
    if (window.user == nullptr) run.mm().vunmap(window.at.page(), run.buffer(buffer).frames.size());
    const VirtAddr at = window.at;
    window = {};  // a process that is gone has no mappings
    return fmt::format("{}", at);
  };
}

constexpr StepKind memory_step_kinds[] = {
    {"alloc", alloc_keys, parse_alloc},
    {"free", free_keys, parse_free},
    {"bar", bar_keys, parse_bar},
    {"pool-slot", pool_slot_keys, parse_pool_slot},
    {"cpu-write", cpu_write_keys, parse_cpu_write},
    {"cpu-read", cpu_read_keys, parse_cpu_read},
    {"snapshot", cpu_read_keys, parse_snapshot},
    {"set-memory", set_memory_keys, parse_set_memory},
    {"fail-conversions", fail_conversions_keys, parse_fail_conversions},
    {"vmap", vmap_keys, parse_vmap},
    {"remap-pfn-range", remap_keys, parse_remap},
    {"unmap-window", unmap_window_keys, parse_unmap_window},
};

}  // namespace

std::span<const StepKind> memory_steps() { return memory_step_kinds; }

}  // namespace cbit::lab
