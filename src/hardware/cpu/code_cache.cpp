#include "cpu/code_cache.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "cpu/code_path.hpp"
#include "cpu/jit/translator.hpp"
#include "cpu/standstill.hpp"

namespace cbit::cpu {
namespace {

// A kernel's boot with user space decodes about 30 MiB.
constexpr std::size_t bytes_max = 128u << 20;

bool is_exit(const isa::Op& op) { return op.code == isa::OpCode::exit || op.code == isa::OpCode::exit_page; }

std::uint64_t pointer_bits(const void* pointer) {
  return static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(pointer));
}

}  // namespace

CodeBlock* target_of(const isa::Op& exit) {
  if (exit.imm == pointer_bits(&exit)) return nullptr;
  const auto* const first = reinterpret_cast<const isa::Op*>(static_cast<std::uintptr_t>(exit.imm));
  return reinterpret_cast<CodeBlock*>(static_cast<std::uintptr_t>(first->imm));
}

bool CodeBlock::overlaps(PhysAddr first, std::uint64_t length) const {
  const std::uint64_t in_page = crosses ? page_size - at.page_offset() : bytes;
  if (at < first + length && first < at + in_page) return true;
  if (!crosses) return false;
  return second_page < first + length && first < second_page + (bytes - in_page);
}

void* CodeCache::Arena::allocate(std::size_t bytes) {
  bytes = align_up(bytes, alignof(std::max_align_t));
  if (used_ + bytes > chunk_bytes_) {
    chunks_.push_back(std::make_unique<std::byte[]>(chunk_bytes_));
    used_ = 0;
  }
  std::byte* at = chunks_.back().get() + used_;
  used_ += bytes;
  return at;
}

void CodeCache::Arena::clear() {
  chunks_.clear();
  used_ = chunk_bytes_;
}

CodeCache::CodeCache(PhysicalSpace& memory, unsigned runs_before_translation, std::size_t translation_bytes,
                     const Standstill* others)
    : memory_{&memory}, others_{others}, table_(buckets_) {
  if (runs_before_translation == 0 || runs_before_translation > std::numeric_limits<isa::Slot>::max()) return;
  translator_ = jit::Translator::create(translation_bytes, others != nullptr ? &others->wanted() : nullptr);
  if (translator_ != nullptr) runs_before_translation_ = static_cast<isa::Slot>(runs_before_translation);
}

CodeCache::~CodeCache() { memory_->end_leases(*this); }

std::size_t CodeCache::bucket(PhysAddr at, KeyId key, isa::Mode mode) {
  const std::uint64_t mixed =
      (at.value() ^ std::uint64_t{mode.raw} << 40 ^ std::uint64_t{key} << 52) * 0x9e37'79b9'7f4a'7c15;
  return mixed >> 48 & (buckets_ - 1);
}

CodeBlock* CodeCache::find(PhysAddr at, KeyId key, isa::Mode mode) const {
  for (CodeBlock* block = table_[bucket(at, key, mode)]; block != nullptr; block = block->next)
    if (block->at == at && block->key == key && block->mode == mode) return block;
  return nullptr;
}

CodeBlock* CodeCache::insert(PhysAddr at, KeyId key, isa::Mode mode, const isa::Block& from,
                             PhysAddr second_page, KeyId second_key) {
  if (arena_.bytes() > bytes_max && others_ == nullptr) flush();
  wants_flush_ = others_ != nullptr && arena_.bytes() > bytes_max;
  ++stats_.blocks;
  CodeBlock& block = blocks_.emplace_back();
  block.at = at;
  block.second_page = second_page;
  block.second_key = second_key;
  block.key = key;
  block.mode = mode;
  block.crosses = from.crosses;
  block.bytes = from.bytes;
  block.instructions = static_cast<std::uint16_t>(from.marks.size());

  const std::size_t ops_bytes = from.ops.size() * sizeof(isa::Op);
  block.ops = static_cast<isa::Op*>(arena_.allocate(ops_bytes));
  std::memcpy(static_cast<void*>(block.ops), from.ops.data(), ops_bytes);
  block.ops[0].imm = pointer_bits(&block);
  block.ops[0].code = entrance();
  block.ops[0].b = runs_of(mode);
  isa::Op* const end = block.ops + from.ops.size();
  block.end = block.exits = end;
  while (is_exit(block.exits[-1])) --block.exits;
  for (isa::Op* exit = block.exits; exit != end; ++exit) exit->imm = pointer_bits(exit);
  block.translation = untranslated();
  const std::size_t marks_bytes = from.marks.size() * sizeof(isa::InstructionMark);
  void* marks = arena_.allocate(marks_bytes);
  std::memcpy(marks, from.marks.data(), marks_bytes);
  block.marks = static_cast<const isa::InstructionMark*>(marks);

  CodeBlock*& head = table_[bucket(at, key, mode)];
  block.next = head;
  head = &block;
  add_to_page(at.page(), block);
  if (block.crosses) add_to_page(second_page, block);
  return &block;
}

