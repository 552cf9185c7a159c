#include "cpu/jit/code_memory.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <utility>

#include "base/assert.hpp"
#include "cbit/addr.hpp"

namespace cbit::cpu::jit {
namespace {

// Code begins where the host fetches a whole line.
constexpr std::size_t alignment = 16;

std::byte* map(int file, std::size_t bytes, int protection) {
  void* const at = mmap(nullptr, bytes, protection, MAP_SHARED, file, 0);
  return at == MAP_FAILED ? nullptr : static_cast<std::byte*>(at);
}

}  // namespace

std::unique_ptr<CodeMemory> CodeMemory::create(std::size_t bytes) {
  const int file = memfd_create("cbit-code", MFD_CLOEXEC);
  if (file < 0) return nullptr;
  const bool sized = ftruncate(file, static_cast<off_t>(bytes)) == 0;
  std::byte* const writable = sized ? map(file, bytes, PROT_READ | PROT_WRITE) : nullptr;
  std::byte* const executable = sized ? map(file, bytes, PROT_READ | PROT_EXEC) : nullptr;
  close(file);
  if (writable != nullptr && executable != nullptr)
    return std::unique_ptr<CodeMemory>{new CodeMemory{bytes, executable, writable}};
  if (writable != nullptr) munmap(writable, bytes);
  if (executable != nullptr) munmap(executable, bytes);
  return nullptr;
}

CodeMemory::~CodeMemory() {
  munmap(executable_, bytes_);
  munmap(writable_, bytes_);
}

std::span<std::byte> CodeMemory::take(std::size_t bytes) {
  CBIT_ASSERT(bytes <= left());
  const std::span taken{writable_ + used_, bytes};
  used_ = std::min<std::size_t>(align_up(used_ + bytes, alignment), bytes_);
  return taken;
}

// At the same addresses, which code and blocks have in them.
bool CodeMemory::part() {
  const int file = memfd_create("cbit-code", MFD_CLOEXEC);
  if (file < 0) return false;
  bool done = ftruncate(file, static_cast<off_t>(bytes_)) == 0 &&
              pwrite(file, writable_, used_, 0) == static_cast<ssize_t>(used_);
  for (const auto& [at, protection] :
       {std::pair{writable_, PROT_READ | PROT_WRITE}, std::pair{executable_, PROT_READ | PROT_EXEC}})
    done = done && mmap(at, bytes_, protection, MAP_SHARED | MAP_FIXED, file, 0) != MAP_FAILED;
  close(file);
  return done;
}

void CodeMemory::cut_to(std::size_t used) {
  CBIT_ASSERT(used <= used_);
  const std::size_t first = align_up(used, page_size);
  if (first < used_) madvise(writable_ + first, used_ - first, MADV_REMOVE);
  used_ = used;
}

}  // namespace cbit::cpu::jit
