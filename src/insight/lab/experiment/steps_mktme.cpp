// MKTME: keys, encrypt_mprotect(), and the memory that the alternatives to it map.
#include <fmt/format.h>

#include <cerrno>

#include "base/format.hpp"
#include "kernel/mktme/backings.hpp"
#include "lab/experiment/steps.hpp"
#include "lab/experiment/user_memory.hpp"

namespace cbit::lab {
namespace {

struct MktmeNames {
  NameTable<KeyName> keys{"key"};
};

OrError<std::size_t> key_of(const StepParser& step) {
  return step.names.parts.get<MktmeNames>().keys.get(step.keys, "key");
}

// Reports the kernel's refusal with its reason.
class Refusal final : public EventSink {
 public:
  explicit Refusal(Tracer& tracer) : tracer_{&tracer} { tracer.attach(*this); }
  ~Refusal() override { tracer_->detach(*this); }
  Refusal(const Refusal&) = delete;
  Refusal& operator=(const Refusal&) = delete;

  void on_event(const Event& event) override {
    if (const auto* refused = std::get_if<KeyRequestRefused>(&event.payload)) reason_ = refused->reason;
  }
  [[nodiscard]] tl::unexpected<StepTrouble> trouble(int error) const {
    return tl::unexpected{errno_trouble(error, reason_)};
  }

