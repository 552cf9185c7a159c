#include "guest/judged_memory.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/format.hpp"

namespace cbit::test {

using mem::Access;

JudgedMemory::JudgedMemory(std::unique_ptr<Memory> memory, mem::KeyTable& keys, Tracer& tracer)
    : memory_{std::move(memory)}, eager_{memory_->ram(), keys}, tracer_{&tracer} {}

OrError<std::unique_ptr<mem::Memory>> JudgedMemory::create(const mem::MemoryConfig& config,
                                                           mem::KeyTable& keys, Tracer& tracer) {
  auto memory = CBIT_TRY(Memory::create(config, keys, tracer));
  return std::unique_ptr<Memory>{new JudgedMemory{std::move(memory), keys, tracer}};
}

void JudgedMemory::begin() {
  for (const auto& [holder, page] : leased_) {
    memory_->end_leases(page, *holder);
    holder->revoke(page);
  }
  leased_.clear();
  Bytes page(page_size);
  memory_->for_each_touched([&](PhysAddr at, const mem::PageHistory&) {
    (void)memory_->probe(at, page);
    (void)eager_.write(at, page, {});
  });
  judging_ = true;
}

// ---- accesses -------------------------------------------------------------------------------------------

Result<void> JudgedMemory::read(PhysAddr from, ByteSpan to, const Access& access) {
  const auto here = memory_->read(from, to, access);
  if (!judging_) return here;
  buffer_.resize(to.size());
  const auto there = eager_.read(from, buffer_, access);
  if (here && there) compare(from, to, buffer_, "reads", access);
  return agreed(here, there, from, access);
}

Result<void> JudgedMemory::write(PhysAddr to, ConstByteSpan from, const Access& access) {
  const auto here = memory_->write(to, from, access);
  if (!judging_) return here;
  const auto there = eager_.write(to, from, access);
  if (here && there) compare_dram(to, from.size(), "writes", access);
  return agreed(here, there, to, access);
}

Result<void> JudgedMemory::copy(PhysAddr to, const Access& to_access, PhysAddr from,
                                const Access& from_access, std::uint64_t bytes) {
  const auto here = memory_->copy(to, to_access, from, from_access, bytes);
  if (!judging_) return here;
  const auto there = eager_.copy(to, to_access, from, from_access, bytes);
  if (here && there) compare_dram(to, bytes, "copies", to_access);
  return agreed(here, there, to, to_access);
}

Result<void> JudgedMemory::fill(PhysAddr to, std::uint64_t bytes, std::byte value, const Access& access) {
  const auto here = memory_->fill(to, bytes, value, access);
  if (!judging_) return here;
  const auto there = eager_.fill(to, bytes, value, access);
  if (here && there) compare_dram(to, bytes, "fills", access);
  return agreed(here, there, to, access);
}

Result<std::byte*> JudgedMemory::lease(PhysAddr page, const Access& access, mem::LeaseIntent intent,
                                       mem::LeaseHolder& holder) {
  const bool executes = intent == mem::LeaseIntent::execute;
  if (judging_ && !executes) return nullptr;
  const auto leased = memory_->lease(page, access, intent, holder);
  if (!leased || *leased == nullptr) return leased;
  if (!executes) leased_.emplace(&holder, page);
  if (!judging_) return leased;
  buffer_.resize(page_size);
  (void)eager_.peek(page, buffer_, access.key);
  compare(page, {*leased, page_size}, buffer_, "leases", access);
  return leased;
}

void JudgedMemory::end_leases(mem::LeaseHolder& holder) {
  std::erase_if(leased_, [&](const auto& each) { return each.first == &holder; });
  memory_->end_leases(holder);
}

// ---- comparisons ----------------------------------------------------------------------------------------

Result<void> JudgedMemory::agreed(const Result<void>& here, const Result<void>& there, PhysAddr at,
                                  const Access& access) {
  ++accesses_;
  if (here.has_value() != there.has_value()) differ(at, "is refused by one memory alone", access);
  return here;
}

void JudgedMemory::compare(PhysAddr at, ConstByteSpan here, ConstByteSpan there, std::string_view what,
                           const Access& access) {
  if (std::memcmp(here.data(), there.data(), here.size()) == 0) return;
  const auto first = std::ranges::mismatch(here, there).in1 - here.begin();
  differ(at + static_cast<std::uint64_t>(first), what, access);
}

void JudgedMemory::compare_dram(PhysAddr at, std::uint64_t bytes, std::string_view what,
                                const Access& access) {
  std::array<std::byte, page_size> here, there;
  const PhysAddr end = at + bytes;
  at = PhysAddr{align_down(at.value(), crypt::cipher_block_size)};
  while (at < end) {
    const std::uint64_t now =
        std::min(align_up(end - at, crypt::cipher_block_size), page_size - at.page_offset());
    (void)memory_->probe(at, std::span{here}.first(now));
    (void)eager_.probe(at, std::span{there}.first(now));
    compare(at, std::span{here}.first(now), std::span{there}.first(now), what, access);
    at += now;
  }
}

void JudgedMemory::compare_dram() {
  for (const mem::PhysRange& range : ram()) compare_dram(range.first, range.bytes, "has DRAM", {});
}

void JudgedMemory::differ(PhysAddr at, std::string_view what, const Access& access) {
  if (difference_) return;
  const auto pages = history(at);
  difference_ = fmt::format("{} {} at {} under key {}, {} ns; the page's owner is key {}", access.agent, what,
                            at, access.key, tracer_->clock().now_ns(), pages.owner);
}

}  // namespace cbit::test
