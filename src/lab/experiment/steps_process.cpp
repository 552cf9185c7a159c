// A process and its memory: areas, fork, pinning, swapping, migration.
#include <fmt/format.h>

#include <cerrno>

#include "base/format.hpp"
#include "kernel/mktme/backings.hpp"
#include "lab/experiment/steps.hpp"
#include "lab/experiment/user_memory.hpp"

namespace cbit::lab {
namespace {

OrError<std::size_t> user_buffer(const StepParser& step) {
  const std::size_t id = CBIT_TRY(step.buffer());
  if (step.names.buffers[id].kind != BufferKind::area)
    return step.keys.error("buffer", "the buffer is not a process' memory",
                           "name one that mmap-anonymous, mmap-backed or fork made");
  return id;
}

UserMemory& user_memory(Run& run) { return run.part<UserMemory>(); }

// ---- mmap, munmap, mprotect, fork -----------------------------------------------------------------------

constexpr std::string_view mmap_anonymous_keys[] = {"name", "size"};

OrError<Action> parse_mmap_anonymous(StepParser& step) {
  const std::uint64_t bytes =
      CBIT_TRY(step.keys.need("size", step.keys.number("size", 1, step.limits.bytes)));
  const std::size_t id = CBIT_TRY(step.new_buffer(BufferKind::area, align_up(bytes, page_size)));
  return [=](Run& run) -> StepResult {
    Process& process = *CBIT_TRY(user_memory(run).first_process(run));
    const auto at = process.mmap(bytes);
    if (!at) return tl::unexpected{errno_trouble(at.error())};
    begin_user_buffer(run, id, process, *at, align_up(bytes, page_size));
    return fmt::format("{} bytes at {}", align_up(bytes, page_size), *at);
  };
}

constexpr std::string_view munmap_keys[] = {"buffer"};

OrError<Action> parse_munmap(StepParser& step) {
  const std::size_t id = CBIT_TRY(user_buffer(step));
  return [=](Run& run) -> StepResult {
    Run::Buffer& buffer = *CBIT_TRY(untouched(run, id));
    const auto done = buffer.process->munmap(buffer.user_at, buffer.now.size());
    if (!done) return tl::unexpected{errno_trouble(done.error())};
    buffer.exists = false;
    return fmt::format("{} pages", buffer.now.size() / page_size);
  };
}

constexpr std::string_view fork_keys[] = {"name", "buffer"};

OrError<Action> parse_fork(StepParser& step) {
  const std::size_t parent = CBIT_TRY(user_buffer(step));
  const std::size_t id = CBIT_TRY(step.new_buffer(BufferKind::area, step.names.buffers[parent].bytes));
  return [=](Run& run) -> StepResult {
    const Run::Buffer& buffer = *CBIT_TRY(untouched(run, parent));
    auto child = buffer.process->fork();
    if (!child) return tl::unexpected{errno_trouble(child.error())};
    begin_user_buffer(run, id, user_memory(run).adopt(*std::move(child)), buffer.user_at, buffer.now.size());
    run.buffer(id).now = buffer.now;
    run.buffer(id).before = buffer.before;
    return fmt::format("{} in the child", buffer.user_at);
  };
}

// ---- pin, unpin -----------------------------------------------------------------------------------------

constexpr std::string_view pin_keys[] = {"buffer"};

OrError<Action> parse_pin(StepParser& step) {
  const std::size_t id = CBIT_TRY(user_buffer(step));
  return [=](Run& run) -> StepResult {
    const Run::Buffer& buffer = *CBIT_TRY(run.live_buffer(id));
    const auto pages = buffer.process->pin_user_pages(buffer.user_at, buffer.frames.size(), true);
    if (!pages) return tl::unexpected{errno_trouble(pages.error())};
    auto& pinned = user_memory(run).pinned[id];
    pinned.insert(pinned.end(), pages->begin(), pages->end());
    return fmt::format("{} pages", pages->size());
  };
}

OrError<Action> parse_unpin(StepParser& step) {
  const std::size_t id = CBIT_TRY(user_buffer(step));
  return [=](Run& run) -> StepResult {
    auto& pinned = user_memory(run).pinned[id];
    if (pinned.empty()) return trouble_in_step("nothing of the buffer is pinned");
    const std::size_t pages = pinned.size();
    run.buffer(id).process->unpin_user_pages(pinned, true);
    pinned.clear();
    return fmt::format("{} pages", pages);
  };
}

// ---- swap-out, migrate ----------------------------------------------------------------------------------

constexpr std::string_view swap_keys[] = {"buffer", "device", "medium-sees", "ignore-pins"};
constexpr std::string_view migrate_keys[] = {"buffer", "ignore-pins"};

struct MoveRequest {
  std::size_t buffer = 0;
  Pinned pinned = Pinned::refuse;
};

OrError<MoveRequest> parse_move(const StepParser& step) {
  MoveRequest request{.buffer = CBIT_TRY(user_buffer(step))};
  if (CBIT_TRY(step.keys.flag("ignore-pins")).value_or(false)) request.pinned = Pinned::ignore;
  return request;
}

// What the medium holds of one page, in the words of an expectation.
enum class Medium : std::uint8_t { plaintext, other };
constexpr Word<Medium> medium_words[] = {{"plaintext", Medium::plaintext}, {"other", Medium::other}};

OrError<Action> parse_swap_out(StepParser& step) {
  const MoveRequest request = CBIT_TRY(parse_move(step));
  const std::size_t device = CBIT_TRY(step.device("dma"));
  const auto medium = CBIT_TRY(step.keys.word("medium-sees", medium_words));
  return [=](Run& run) -> StepResult {
    const Run::Buffer& buffer = *CBIT_TRY(run.live_buffer(request.buffer));
    SwapDevice& swap = user_memory(run).swap_device(run, device);
    const std::size_t pages = buffer.frames.size();
    for (std::size_t i = 0; i < pages; ++i) {
      const auto slot = swap_out(*buffer.process, buffer.user_at + i * page_size, swap, request.pinned);
      if (!slot) return tl::unexpected{errno_trouble(slot.error())};
      const bool plain =
          std::ranges::equal(swap.medium(*slot), ConstByteSpan{buffer.now}.subspan(i * page_size, page_size));
      if (medium && plain != (*medium == Medium::plaintext))
        return trouble_in_step(plain ? "the medium holds the plain text" : "the medium holds other bytes");
    }
    return fmt::format("{} pages", pages);
  };
}

OrError<Action> parse_migrate(StepParser& step) {
  const MoveRequest request = CBIT_TRY(parse_move(step));
  return [=](Run& run) -> StepResult {
    const Run::Buffer& buffer = *CBIT_TRY(run.live_buffer(request.buffer));
    const std::size_t pages = buffer.frames.size();
    for (std::size_t i = 0; i < pages; ++i) {
      const auto moved = migrate_page(*buffer.process, buffer.user_at + i * page_size, request.pinned);
      if (!moved) return tl::unexpected{errno_trouble(moved.error())};
    }
    return fmt::format("{} pages", pages);
  };
}

constexpr StepKind process_step_kinds[] = {
    {"mmap-anonymous", mmap_anonymous_keys, parse_mmap_anonymous},
    {"munmap", munmap_keys, parse_munmap},
    {"fork", fork_keys, parse_fork},
    {"pin", pin_keys, parse_pin},
    {"unpin", pin_keys, parse_unpin},
    {"swap-out", swap_keys, parse_swap_out},
    {"migrate", migrate_keys, parse_migrate},
};

}  // namespace

std::span<const StepKind> process_steps() { return process_step_kinds; }

}  // namespace cbit::lab
