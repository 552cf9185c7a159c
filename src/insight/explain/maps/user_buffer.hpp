// A buffer of an application: what a driver meets behind get_user_pages(). With `--key-id` it belongs to that
// KeyID, as encrypt_mprotect() gives it.
#pragma once

#include "explain/maps/map_strategy.hpp"
#include "kernel/mktme/mktme.hpp"
#include "kernel/mm/process.hpp"

namespace cbit::explain {

class UserBuffer {
 public:
  explicit UserBuffer(MapBench& bench) : bench_{bench} {}

  // The memory with `contents` of options.size bytes in it. Errors (usage): the machine has no room.
  OrError<void> allocate(const Bytes& contents);
  [[nodiscard]] bool write(const Bytes& contents);
  // Empty: it cannot be read.
  [[nodiscard]] Bytes read();
  // One piece per page; empty where a page is not there.
  [[nodiscard]] std::vector<mem::PhysRange> memory() const;

  [[nodiscard]] VirtAddr at() const { return at_; }
  [[nodiscard]] kernel::Process& process() { return *process_; }

 private:
  // encrypt_mprotect() with a key of the KeyID that was asked for.
  OrError<void> encrypt(VirtAddr area, std::uint64_t bytes);

  MapBench& bench_;
  std::unique_ptr<kernel::Mktme> mktme_;
  std::unique_ptr<kernel::Process> process_;
  VirtAddr at_;
};

}  // namespace cbit::explain
