#include "cpu/code_cache.hpp"

#include <algorithm>
#include <cstring>

namespace cbit::cpu {
namespace {

// A kernel's boot with user space decodes about 30 MiB.
constexpr std::size_t bytes_max = 128u << 20;

bool is_exit(const isa::Op& op) { return op.code == isa::OpCode::exit || op.code == isa::OpCode::exit_page; }

std::uint64_t pointer_bits(const void* pointer) {
  return static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(pointer));
}

}  // namespace

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

CodeCache::CodeCache(PhysicalSpace& memory) : memory_{&memory}, table_(buckets_) {}

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
                             PhysAddr second_page) {
  if (arena_.bytes() > bytes_max) flush();
  ++stats_.blocks;
  CodeBlock& block = blocks_.emplace_back();
  block.at = at;
  block.second_page = second_page;
  block.key = key;
  block.mode = mode;
  block.crosses = from.crosses;
  block.bytes = from.bytes;
  block.instructions = static_cast<std::uint16_t>(from.marks.size());

  const std::size_t ops_bytes = from.ops.size() * sizeof(isa::Op);
  block.ops = static_cast<isa::Op*>(arena_.allocate(ops_bytes));
  std::memcpy(static_cast<void*>(block.ops), from.ops.data(), ops_bytes);
  block.ops[0].imm = pointer_bits(&block);
  for (std::size_t i = 1; i < from.ops.size(); ++i)
    if (is_exit(block.ops[i])) block.ops[i].imm = pointer_bits(&block.ops[i]);
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

void CodeCache::link(isa::Op& exit, CodeBlock& to) {
  exit.imm = pointer_bits(to.ops);
  to.links_to.push_back(&exit);
}

void CodeCache::make_stale(CodeBlock& block) {
  if (block.stale) return;
  ++stats_.invalidated;
  block.stale = true;
  block.ops[0].code = isa::OpCode::stale;
  for (isa::Op* exit : block.links_to) exit->imm = pointer_bits(exit);
  block.links_to.clear();
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
}

}  // namespace cbit::cpu
