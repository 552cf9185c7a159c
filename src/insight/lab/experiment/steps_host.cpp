// The host's software, which has no key: it reads and writes what memory holds. And the caches.
#include <fmt/format.h>

#include "lab/experiment/steps.hpp"

namespace cbit::lab {
namespace {

constexpr std::string_view host_read_keys[] = {"buffer", "offset", "length"};

OrError<Action> parse_host_read(StepParser& step) {
  const std::size_t id = CBIT_TRY(step.buffer());
  const Range range = CBIT_TRY(step.range(step.names.buffers[id].bytes));
  return [=](Run& run) -> StepResult {
    const Run::Buffer& buffer = *CBIT_TRY(run.live_buffer(id));
    Bytes bytes(range.bytes);
    const auto done = run.each_frame(buffer, range, [&](PhysAddr at, std::uint64_t from, std::uint64_t size) {
      return run.memory().read(at, ByteSpan{bytes}.subspan(from, size), run.host_access());
    });
    if (!done) return trouble_in_step(describe(done.error()));
    return fmt::format("{} bytes", bytes.size());
  };
}

constexpr std::string_view host_write_keys[] = {"buffer", "data", "offset", "length"};

OrError<Action> parse_host_write(StepParser& step) {
  const std::size_t id = CBIT_TRY(step.buffer());
  const auto contents = CBIT_TRY(step.contents(step.names.buffers[id].bytes, testbed::Author::device, false));
  return [=](Run& run) -> StepResult {
    const Bytes data = contents.bytes();
    Run::Buffer& buffer = *CBIT_TRY(run.live_buffer(id));
    const auto done =
        run.each_frame(buffer, contents.range, [&](PhysAddr at, std::uint64_t from, std::uint64_t size) {
          return run.memory().write(at, ConstByteSpan{data}.subspan(from, size), run.host_access());
        });
    if (!done) return trouble_in_step(describe(done.error()));
    buffer.written(contents.range.offset, data);
    return fmt::format("{} bytes", data.size());
  };
}

constexpr std::string_view copy_frame_keys[] = {"from", "to"};

// What a host does that swaps, migrates or merges a page without its owner's help: the whole pages of `from`
// go to those of `to`, as they are in memory.
StepResult copy_frames(Run& run, std::size_t from, std::size_t to) {
  Run::Buffer& source = *CBIT_TRY(run.live_buffer(from));
  Run::Buffer& target = *CBIT_TRY(run.live_buffer(to));
  const std::size_t pages = std::min(source.frames.size(), target.frames.size());
  for (std::size_t i = 0; i < pages; ++i) {
    if (target.frames[i].page() == source.frames[i].page())
      return trouble_in_step("both buffers lie in the same frame");
    const auto done = run.memory().copy(target.frames[i].page(), run.host_access(), source.frames[i].page(),
                                        run.host_access(), page_size);
    if (!done) return trouble_in_step(describe(done.error()));
  }
  const std::size_t size = std::min(source.now.size(), target.now.size());
  const Bytes moved{source.now.begin(), source.now.begin() + static_cast<std::ptrdiff_t>(size)};
  target.written(0, moved);
  return fmt::format("{} pages", pages);
}

OrError<Action> parse_copy_frame(StepParser& step) {
  const std::size_t from = CBIT_TRY(step.buffer("from"));
  const std::size_t to = CBIT_TRY(step.buffer("to"));
  for (const auto& [key, id] : {std::pair{"from", from}, std::pair{"to", to}})
    if (step.names.buffers[id].kind == BufferKind::bar)
      return step.keys.error(key, "a BAR is no memory of the host", "name a buffer of alloc");
  if (from == to) return step.keys.error("to", "\"to\" is the same as \"from\"", "name another buffer");
  return [=](Run& run) { return copy_frames(run, from, to); };
}

constexpr std::string_view flush_keys[] = {"buffer"};

OrError<Action> parse_flush(StepParser& step) {
  std::optional<std::size_t> id;
  if (step.keys.has("buffer")) id = CBIT_TRY(step.buffer());
  return [id](Run& run) -> StepResult {
    if (!id) return fmt::format("WBINVD: {} lines were dirty", run.memory().flush_all());
    const Run::Buffer& buffer = *CBIT_TRY(run.live_buffer(*id));
    std::uint64_t lines = 0;
    for (const PhysAddr frame : buffer.frames) lines += run.memory().flush(frame.page(), page_size);
    return fmt::format("CLFLUSH: {} lines were dirty", lines);
  };
}

constexpr StepKind host_step_kinds[] = {
    {"host-read", host_read_keys, parse_host_read},
    {"host-write", host_write_keys, parse_host_write},
    {"copy-frame", copy_frame_keys, parse_copy_frame},
    {"flush", flush_keys, parse_flush},
};

}  // namespace

std::span<const StepKind> host_steps() { return host_step_kinds; }

}  // namespace cbit::lab
