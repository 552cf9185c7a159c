// Keeps a secret in encrypted memory where the kernel offers it, and in plain memory where it does not.
//
//   encrypt_mprotect system-call | device | neither      which kernel it runs on
#include <algorithm>
#include <cbit/mktme.hpp>
#include <cerrno>
#include <iostream>
#include <span>
#include <string_view>

namespace {

constexpr std::uint64_t page = 4096;
constexpr std::string_view secret = "the password of everything else";

struct Memory {
  std::string_view from;
  std::int64_t at = 0;
};

// Encrypted if possible: the system call, then the device, then without.
Memory allocate(cbit::MktmeProcess& process) {
  const int key = process.add_key("secrets", "type=cpu algorithm=aes-xts-128");
  const std::int64_t at = process.mmap(page);
  if (key > 0) {
    // Before there is anything in it: the call drops what the memory holds.
    if (process.encrypt_mprotect(at, page, key) == 0) return {"encrypt_mprotect()", at};
    if (const std::int64_t mapped = process.mmap_device(page, key); mapped > 0) return {"/dev/mktme", mapped};
  }
  return {"mmap(), there is no encrypted memory", at};
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view kernel = argc > 1 ? argv[1] : "system-call";
  cbit::MktmeProcess process{{.has_system_call = kernel == "system-call", .has_device = kernel != "neither"}};
  const Memory memory = allocate(process);
  const auto bytes = std::as_bytes(std::span{secret});
  if (memory.at < 0 || !process.write(memory.at, bytes)) return 1;
  const auto seen = process.dram(memory.at, bytes.size());
  std::cout << "memory from " << memory.from << "; a probe on the chips sees "
            << (std::ranges::equal(seen, bytes) ? "the secret" : "ciphertext") << "\n";
  return 0;
}
