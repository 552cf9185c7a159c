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
    kernel::Process& process = *CBIT_TRY(user_memory(run).first_process(run));
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
    const auto done = area_of(buffer).process().munmap(area_of(buffer).at(), buffer.now.size());
    if (!done) return tl::unexpected{errno_trouble(done.error())};
    buffer.exists = false;
    return fmt::format("{} pages", buffer.now.size() / page_size);
  };
}

constexpr std::string_view discard_keys[] = {"buffer", "offset", "length"};

OrError<Action> parse_discard(StepParser& step) {
  const std::size_t id = CBIT_TRY(user_buffer(step));
  const Range range = CBIT_TRY(step.free_range(step.names.buffers[id].bytes));
  return [=](Run& run) -> StepResult {
    const Area& area = area_of(*CBIT_TRY(untouched(run, id)));
    const auto done = area.process().madvise_dontneed(area.at() + range.offset, range.bytes);
    if (!done) return tl::unexpected{errno_trouble(done.error())};
    return fmt::format("{} bytes at {}", range.bytes, area.at() + range.offset);
  };
}

constexpr std::string_view fork_keys[] = {"name", "buffer"};

OrError<Action> parse_fork(StepParser& step) {
  const std::size_t parent = CBIT_TRY(user_buffer(step));
  const std::size_t id = CBIT_TRY(step.new_buffer(BufferKind::area, step.names.buffers[parent].bytes));
  return [=](Run& run) -> StepResult {
    const Run::Buffer& buffer = *CBIT_TRY(untouched(run, parent));
    const Area& area = area_of(buffer);
    auto child = area.process().fork();
    if (!child) return tl::unexpected{errno_trouble(child.error())};
    begin_user_buffer(run, id, user_memory(run).adopt(*std::move(child)), area.at(), buffer.now.size());
    run.buffer(id).now = buffer.now;
    run.buffer(id).before = buffer.before;
    return fmt::format("{} in the child", area.at());
  };
}

// ---- protection keys ------------------------------------------------------------------------------------

struct PkeyNames {
  NameTable<KeyName> table{"pkey"};
};

// What PKRU leaves of the rights of an area.
enum class PkeyAccess : std::uint8_t { all, read, none };
constexpr Word<PkeyAccess> pkey_access_words[] = {
    {"all", PkeyAccess::all}, {"read", PkeyAccess::read}, {"none", PkeyAccess::none}};

kernel::Process::PkeyRights rights_of(PkeyAccess access) {
  return {.no_access = access == PkeyAccess::none, .no_write = access != PkeyAccess::all};
}

Result<kernel::ProtectionKey, StepTrouble> live_pkey(Run& run, std::size_t id) {
  const auto& pkeys = user_memory(run).pkeys;
  const auto found = pkeys.find(id);
  if (found == pkeys.end()) return trouble_in_step("the pkey does not exist: the step that makes it failed");
  return found->second;
}

constexpr std::string_view pkey_alloc_keys[] = {"name", "access"};

OrError<Action> parse_pkey_alloc(StepParser& step) {
  const std::string name = CBIT_TRY(step.keys.need("name", step.keys.text("name")));
  const PkeyAccess access = CBIT_TRY(step.keys.word("access", pkey_access_words)).value_or(PkeyAccess::all);
  const std::size_t id = CBIT_TRY(step.names.parts.get<PkeyNames>().table.add(step.keys, {name}));
  return [=](Run& run) -> StepResult {
    kernel::Process& process = *CBIT_TRY(user_memory(run).first_process(run));
    const auto pkey = process.pkey_alloc(rights_of(access));
    if (!pkey) return tl::unexpected{errno_trouble(pkey.error())};
    user_memory(run).pkeys[id] = *pkey;
    return fmt::format("protection key {}", *pkey);
  };
}

constexpr std::string_view pkey_access_keys[] = {"pkey", "access"};

OrError<Action> parse_pkey_access(StepParser& step) {
  const std::size_t id = CBIT_TRY(step.names.parts.get<PkeyNames>().table.get(step.keys, "pkey"));
  const PkeyAccess access = CBIT_TRY(step.keys.need("access", step.keys.word("access", pkey_access_words)));
  return [=](Run& run) -> StepResult {
    kernel::Process& process = *CBIT_TRY(user_memory(run).first_process(run));
    process.write_pkru(CBIT_TRY(live_pkey(run, id)), rights_of(access));
    return fmt::format("WRPKRU: {}", word_of(pkey_access_words, access));
  };
}

constexpr std::string_view pkey_mprotect_keys[] = {"buffer", "pkey", "offset", "length"};

