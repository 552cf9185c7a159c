// dma_pool_*: small blocks of coherent memory. mm/dmapool.c of 6.1.
#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "api/c/machine.hpp"

using namespace cbit;

// A free block is known by its offset; what was freed last is given out first.
struct dma_pool {
  struct Chunk {
    void* at;
    dma_addr_t dma;
    std::vector<std::size_t> free;
    std::size_t blocks;
  };
  std::string name;
  device* dev;
  std::size_t size;
  std::size_t bytes;  // of a chunk
  std::size_t boundary;
  std::vector<Chunk> chunks;

  [[nodiscard]] std::vector<std::size_t> offsets() const {
    std::vector<std::size_t> all;
    for (std::size_t at = 0; at + size <= bytes; at += size) {
      const std::size_t next_boundary = (at / boundary + 1) * boundary;
      if (at + size > next_boundary) at = next_boundary;
      if (at + size <= bytes) all.push_back(at);
    }
    std::ranges::reverse(all);
    return all;
  }
  Chunk* chunk_of(const void* at) {
    const auto found = std::ranges::find_if(chunks, [&](const Chunk& chunk) {
      return at >= chunk.at && at < static_cast<std::byte*>(chunk.at) + bytes;
    });
    return found == chunks.end() ? nullptr : &*found;
  }
};

dma_pool* dma_pool_create(const char* name, device* dev, size_t size, size_t align, size_t boundary) {
  align = std::max<std::size_t>(align, 1);
  if (size == 0 || size > page_size << kernel::max_order_6_1 || !std::has_single_bit(align)) return nullptr;
  size = align_up(std::max<std::size_t>(size, 4), align);
  const std::size_t bytes = std::max<std::size_t>(size, page_size);
  if (boundary == 0)
    boundary = bytes;
  else if (boundary < size || !std::has_single_bit(boundary))
    return nullptr;
  return new dma_pool{name, dev, size, bytes, boundary, {}};
}

void* dma_pool_alloc(dma_pool* pool, gfp_t flags, dma_addr_t* dma) {
  auto chunk = std::ranges::find_if(pool->chunks, [](const auto& one) { return !one.free.empty(); });
  if (chunk == pool->chunks.end()) {
    dma_addr_t bus = 0;
    void* const at = dma_alloc_attrs(pool->dev, pool->bytes, &bus, flags & ~__GFP_ZERO, 0);
    if (at == nullptr) return nullptr;
    auto offsets = pool->offsets();
    const std::size_t blocks = offsets.size();
    chunk = pool->chunks.insert(pool->chunks.end(), {at, bus, std::move(offsets), blocks});
  }
  const std::size_t offset = chunk->free.back();
  chunk->free.pop_back();
  *dma = chunk->dma + offset;
  std::byte* const block = static_cast<std::byte*>(chunk->at) + offset;
  if ((flags & __GFP_ZERO) != 0) std::memset(block, 0, pool->size);
  return block;
}

void dma_pool_free(dma_pool* pool, void* at, dma_addr_t dma) {
  dma_pool::Chunk* const chunk = pool->chunk_of(at);
  const std::size_t offset =
      chunk != nullptr
          ? static_cast<std::size_t>(static_cast<std::byte*>(at) - static_cast<std::byte*>(chunk->at))
          : 0;
  const auto has = [&](const std::vector<std::size_t>& offsets) {
    return std::ranges::find(offsets, offset) != offsets.end();
  };
  if (chunk == nullptr || dma != chunk->dma + offset || !has(pool->offsets()) || has(chunk->free))
    return _dev_printk(pool->dev, "dma_pool_free %s: %p/%#llx is not in use", pool->name.c_str(), at,
                       static_cast<unsigned long long>(dma));
  chunk->free.push_back(offset);
}

void dma_pool_destroy(dma_pool* pool) {
  if (pool == nullptr) return;
  for (const auto& chunk : pool->chunks) {
    if (chunk.free.size() != chunk.blocks)
      _dev_printk(pool->dev, "dma_pool_destroy %s, %p busy", pool->name.c_str(), chunk.at);
    else
      dma_free_attrs(pool->dev, pool->bytes, chunk.at, chunk.dma, 0);
  }
  delete pool;
}