void CodeCache::add_to_page(PhysAddr page, CodeBlock& block) { pages_[page.page_number()].push_back(&block); }

void CodeCache::link(BlockExit exit, CodeBlock& to) {
  exit.block->exits[exit.number].imm = pointer_bits(to.ops);
  to.links_to.push_back(exit);
  if (to.translation.exists()) exit.block->translation.exits[exit.number] = to.translation.entry;
}

void CodeCache::unlink(BlockExit exit) {
  isa::Op& op = exit.block->exits[exit.number];
  op.imm = pointer_bits(&op);
  exit.block->translation.exits[exit.number] = untranslated().exits[exit.number];
}

Translation CodeCache::untranslated() const {
  if (translator_ == nullptr) return {};
  return {.entry = translator_->shared().leave_block, .exits = translator_->shared().unlinked_exits};
}

void CodeCache::make_stale(CodeBlock& block) {
  if (block.stale) return;
  ++stats_.invalidated;
  block.stale = true;
  block.ops[0].code = isa::OpCode::stale;
  for (const BlockExit exit : block.links_to) unlink(exit);
  block.links_to.clear();
  if (translator_ != nullptr) block.translation.entry = translator_->shared().leave_block;
  CodeBlock** link = &table_[bucket(block.at, block.key, block.mode)];
  while (*link != &block) link = &(*link)->next;
  *link = block.next;
}

void CodeCache::invalidate(PhysAddr at, std::uint64_t length) {
  const auto page = pages_.find(at.page_number());
  if (page == pages_.end()) return;
  std::erase_if(page->second, [&](CodeBlock* block) {
    if (!block->stale && !block->overlaps(at, length)) return false;
    make_stale(*block);
    return true;
  });
}

// Not where the last block goes: that may be in the middle of memory's write.
bool CodeCache::release_if_idle(PhysAddr at) {
  const auto page = pages_.find(at.page_number());
  if (page == pages_.end() || !page->second.empty()) return false;
  pages_.erase(page);
  memory_->end_leases(at.page(), *this);
  return true;
}

void CodeCache::revoke(PhysAddr at) {
  const auto page = pages_.find(at.page_number());
  if (page == pages_.end()) return;
  for (CodeBlock* block : page->second) make_stale(*block);
  pages_.erase(page);
}

void CodeCache::flush() {
  ++stats_.flushes;
  for (User* user : users_) user->forget_blocks();
  std::ranges::fill(table_, nullptr);
  memory_->end_leases(*this);
  pages_.clear();
  blocks_.clear();
  arena_.clear();
  if (translator_ != nullptr) translator_->clear();
}

void CodeCache::clean() {
  if (std::exchange(wants_flush_, false)) flush();
  if (std::exchange(wants_clearing_, false)) clear_translations();
}

bool CodeCache::part() { return translator_ == nullptr || translator_->part(); }

EnterTranslation CodeCache::enter_translation() const {
  if (translator_ == nullptr) return nullptr;
  return reinterpret_cast<EnterTranslation>(reinterpret_cast<std::uintptr_t>(translator_->shared().enter));
}

isa::Slot CodeCache::runs_of(isa::Mode mode) const {
  return mode.get<isa::Mode::OneStep>() ? isa::Slot{0} : runs_before_translation_;
}

bool CodeCache::translate(CodeBlock& block, bool repeats) {
  if (translator_ == nullptr || block.mode.get<isa::Mode::OneStep>()) return false;
  const CodePath path = path_from(block, {runs_before_translation_, repeats});
  const std::size_t before = translator_->bytes();
  auto result = translator_->translate(path);
  if (result == jit::Translator::Result::full && others_ != nullptr) {
    wants_clearing_ = true;
  } else if (result == jit::Translator::Result::full) {
    clear_translations();
    result = translator_->translate(path);
  }
  if (result != jit::Translator::Result::done) return false;
  ++stats_.translated;
  stats_.translated_bytes += translator_->bytes() - std::min(before, translator_->bytes());
  block.ops[0].code = isa::OpCode::translated;
  // Those that are reached by this code need none of their own, but where others come to them often, too.
  for (std::size_t i = 1; i < path.size(); ++i)
    if (!path[i].block->translation.exists()) path[i].block->ops[0].b = runs_of(block.mode);
  for (const BlockExit exit : block.links_to)
    exit.block->translation.exits[exit.number] = block.translation.entry;
  // The code of a loop goes back to its start; then the interpreter finds the way, too.
  CodeBlock& last = *path.back().block;
  for (unsigned i = 0; last.exits + i != last.end; ++i)
    if (leads_to(last.exits[i], block) && target_of(last.exits[i]) == nullptr) link({&last, i}, block);
  return true;
}

// All are made anew when they have run often again: what is used stays.
void CodeCache::clear_translations() {
  ++stats_.translations_cleared;
  for (CodeBlock& block : blocks_) {
    block.translation = untranslated();
    block.ops[0].b = runs_of(block.mode);
    if (block.ops[0].code == isa::OpCode::translated) block.ops[0].code = entrance();
  }
  translator_->clear();
}

}  // namespace cbit::cpu
