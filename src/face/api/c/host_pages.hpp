// The memory that a driver in C works on, and the machine's memory that it stands for.
//
// A block is some pages of the kernel's, and host memory that the driver has the pointer of. store() makes
// what the driver has changed since into stores of a CPU, load() shows the driver what that CPU would load.
// Threading: one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <vector>

#include "base/bytes.hpp"
#include "cbit/addr.hpp"
#include "cbit/linux.h"
#include "paging/mmu.hpp"

namespace cbit::api {

class HostPages {
 public:
  struct Block {
    VirtAddr at;  // in the kernel
    std::uint64_t pages = 0;
    std::byte* bytes = nullptr;  // followed by a struct page for each page

    [[nodiscard]] std::uint64_t size() const { return pages * page_size; }
    [[nodiscard]] ::page* frames() const { return reinterpret_cast<::page*>(bytes + size()); }
  };

  // Shows nothing yet: load() comes first. Throws std::bad_alloc when the host's memory is used up.
  Block& add(VirtAddr at, std::uint64_t pages);
  // The driver's pointer is none any more.
  void remove(const Block& block) { blocks_.erase(block.bytes); }

  // nullptr: none of the kernel's memory.
  [[nodiscard]] const Block* find(const void* pointer) const;
  [[nodiscard]] const Block* find(const ::page* frame) const;
  [[nodiscard]] const Block* find(VirtAddr at) const;

  // The addresses at which the kernel refuses the CPU's store; those bytes are dropped.
  std::vector<VirtAddr> store(paging::Mmu& cpu);
  // ff where the kernel has no mapping.
  void load(paging::Mmu& cpu);

 private:
  struct Free {
    void operator()(std::byte* bytes) const { std::free(bytes); }
  };
  struct Entry {
    Block block;
    std::unique_ptr<std::byte[], Free> host;
    Bytes agreed;  // what both held last
  };

  std::map<const std::byte*, Entry> blocks_;
};

}  // namespace cbit::api
