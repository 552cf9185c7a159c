// The other ways to encrypted memory that were discussed beside encrypt_mprotect(), and what they map.
//
//   MktmeDriver  /dev/mktme: open() with a key, mmap() of the descriptor gives encrypted pages of the
//                driver's. Its pages are device memory to the kernel (VM_PFNMAP): no swap, no migration, no
//                  GUP.
//   CachedFile   a file's page cache. Its storage gets what the kernel reads from the pages: plain text.
//   PmemFile     persistent memory mapped directly (DAX): the frames are the file. No copy lies between, so
//                the key of a mapping is the key of the file's contents.
//
// CachedFile and PmemFile can be made with a KeyID: the extension that was announced and never posted.
// Threading: one thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>

#include "kernel/mm/process.hpp"

namespace cbit::kernel {

class MktmeDriver final : public Backing {
 public:
  MktmeDriver(Kernel& kernel, mem::KeySelector key, std::uint64_t pages);
  ~MktmeDriver() override;

  [[nodiscard]] Kind kind() const override { return Kind::device; }
  [[nodiscard]] std::uint64_t pages() const override { return pages_; }
  Result<PhysAddr, int> page(std::uint64_t index) override;
  [[nodiscard]] mem::KeySelector key() const override { return key_.id(); }

 private:
  Kernel* kernel_;
  KeyIdRef key_;
  std::uint64_t pages_;
  std::map<std::uint64_t, PhysAddr> frames_;
};

class CachedFile final : public Backing {
 public:
  // The file's contents on its storage, in whole pages.
  CachedFile(Kernel& kernel, Bytes storage, mem::KeySelector key = 0);
  ~CachedFile() override;

  [[nodiscard]] Kind kind() const override { return Kind::file; }
  [[nodiscard]] std::uint64_t pages() const override { return storage_.size() / page_size; }
  Result<PhysAddr, int> page(std::uint64_t index) override;
  [[nodiscard]] mem::KeySelector key() const override { return key_.id(); }

  void moved(PhysAddr from, PhysAddr to) override;

  // msync(): what the kernel reads from the cached pages goes to the storage.
  Result<void, int> write_back();
  [[nodiscard]] const Bytes& storage() const { return storage_; }

 private:
  Kernel* kernel_;
  KeyIdRef key_;
  Bytes storage_;
  std::map<std::uint64_t, PhysAddr> cache_;
};

class PmemFile final : public Backing {
 public:
  // Frames of the persistent memory, which the caller has set aside; they keep what they hold.
  PmemFile(Kernel& kernel, mem::PhysRange frames, mem::KeySelector key = 0);
  ~PmemFile() override;

  [[nodiscard]] Kind kind() const override { return Kind::dax; }
  [[nodiscard]] std::uint64_t pages() const override { return frames_.bytes / page_size; }
  Result<PhysAddr, int> page(std::uint64_t index) override;
  [[nodiscard]] mem::KeySelector key() const override { return key_.id(); }

 private:
  Kernel* kernel_;
  KeyIdRef key_;
  mem::PhysRange frames_;
};

}  // namespace cbit::kernel