 private:
  Tracer* tracer_;
  std::string_view reason_;
};

Result<kernel::KeySerial, StepTrouble> live_key(Run& run, std::size_t id) {
  const auto& keys = run.part<UserMemory>().keys;
  const auto key = keys.find(id);
  if (key == keys.end()) return trouble_in_step("the key does not exist: the step that makes it failed");
  return key->second;
}

constexpr std::string_view mktme_keys[] = {"revision", "system-call"};

OrError<Action> parse_mktme(StepParser& step) {
  kernel::MktmeConfig config;
  config.revision =
      CBIT_TRY(step.keys.word("revision", kernel::mktme_revision_words)).value_or(config.revision);
  config.has_system_call = CBIT_TRY(step.keys.flag("system-call")).value_or(true);
  return [=](Run& run) -> StepResult {
    run.part<UserMemory>().configure(config);
    const kernel::Mktme& mktme = *CBIT_TRY(run.part<UserMemory>().mktme(run));
    return fmt::format("{} KeyIDs, {}", mktme.key_ids(), to_string(config.revision));
  };
}

constexpr std::string_view add_key_keys[] = {"name", "payload", "capable"};

OrError<Action> parse_add_key(StepParser& step) {
  const std::string name = CBIT_TRY(step.keys.need("name", step.keys.text("name")));
  const std::string payload = CBIT_TRY(step.keys.text("payload")).value_or("type=cpu algorithm=aes-xts-128");
  const bool capable = CBIT_TRY(step.keys.flag("capable")).value_or(true);
  const std::size_t id = CBIT_TRY(step.names.parts.get<MktmeNames>().keys.add(step.keys, {name}));
  return [=](Run& run) -> StepResult {
    kernel::Mktme& mktme = *CBIT_TRY(run.part<UserMemory>().mktme(run));
    const Refusal refusal{run.bed().tracer()};
    const auto serial = mktme.add_key(name, payload, {capable, capable});
    if (!serial) return refusal.trouble(serial.error());
    run.part<UserMemory>().keys[id] = *serial;
    return fmt::format("KeyID {}", mktme.key_id(*serial));
  };
}

constexpr std::string_view revoke_key_keys[] = {"key"};

OrError<Action> parse_revoke_key(StepParser& step) {
  const std::size_t id = CBIT_TRY(key_of(step));
  return [=](Run& run) -> StepResult {
    kernel::Mktme& mktme = *CBIT_TRY(run.part<UserMemory>().mktme(run));
    const Refusal refusal{run.bed().tracer()};
    const auto done = mktme.revoke_key(CBIT_TRY(live_key(run, id)));
    if (!done) return refusal.trouble(done.error());
    return fmt::format("{} KeyIDs are free", mktme.free_key_ids());
  };
}

constexpr std::string_view encrypt_keys[] = {"buffer", "key", "offset", "length"};

OrError<Action> parse_encrypt_mprotect(StepParser& step) {
  const std::size_t id = CBIT_TRY(step.buffer());
  if (step.names.buffers[id].kind != BufferKind::area)
    return step.keys.error("buffer", "the buffer is not a process' memory",
                           "name one that mmap-anonymous, mmap-backed or fork made");
  const std::size_t key = CBIT_TRY(key_of(step));
  const Range range = CBIT_TRY(step.free_range(step.names.buffers[id].bytes));
  return [=](Run& run) -> StepResult {
    kernel::Mktme& mktme = *CBIT_TRY(run.part<UserMemory>().mktme(run));
    const Area& area = area_of(*CBIT_TRY(untouched(run, id)));
    const Refusal refusal{run.bed().tracer()};
    const auto done = mktme.encrypt_mprotect(area.process(), area.at() + range.offset, range.bytes,
                                             kernel::prot_read_write, CBIT_TRY(live_key(run, key)));
    if (!done) return refusal.trouble(done.error());
    return fmt::format("{} bytes at {}", range.bytes, area.at() + range.offset);
  };
}

// ---- /dev/mktme, files, persistent memory ---------------------------------------------------------------

enum class BackingWord : std::uint8_t { driver, file, pmem };
constexpr Word<BackingWord> backing_words[] = {
    {"dev-mktme", BackingWord::driver}, {"file", BackingWord::file}, {"dax", BackingWord::pmem}};

constexpr std::string_view mmap_backed_keys[] = {"name", "backing", "key", "pages"};

Result<std::shared_ptr<kernel::Backing>, StepTrouble> make_backing(Run& run, BackingWord word,
                                                                   mem::KeySelector key,
                                                                   std::uint64_t pages) {
  kernel::Kernel& kernel = run.kernel();
  switch (word) {
    case BackingWord::driver: return std::make_shared<kernel::MktmeDriver>(kernel, key, pages);
    case BackingWord::file:
      return std::make_shared<kernel::CachedFile>(kernel, Bytes(pages * page_size), key);
    case BackingWord::pmem: break;
  }
  const auto frames = run.mm().page_allocator().allocate(pages);
  if (!frames) return trouble_in_step("no memory for the persistent memory");
  return std::make_shared<kernel::PmemFile>(kernel, mem::PhysRange{*frames, pages * page_size}, key);
}

OrError<Action> parse_mmap_backed(StepParser& step) {
  const BackingWord word = CBIT_TRY(step.keys.need("backing", step.keys.word("backing", backing_words)));
  const std::uint64_t pages = CBIT_TRY(step.keys.number("pages", 1, 1024)).value_or(1);
  std::optional<std::size_t> key;
  if (step.keys.has("key")) key = CBIT_TRY(key_of(step));
  const std::size_t id = CBIT_TRY(step.new_buffer(BufferKind::area, pages * page_size));
  return [=](Run& run) -> StepResult {
    mem::KeySelector key_id = 0;
    if (key) key_id = CBIT_TRY(run.part<UserMemory>().mktme(run))->key_id(CBIT_TRY(live_key(run, *key)));
    kernel::Process& process = *CBIT_TRY(run.part<UserMemory>().first_process(run));
    auto backing = CBIT_TRY(make_backing(run, word, key_id, pages));
    const auto at = process.mmap_backed(std::move(backing), 0, pages * page_size);
    if (!at) return tl::unexpected{errno_trouble(at.error())};
    begin_user_buffer(run, id, process, *at, pages * page_size);
    return fmt::format("{} pages at {}", pages, *at);
  };
}

// ---- a guest whose nested page table carries a KeyID ----------------------------------------------------

constexpr std::string_view guest_write_keys[] = {"buffer", "key", "data", "offset", "length"};
constexpr std::string_view guest_read_keys[] = {"buffer", "key", "sees"};

// The guest's accesses end in the frames of the VMM's area, under the KeyID of the nested entries.
Result<mem::Access, StepTrouble> guest_access(Run& run, std::size_t key) {
  const mem::KeySelector id =
      CBIT_TRY(run.part<UserMemory>().mktme(run))->key_id(CBIT_TRY(live_key(run, key)));
  return mem::Access{
      {AgentKind::cpu, 0}, run.bed().machine().paging().view.key(id), run.bed().tracer().intern("guest")};
}

OrError<Action> parse_guest_write(StepParser& step) {
  const std::size_t id = CBIT_TRY(step.buffer());
  const std::size_t key = CBIT_TRY(key_of(step));
  const auto contents = CBIT_TRY(step.contents(step.names.buffers[id].bytes, testbed::Author::cpu, false));
  return [=](Run& run) -> StepResult {
    const Bytes data = contents.bytes();
    Run::Buffer& buffer = *CBIT_TRY(run.live_buffer(id));
    const mem::Access access = CBIT_TRY(guest_access(run, key));
    const auto done =
        run.each_frame(buffer, contents.range, [&](PhysAddr at, std::uint64_t from, std::uint64_t size) {
          return run.memory().write(at, ConstByteSpan{data}.subspan(from, size), access);
        });
    if (!done) return trouble_in_step(describe(done.error()));
    buffer.written(contents.range.offset, data);
    return fmt::format("{} bytes under KeyID {}", data.size(), access.key);
  };
}

enum class GuestSees : std::uint8_t { plaintext, other };
constexpr Word<GuestSees> guest_words[] = {{"plaintext", GuestSees::plaintext}, {"other", GuestSees::other}};

OrError<Action> parse_guest_read(StepParser& step) {
  const std::size_t id = CBIT_TRY(step.buffer());
  const std::size_t key = CBIT_TRY(key_of(step));
  const GuestSees sees = CBIT_TRY(step.keys.word("sees", guest_words)).value_or(GuestSees::plaintext);
  return [=](Run& run) -> StepResult {
    const Run::Buffer& buffer = *CBIT_TRY(run.live_buffer(id));
    const mem::Access access = CBIT_TRY(guest_access(run, key));
    Bytes seen(buffer.now.size());
    const auto done =
        run.each_frame(buffer, {0, seen.size()}, [&](PhysAddr at, std::uint64_t from, std::uint64_t size) {
          return run.memory().read(at, ByteSpan{seen}.subspan(from, size), access);
        });
    if (!done) return trouble_in_step(describe(done.error()));
    const bool plain = seen == buffer.now;
    if (plain != (sees == GuestSees::plaintext))
      return trouble_in_step(plain ? "the guest sees what was written" : "the guest sees other bytes");
    return fmt::format("{} bytes", seen.size());
  };
}

constexpr StepKind mktme_step_kinds[] = {
    {"guest-write", guest_write_keys, parse_guest_write},
    {"guest-read", guest_read_keys, parse_guest_read},
    {"mktme", mktme_keys, parse_mktme},
    {"add-key", add_key_keys, parse_add_key},
    {"revoke-key", revoke_key_keys, parse_revoke_key},
    {"encrypt-mprotect", encrypt_keys, parse_encrypt_mprotect},
    {"mmap-backed", mmap_backed_keys, parse_mmap_backed},
};

}  // namespace

std::span<const StepKind> mktme_steps() { return mktme_step_kinds; }

}  // namespace cbit::lab
