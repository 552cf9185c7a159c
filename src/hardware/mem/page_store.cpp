#include "mem/page_store.hpp"

#include <fmt/format.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace cbit::mem {
namespace {

std::uint64_t state_bytes(std::uint64_t ram_bytes) { return ram_bytes / page_size * sizeof(PageState); }

void* reserve_bytes(std::uint64_t bytes) {
  return mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

}  // namespace

OrError<PageStore> PageStore::reserve(PhysAddr end) {
  const std::uint64_t bytes = end.value();
  void* data = reserve_bytes(bytes);
  void* pages = data != MAP_FAILED ? reserve_bytes(state_bytes(bytes)) : MAP_FAILED;
  if (pages == MAP_FAILED) {
    if (data != MAP_FAILED) munmap(data, bytes);
    return bad_input(
        fmt::format("cannot reserve {} MiB of address space for the machine's memory", bytes >> 20),
        "use less --memory, or raise the limit on address space (ulimit -v, vm.overcommit_memory)");
  }
  return PageStore{static_cast<std::byte*>(data), static_cast<PageState*>(pages), bytes};
}

PageStore::PageStore(PageStore&& other) noexcept
    : data_{std::exchange(other.data_, nullptr)}, pages_{other.pages_}, bytes_{other.bytes_} {}

PageStore::~PageStore() {
  if (data_ == nullptr) return;
  munmap(pages_, state_bytes(bytes_));
  munmap(data_, bytes_);
}

OrError<void> PageStore::map(PhysAddr first, std::uint64_t bytes, int fd, std::uint64_t offset) {
  void* const mapped = mmap(data(first), bytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, fd, static_cast<off_t>(offset));
  if (mapped != MAP_FAILED) return {};
  return bad_input(fmt::format("cannot map {} MiB of a file as the machine's memory: {}", bytes >> 20,
                               std::strerror(errno)));
}

}  // namespace cbit::mem