OrError<Action> parse_pkey_mprotect(StepParser& step) {
  const std::size_t buffer = CBIT_TRY(user_buffer(step));
  const std::size_t id = CBIT_TRY(step.names.parts.get<PkeyNames>().table.get(step.keys, "pkey"));
  const Range range = CBIT_TRY(step.free_range(step.names.buffers[buffer].bytes));
  return [=](Run& run) -> StepResult {
    const Area& area = area_of(*CBIT_TRY(untouched(run, buffer)));
    const auto done = area.process().pkey_mprotect(area.at() + range.offset, range.bytes,
                                                   kernel::prot_read_write, CBIT_TRY(live_pkey(run, id)));
    if (!done) return tl::unexpected{errno_trouble(done.error())};
    return fmt::format("{} bytes at {}", range.bytes, area.at() + range.offset);
  };
}

// ---- pin, unpin -----------------------------------------------------------------------------------------

constexpr std::string_view pin_keys[] = {"buffer"};

OrError<Action> parse_pin(StepParser& step) {
  const std::size_t id = CBIT_TRY(user_buffer(step));
  return [=](Run& run) -> StepResult {
    const Run::Buffer& buffer = *CBIT_TRY(run.live_buffer(id));
    const Area& area = area_of(buffer);
    const auto pages = area.process().pin_user_pages(area.at(), buffer.frames.size(), true);
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
    area_of(run.buffer(id)).process().unpin_user_pages(pinned, true);
    pinned.clear();
    return fmt::format("{} pages", pages);
  };
}

// ---- swap-out, migrate ----------------------------------------------------------------------------------

constexpr std::string_view swap_keys[] = {"buffer", "device", "medium-sees", "ignore-pins"};
constexpr std::string_view migrate_keys[] = {"buffer", "ignore-pins"};

struct MoveRequest {
  std::size_t buffer = 0;
  kernel::Pinned pinned = kernel::Pinned::refuse;
};

OrError<MoveRequest> parse_move_request(const StepParser& step) {
  MoveRequest request{.buffer = CBIT_TRY(user_buffer(step))};
  if (CBIT_TRY(step.keys.flag("ignore-pins")).value_or(false)) request.pinned = kernel::Pinned::ignore;
  return request;
}

// What the medium holds of one page, in the words of an expectation.
enum class Medium : std::uint8_t { plaintext, other };
constexpr Word<Medium> medium_words[] = {{"plaintext", Medium::plaintext}, {"other", Medium::other}};

OrError<Action> parse_swap_out(StepParser& step) {
  const MoveRequest request = CBIT_TRY(parse_move_request(step));
  const std::size_t device = CBIT_TRY(step.device("dma"));
  const auto medium = CBIT_TRY(step.keys.word("medium-sees", medium_words));
  return [=](Run& run) -> StepResult {
    const Run::Buffer& buffer = *CBIT_TRY(run.live_buffer(request.buffer));
    const Area& area = area_of(buffer);
    kernel::SwapDevice& swap = user_memory(run).swap_device(run, device);
    const std::size_t pages = buffer.frames.size();
    for (std::size_t i = 0; i < pages; ++i) {
      const auto slot = kernel::swap_out(area.process(), area.at() + i * page_size, swap, request.pinned);
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
  const MoveRequest request = CBIT_TRY(parse_move_request(step));
  return [=](Run& run) -> StepResult {
    const Run::Buffer& buffer = *CBIT_TRY(run.live_buffer(request.buffer));
    const Area& area = area_of(buffer);
    const std::size_t pages = buffer.frames.size();
    for (std::size_t i = 0; i < pages; ++i) {
      const auto moved = kernel::migrate_page(area.process(), area.at() + i * page_size, request.pinned);
      if (!moved) return tl::unexpected{errno_trouble(moved.error())};
    }
    return fmt::format("{} pages", pages);
  };
}

constexpr StepKind process_step_kinds[] = {
    {"mmap-anonymous", mmap_anonymous_keys, parse_mmap_anonymous},
    {"munmap", munmap_keys, parse_munmap},
    {"discard", discard_keys, parse_discard},
    {"fork", fork_keys, parse_fork},
    {"pin", pin_keys, parse_pin},
    {"unpin", pin_keys, parse_unpin},
    {"swap-out", swap_keys, parse_swap_out},
    {"migrate", migrate_keys, parse_migrate},
    {"pkey-alloc", pkey_alloc_keys, parse_pkey_alloc},
    {"pkey-access", pkey_access_keys, parse_pkey_access},
    {"pkey-mprotect", pkey_mprotect_keys, parse_pkey_mprotect},
};

}  // namespace

std::span<const StepKind> process_steps() { return process_step_kinds; }

}  // namespace cbit::lab
