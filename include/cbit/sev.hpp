// cbit as a library: a host that launches encrypted guests, for tests of VMMs and of guest owners' tools.
//
// A SevHost is an emulated machine with SEV's firmware and KVM; each guest has a VMM process of its own.
// Guest memory begins at guest-physical 0.
//
//   const std::vector<std::byte> firmware_image(4096, std::byte{0x90}), disk_key(32, std::byte{0x11});
//   cbit::SevHost host;
//   const auto guest = host.create_guest({.name = "vm", .policy = 1});
//   host.launch_start(guest);
//   host.launch_update(guest, 0, firmware_image);
//   const auto measured = host.launch_measure(guest);
//   if (host.owner_accepts(guest, measured, firmware_image)) host.launch_secret(guest, 0x8000, disk_key);
//   host.launch_finish(guest);
//   EXPECT_EQ(host.guest_read(guest, 0x8000, 32), disk_key);
//   EXPECT_NE(host.host_read(guest, 0x8000, 32), disk_key);  // ciphertext
//
// The guest's owner is on the SevHost's side of the API for convenience: it makes the session for
// LAUNCH_START, knows the transport keys, and seals the secret; the host's kernel never sees them.
//
// Errors: bad options throw std::invalid_argument; commands that KVM or the firmware refuses, guests that
// there are not (ENOENT) and addresses outside of a guest's memory (EFAULT) throw SevRefused. Any call may
// throw std::bad_alloc when the host's memory is used up. Nothing else throws.
// Threading: one thread per SevHost; hosts are independent.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "cbit/platform.hpp"

namespace cbit {

// An ioctl that failed: errno (positive), and the firmware's status where that refused (0: it was not asked).
class SevRefused : public std::runtime_error {
 public:
  SevRefused(const std::string& text, int errno_value, unsigned firmware_status)
      : std::runtime_error{text}, error{errno_value}, firmware{firmware_status} {}
  int error;
  unsigned firmware;
};

class SevHost {
 public:
  struct Options {
    Platform platform = Platform::plain;  // or sme: the host's own memory is encrypted, too
    std::uint64_t memory_bytes = 1ull << 30;
    unsigned asids = 15;        // CPUID 8000001F ECX, at most 1023
    unsigned min_sev_asid = 1;  // EDX: ASIDs below are for SEV-ES
    std::uint64_t seed = 1;     // of all keys; two hosts with two seeds are two machines
  };
  struct GuestOptions {
    std::string name = "guest";
    std::uint64_t memory_bytes = 64 << 10;       // whole pages
    std::uint32_t policy = 1;                    // bit 0 no debug, 2 SEV-ES, 3 no send, ...
    std::optional<std::uint64_t> memlock_bytes;  // RLIMIT_MEMLOCK of the VMM; nullopt: CAP_IPC_LOCK
  };
  enum class GuestId : std::uint32_t {};

  struct Measurement {
    std::array<std::byte, 32> measure{};
    std::array<std::byte, 16> nonce{};
  };

  explicit SevHost(const Options& options);
  SevHost() : SevHost(Options{}) {}
  ~SevHost();
  SevHost(SevHost&&) noexcept;
  SevHost& operator=(SevHost&&) = delete;

  // KVM_SEV_INIT (or ES_INIT, by the policy) and REG_REGION of all its memory: EBUSY when no ASID is left,
  // ENOMEM over the lock limit.
  [[nodiscard]] GuestId create_guest(const GuestOptions& options);
  // The VMM ends.
  void destroy(GuestId guest);
  [[nodiscard]] unsigned asid(GuestId guest) const;

  void launch_start(GuestId guest);
  // The VMM writes `bytes` at the address and has them encrypted and measured.
  void launch_update(GuestId guest, std::uint64_t gpa, std::span<const std::byte> bytes);
  // Of a SEV-ES guest with its CPU's registers, as QEMU does.
  [[nodiscard]] Measurement launch_measure(GuestId guest);
  // The owner's check: the measurement is that of these bytes (and of a CPU after reset, with SEV-ES), under
  // this session and policy.
  [[nodiscard]] bool owner_accepts(GuestId guest, const Measurement& measurement,
                                   std::span<const std::byte> image) const;
  // After launch_measure(); whole 16-byte blocks.
  void launch_secret(GuestId guest, std::uint64_t gpa, std::span<const std::byte> secret);
  void launch_finish(GuestId guest);

  // The guest's CPU; `encrypted` is the C-bit of its mapping. EFAULT outside its memory, and before it runs.
  [[nodiscard]] std::vector<std::byte> guest_read(GuestId guest, std::uint64_t gpa, std::size_t bytes,
                                                  bool encrypted = true);
  void guest_write(GuestId guest, std::uint64_t gpa, std::span<const std::byte> bytes, bool encrypted = true);
  // The VMM through its own mapping of guest memory, as /proc/PID/mem shows it.
  [[nodiscard]] std::vector<std::byte> host_read(GuestId guest, std::uint64_t gpa, std::size_t bytes);
  void host_write(GuestId guest, std::uint64_t gpa, std::span<const std::byte> bytes);
  // KVM_SEV_DBG_DECRYPT.
  [[nodiscard]] std::vector<std::byte> debug_read(GuestId guest, std::uint64_t gpa, std::size_t bytes);

  // SEND and RECEIVE: the guest runs on the other host afterwards, and here no more. `to` is another host.
  // What is refused leaves no guest there.
  [[nodiscard]] GuestId migrate(GuestId guest, SevHost& to);

  // Names of the causes (docs/causes.md) found so far, in order.
  [[nodiscard]] std::vector<std::string> problems() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace cbit
