#include "mem/alias_cache.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace cbit::mem {
namespace {

PhysAddr line_of(PhysAddr at) { return PhysAddr{align_down(at.value(), cache_line_size)}; }

std::size_t bytes_in_line(PhysAddr at, std::uint64_t bytes) {
  return static_cast<std::size_t>(std::min(bytes, cache_line_size - at.value() % cache_line_size));
}

}  // namespace

AliasCache::AliasCache(std::unique_ptr<Memory> memory, Tracer& tracer, std::size_t lines)
    : memory_{std::move(memory)}, tracer_{&tracer}, lines_max_{lines} {}

Result<void> AliasCache::read(PhysAddr from, ByteSpan to, const Access& access) {
  if (access.agent.kind != AgentKind::cpu) write_back(from, to.size(), &access.key);
  report_aliases(from, to.size(), access, true);
  CBIT_TRY(memory_->read(from, to, access));
  overlay(from, to, access.key);
  return {};
}

Result<void> AliasCache::write(PhysAddr to, ConstByteSpan from, const Access& access) {
  if (!contains(to, from.size())) return fault(FaultKind::no_memory, to.value(), true);
  report_aliases(to, from.size(), access, false);
  if (access.agent.kind != AgentKind::cpu) {
    write_back(to, from.size(), &access.key);
    return memory_->write(to, from, access);
  }
  while (!from.empty()) {
    const std::size_t now = bytes_in_line(to, from.size());
    const Tag tag{line_of(to), access.key};
    auto found = lines_.find(tag);
    if (found == lines_.end()) {
      Line fresh{{}, access};
      CBIT_TRY(memory_->peek(tag.line, fresh.bytes, access.key));
      found = lines_.emplace(tag, fresh).first;
      order_.push_back(tag);
    }
    std::memcpy(found->second.bytes.data() + (to - tag.line), from.data(), now);
    found->second.writer = access;
    from = from.subspan(now);
    to += now;
    while (lines_.size() > lines_max_) {
      const Tag oldest = order_.front();
      order_.pop_front();
      evict(oldest);
    }
  }
  return {};
}

Result<void> AliasCache::copy(PhysAddr to, const Access& to_access, PhysAddr from, const Access& from_access,
                              std::uint64_t bytes) {
  Bytes buffer(page_size);
  while (bytes != 0) {
    const std::size_t now = std::min<std::uint64_t>(bytes, buffer.size());
    CBIT_TRY(read(from, ByteSpan{buffer}.first(now), from_access));
    CBIT_TRY(write(to, ConstByteSpan{buffer}.first(now), to_access));
    from += now;
    to += now;
    bytes -= now;
  }
  return {};
}

Result<void> AliasCache::fill(PhysAddr to, std::uint64_t bytes, std::byte value, const Access& access) {
  const Bytes block(page_size, value);
  while (bytes != 0) {
    const std::size_t now = std::min<std::uint64_t>(bytes, block.size());
    CBIT_TRY(write(to, ConstByteSpan{block}.first(now), access));
    to += now;
    bytes -= now;
  }
  return {};
}

Result<void> AliasCache::peek(PhysAddr from, ByteSpan to, KeyId key) const {
  CBIT_TRY(memory_->peek(from, to, key));
  overlay(from, to, key);
  return {};
}

void AliasCache::overlay(PhysAddr from, ByteSpan to, KeyId key) const {
  while (!to.empty()) {
    const std::size_t now = bytes_in_line(from, to.size());
    const auto found = lines_.find(Tag{line_of(from), key});
    if (found != lines_.end())
      std::memcpy(to.data(), found->second.bytes.data() + from.value() % cache_line_size, now);
    to = to.subspan(now);
    from += now;
  }
}

void AliasCache::report_aliases(PhysAddr at, std::uint64_t bytes, const Access& access, bool stale) {
  if (bytes == 0) return;
  const auto first = lines_.lower_bound(Tag{line_of(at), no_key});
  const auto dirty_elsewhere = std::find_if(first, lines_.end(), [&](const auto& entry) {
    return entry.first.line >= at + bytes || entry.first.key != access.key;
  });
  if (dirty_elsewhere == lines_.end() || dirty_elsewhere->first.line >= at + bytes) return;
  ++hazards_;
  tracer_->emit(access.agent, CacheAliasHazard{dirty_elsewhere->first.line, dirty_elsewhere->first.key,
                                               access.key, stale, access.site});
}

MemoryStats AliasCache::stats() const {
  MemoryStats stats = memory_->stats();
  stats.hazards += hazards_;
  return stats;
}

// Oldest first: where two keys hold the same line, the later writer wins, as with a flush in program order.
std::uint64_t AliasCache::write_back(PhysAddr first, std::uint64_t bytes, const KeyId* only_key) {
  std::uint64_t lines = 0;
  for (std::size_t i = 0; i < order_.size();) {
    const Tag tag = order_[i];
    const bool inside = tag.line + cache_line_size > first && tag.line < first + bytes;
    if (!inside || (only_key != nullptr && tag.key != *only_key)) {
      ++i;
      continue;
    }
    order_.erase(order_.begin() + static_cast<std::ptrdiff_t>(i));
    evict(tag);
    ++lines;
  }
  return lines;
}

void AliasCache::evict(const Tag& tag) {
  const auto found = lines_.find(tag);
  if (found == lines_.end()) return;
  const Line line = found->second;
  lines_.erase(found);
  // RAM by construction: write() checked the line when it was made dirty.
  static_cast<void>(memory_->write(tag.line, line.bytes, line.writer));
}

std::uint64_t AliasCache::flush(PhysAddr first, std::uint64_t bytes) {
  return write_back(first, bytes, nullptr);
}

std::uint64_t AliasCache::flush_all() {
  const std::uint64_t lines = lines_.size();
  for (const Tag& tag : std::exchange(order_, {})) evict(tag);
  return lines;
}

void AliasCache::rekey(KeyId id, const std::optional<crypt::Key128>& key) {
  flush_all();
  memory_->rekey(id, key);
}

}  // namespace cbit::mem
