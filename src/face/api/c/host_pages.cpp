#include "api/c/host_pages.hpp"

#include <algorithm>
#include <cstring>
#include <new>

namespace cbit::api {
namespace {

constexpr std::byte unmapped_byte{0xff};

// The first difference at or after `from`, and the end of it.
std::pair<std::size_t, std::size_t> next_difference(ConstByteSpan a, ConstByteSpan b, std::size_t from) {
  const auto [begin, other] = std::mismatch(a.begin() + static_cast<std::ptrdiff_t>(from), a.end(),
                                            b.begin() + static_cast<std::ptrdiff_t>(from));
  auto end = begin;
  for (auto same = other; end != a.end() && *end != *same; ++same) ++end;
  return {static_cast<std::size_t>(begin - a.begin()), static_cast<std::size_t>(end - a.begin())};
}

}  // namespace

HostPages::Block& HostPages::add(VirtAddr at, std::uint64_t pages) {
  const std::uint64_t bytes = align_up(pages * (page_size + sizeof(::page)), page_size);
  std::unique_ptr<std::byte[], Free> host{static_cast<std::byte*>(std::aligned_alloc(page_size, bytes))};
  if (host == nullptr) throw std::bad_alloc{};
  std::memset(host.get(), 0, bytes);
  std::byte* const first = host.get();
  Entry& entry = blocks_[first];
  entry = {{at, pages, first}, std::move(host), Bytes(pages * page_size)};
  return entry.block;
}

const HostPages::Block* HostPages::find(const void* pointer) const {
  const auto* const byte = static_cast<const std::byte*>(pointer);
  const auto after = blocks_.upper_bound(byte);
  if (after == blocks_.begin()) return nullptr;
  const Block& block = std::prev(after)->second.block;
  return byte < block.bytes + block.size() ? &block : nullptr;
}

const HostPages::Block* HostPages::find(const ::page* frame) const {
  const auto after = blocks_.upper_bound(reinterpret_cast<const std::byte*>(frame));
  if (after == blocks_.begin()) return nullptr;
  const Block& block = std::prev(after)->second.block;
  return frame >= block.frames() && frame < block.frames() + block.pages ? &block : nullptr;
}

const HostPages::Block* HostPages::find(VirtAddr at) const {
  const auto found = std::ranges::find_if(blocks_, [&](const auto& entry) {
    const Block& block = entry.second.block;
    return at >= block.at && at - block.at < block.size();
  });
  return found == blocks_.end() ? nullptr : &found->second.block;
}

std::vector<VirtAddr> HostPages::store(paging::Mmu& cpu) {
  std::vector<VirtAddr> refused;
  for (auto& [first, entry] : blocks_) {
    const ConstByteSpan now{entry.block.bytes, entry.block.size()};
    if (std::memcmp(now.data(), entry.agreed.data(), now.size()) == 0) continue;
    for (std::size_t from = 0; from < now.size();) {
      const auto [begin, end] = next_difference(now, entry.agreed, from);
      if (begin == end) break;
      if (!cpu.write(entry.block.at + begin, now.subspan(begin, end - begin)))
        refused.push_back(entry.block.at + begin);
      from = end;
    }
    std::ranges::copy(now, entry.agreed.begin());
  }
  return refused;
}

void HostPages::load(paging::Mmu& cpu) {
  for (auto& [first, entry] : blocks_) {
    for (std::uint64_t offset = 0; offset < entry.block.size(); offset += page_size) {
      const ByteSpan page = ByteSpan{entry.agreed}.subspan(offset, page_size);
      const auto reached = cpu.translate(entry.block.at + offset, paging::Intent::read);
      if (!reached || !cpu.memory().peek(reached->phys, page, reached->key))
        std::ranges::fill(page, unmapped_byte);
    }
    std::ranges::copy(entry.agreed, entry.block.bytes);
  }
}

}  // namespace cbit::api
