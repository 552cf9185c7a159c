// Decoded code of a machine: blocks by physical address, key and mode, for all of its CPUs.
//
// A block stays as it is until the bytes it was decoded from change; then its first operation becomes
// `stale`, links to it are undone, and it is not found any more. Its memory is freed only when all blocks go,
// which happens when they have become too many, between blocks: what runs may run to its end.
//
// Threading: one thread, that of the machine.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <unordered_map>
#include <vector>

#include "base/ids.hpp"
#include "cbit/addr.hpp"
#include "cpu/physical_space.hpp"
#include "cpu/state.hpp"
#include "cpu/translation.hpp"
#include "isa/op.hpp"

namespace cbit::cpu {
namespace jit {
class Translator;
}
class Standstill;

struct CodeBlock;
struct BlockExit {
  CodeBlock* block = nullptr;
  unsigned number = 0;
};

struct CodeBlock {
  Translation translation;
  PhysAddr at;           // of its first byte
  PhysAddr second_page;  // of a block that crosses
  KeyId key = no_key;
  KeyId second_key = no_key;
  isa::Mode mode;
  bool crosses = false;
  bool stale = false;
  std::uint16_t bytes = 0;
  std::uint16_t instructions = 0;
  isa::Op* ops = nullptr;
  isa::Op* exits = nullptr;  // the last of them
  const isa::Op* end = nullptr;
  const isa::InstructionMark* marks = nullptr;
  CodeBlock* next = nullptr;        // with the same hash
  std::vector<BlockExit> links_to;  // exits of other blocks

  [[nodiscard]] std::uint16_t place() const { return static_cast<std::uint16_t>(at.page_offset()); }
  // Whether a change of these bytes changes the block.
  [[nodiscard]] bool overlaps(PhysAddr first, std::uint64_t length) const;
};

// What an exit is linked to; nullptr: nothing.
[[nodiscard]] CodeBlock* target_of(const isa::Op& exit);

struct CodeCacheStats {
  std::uint64_t blocks = 0;       // decoded
  std::uint64_t invalidated = 0;  // of them, by changes of their bytes
  std::uint64_t flushes = 0;      // of everything
  std::uint64_t translated = 0;   // into code of the host
  std::uint64_t translated_bytes = 0;
  std::uint64_t translations_cleared = 0;
  // Runs of blocks under Config::check_translations: judged; not, because they reach beyond memory.
  std::uint64_t runs_judged = 0;
  std::uint64_t runs_not_judged = 0;
};

class CodeCache final : public mem::LeaseHolder {
 public:
  // A CPU that uses the cache.
  class User {
   public:
    virtual ~User() = default;
    // All blocks go.
    virtual void forget_blocks() = 0;
  };

  // Pages with code are leased from `memory`, which outlives the cache. Blocks that have run so many times
  // become code of the host, where the host can do that (jit/translator.hpp); 0, or more than 65535: none.
  // When that code has filled `translation_bytes`, all of it goes.
  static constexpr std::size_t translation_bytes_max = 64u << 20;
  // `others`: its processors run on threads of the host. Its changes are made alone, and what frees blocks or
  // their code waits for clean().
  explicit CodeCache(PhysicalSpace& memory, unsigned runs_before_translation = 0,
                     std::size_t translation_bytes = translation_bytes_max,
                     const Standstill* others = nullptr);
  ~CodeCache() override;
  CodeCache(const CodeCache&) = delete;
  CodeCache& operator=(const CodeCache&) = delete;

  void add_user(User& user) { users_.push_back(&user); }
  void remove_user(User& user) { std::erase(users_, &user); }

  [[nodiscard]] CodeBlock* find(PhysAddr at, KeyId key, isa::Mode mode) const;
  // `second_page` and its key are where a block that crosses goes on.
  CodeBlock* insert(PhysAddr at, KeyId key, isa::Mode mode, const isa::Block& block, PhysAddr second_page,
                    KeyId second_key);
  // The exit leads to the block from now on.
  void link(BlockExit exit, CodeBlock& to);

  // The bytes of a page that code is to be decoded from; nullptr: they are read, and then nobody tells of
  // changes.
  [[nodiscard]] const std::byte* code_bytes(PhysAddr page, KeyId key) {
    return memory_->lease(page, key, mem::LeaseIntent::execute, *this);
  }
  // Nobody may have a lease to write a page with code. If there is no block of it left, they may again: true.
  bool release_if_idle(PhysAddr page);
  // The blocks whose bytes [at, at + length), of one page, change.
  void invalidate(PhysAddr at, std::uint64_t length);
  // All blocks of a page.
  void revoke(PhysAddr page) override;
  void code_written(PhysAddr at, std::uint64_t bytes) override { invalidate(at, bytes); }
  void flush();
  // There is too much, with `others`. clean(): while all processors are outside of blocks.
  [[nodiscard]] bool wants_cleaning() const { return wants_flush_ || wants_clearing_; }
  void clean();
  // In a process that another has made (fork(2)): its translations are its own from now on. False: the system
  // refuses, and there must be no more of them.
  [[nodiscard]] bool part();

  // While no generated code runs. The block becomes code, with those that most often follow it. False: it
  // stays interpreted, or keeps the code it has. `repeats`: also with blocks that have code already.
  bool translate(CodeBlock& block, bool repeats = false);
  void note_judgement(bool judged) { ++(judged ? stats_.runs_judged : stats_.runs_not_judged); }
  // nullptr: blocks are interpreted.
  [[nodiscard]] EnterTranslation enter_translation() const;

  [[nodiscard]] const CodeCacheStats& stats() const { return stats_; }

 private:
  // Operations and marks come from chunks, which live until the flush.
  class Arena {
   public:
    void* allocate(std::size_t bytes);
    void clear();
    [[nodiscard]] std::size_t bytes() const { return chunks_.size() * chunk_bytes_; }

   private:
    static constexpr std::size_t chunk_bytes_ = 1u << 20;
    std::vector<std::unique_ptr<std::byte[]>> chunks_;
    std::size_t used_ = chunk_bytes_;
  };

  static constexpr std::size_t buckets_ = 1u << 16;
  [[nodiscard]] static std::size_t bucket(PhysAddr at, KeyId key, isa::Mode mode);
  void add_to_page(PhysAddr page, CodeBlock& block);
  void make_stale(CodeBlock& block);
  void unlink(BlockExit exit);
  [[nodiscard]] Translation untranslated() const;
  [[nodiscard]] isa::Slot runs_of(isa::Mode mode) const;
  void clear_translations();
  // The first operation of a block that is interpreted.
  [[nodiscard]] isa::OpCode entrance() const {
    return others_ == nullptr ? isa::OpCode::enter : isa::OpCode::enter_among_others;
  }

  PhysicalSpace* memory_;
  const Standstill* others_;
  bool wants_flush_ = false;
  bool wants_clearing_ = false;
  std::unique_ptr<jit::Translator> translator_;
  isa::Slot runs_before_translation_ = 0;
  Arena arena_;
  std::deque<CodeBlock> blocks_;
  std::vector<CodeBlock*> table_;
  std::unordered_map<std::uint64_t, std::vector<CodeBlock*>> pages_;  // by page number
  std::vector<User*> users_;
  CodeCacheStats stats_;
};

}  // namespace cbit::cpu
