// Swapping and migration of processes' pages: mm/vmscan.c, mm/page_io.c, mm/migrate.c as far as encryption
// needs them.
//
// A swap device reads and writes pages by DMA, through the DMA API. Where its addresses carry the page's key,
// as on SME and MKTME, or where its transfers bounce, as in a guest, what reaches it is plain text: to keep
// swap secret is dm-crypt's work.
//
// The kernel moves a page by copying its contents through the mapping of the page's attribute. That is right
// as long as the contents are under that key. A guest's memory on its host is not: the host has no key, what
// it moves is ciphertext, and since the physical address is part of the cipher's tweak, the same ciphertext
// in another frame is noise. So such pages are pinned, which refuses both; FrameCopied tells when it happened
// anyway.
//
// Threading: one thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>

#include "bus/dma_port.hpp"
#include "kernel/mm/process.hpp"

namespace cbit::kernel {

class SwapDevice {
 public:
  // `dev` is a registered device of the kernel; both outlive the swap device and all processes.
  SwapDevice(Kernel& kernel, Device& dev);

  // What the medium holds of a slot: what its reader finds.
  [[nodiscard]] const Bytes& medium(std::uint64_t slot) const { return slots_.at(slot); }
  [[nodiscard]] std::uint64_t slots_used() const { return slots_.size(); }

  // The device's transfers; EIO when the mapping or the transfer fails.
  Result<std::uint64_t, int> write_page(PhysAddr page);
  Result<void, int> read_page(std::uint64_t slot, PhysAddr page);
  void free_slot(std::uint64_t slot) { slots_.erase(slot); }

 private:
  Kernel* kernel_;
  Device* dev_;
  bus::DmaPort port_;
  std::map<std::uint64_t, Bytes> slots_;
  std::uint64_t next_ = 0;
};

// A swap entry: frees its slot with its last copy.
class SwapSlot {
 public:
  // `from` is the frame that the contents came from, `foreign`: as ciphertext of another key than its own.
  SwapSlot(SwapDevice& device, std::uint64_t index, PhysAddr from, bool foreign)
      : device_{&device}, index_{index}, from_{from}, foreign_{foreign} {}
  ~SwapSlot() { device_->free_slot(index_); }
  SwapSlot(const SwapSlot&) = delete;
  SwapSlot& operator=(const SwapSlot&) = delete;

  [[nodiscard]] SwapDevice& device() const { return *device_; }
  [[nodiscard]] std::uint64_t index() const { return index_; }
  // Reports that ciphertext is in another frame now.
  void swapped_in(Tracer& tracer, Agent agent, PhysAddr to) const;

 private:
  SwapDevice* device_;
  std::uint64_t index_;
  PhysAddr from_;
  bool foreign_;
};

// What a pinned page means to who wants to move it.
enum class Pinned : std::uint8_t {
  refuse,  // as Linux does
  ignore,  // for experiments: what would happen
};

// Writes the page at `at` to the device and takes it from all processes that map it; the next touch brings it
// back. Returns the slot. Errors: EFAULT where no page is, EBUSY for pinned pages, EINVAL for pages that are
// no anonymous memory (a file's go to their file, a driver's do not go anywhere), EIO.
Result<std::uint64_t, int> swap_out(Process& process, VirtAddr at, SwapDevice& device,
                                    Pinned pinned = Pinned::refuse);

// Moves the page at `at` to another frame, in all processes that map it; pages of a file's cache, too.
// Returns the frame. Errors: EFAULT,
// EBUSY and EINVAL as above, ENOMEM.
Result<PhysAddr, int> migrate_page(Process& process, VirtAddr at, Pinned pinned = Pinned::refuse);

}  // namespace cbit::kernel
