// A process on a machine with Intel MKTME: the system calls that were proposed for it, to try a program on.
//
//   cbit::MktmeProcess process;
//   const int key = process.add_key("my key", "type=cpu algorithm=aes-xts-128");
//   const auto at = process.mmap(4096);
//   EXPECT_EQ(process.encrypt_mprotect(at, 4096, key), 0);  // -ENOSYS: the kernel does not have it
//
// Calls return what the system calls return: a value, or an errno, negated. Bad options throw
// std::invalid_argument, and any call may throw std::bad_alloc when the host's memory is used up; nothing
// else throws. Threading: one thread per process; processes are independent.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace cbit {

class MktmeProcess {
 public:
  struct Options {
    bool has_system_call = true;  // the kernel has encrypt_mprotect()
    bool has_device = true;       // the kernel has /dev/mktme
    unsigned key_id_bits = 6;     // 1 .. 15; the processor has 2^n - 1 KeyIDs
    std::uint64_t seed = 1;       // of keys; the same seed gives the same bytes
  };

  MktmeProcess();
  explicit MktmeProcess(const Options& options);
  ~MktmeProcess();
  MktmeProcess(MktmeProcess&&) noexcept;
  MktmeProcess& operator=(MktmeProcess&&) noexcept;

  // add_key("mktme", ...): the key's serial number.
  int add_key(std::string_view description, std::string_view payload);
  // mmap(MAP_PRIVATE | MAP_ANONYMOUS): the address.
  std::int64_t mmap(std::uint64_t bytes);
  // encrypt_mprotect(PROT_READ | PROT_WRITE)
  int encrypt_mprotect(std::int64_t at, std::uint64_t bytes, int key);
  // open("/dev/mktme") with a key, and mmap() of it: the address.
  std::int64_t mmap_device(std::uint64_t bytes, int key);

  // The program's own loads and stores; false is SIGSEGV.
  bool write(std::int64_t to, std::span<const std::byte> from);
  bool read(std::int64_t from, std::span<std::byte> to);

  // What a probe on the memory chips sees at the program's address; empty where no page is.
  [[nodiscard]] std::vector<std::byte> dram(std::int64_t at, std::size_t bytes) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace cbit
