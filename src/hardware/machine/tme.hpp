// Total memory encryption with many keys (TME-MK, MKTME) as software sees it: two MSRs and PCONFIG. Intel
// Architecture Memory Encryption Technologies Specification (336907); SDM vol. 2, PCONFIG; SDM vol. 4.
//
// The KeyID lies in the topmost bits of a physical address. KeyID n selects entry n of the memory
// controller's key table, for CPUs and devices alike. KeyID 0 is not encrypted: TME is active with bypass; so
// is a KeyID that was never programmed, or was cleared. One package: there is one table to program.
//
// Model: a KeyID's data key and tweak key are folded into the one key of the machine's cipher
// (crypt/xex.hpp). Threading: one thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/random.hpp"
#include "base/reg.hpp"
#include "base/result.hpp"
#include "base/trace.hpp"
#include "mem/memory.hpp"
#include "paging/mmu.hpp"

namespace cbit::machine {

// IA32_TME_CAPABILITY, MSR 981H.
struct TmeCapability : Register<TmeCapability, std::uint64_t> {
  using MaxKeys = Field<50, 36, unsigned>;
  using MaxKeyIdBits = Field<35, 32, unsigned>;
  using BypassSupported = Field<31, 31, bool>;
  using AesXts128 = Field<0, 0, bool>;
};

// IA32_TME_ACTIVATE, MSR 982H.
struct TmeActivate : Register<TmeActivate, std::uint64_t> {
  using Algorithms = Field<63, 48, unsigned>;  // that KeyIDs may use; bit 0: AES-XTS-128
  using KeyIdBits = Field<35, 32, unsigned>;
  using Bypass = Field<31, 31, bool>;  // KeyID 0 is not encrypted
  using Policy = Field<7, 4, unsigned>;
  using Enabled = Field<1, 1, bool>;
  using Locked = Field<0, 0, bool>;
};
static_assert(TmeActivate{{0x0001'0006'8000'0003}}.get<TmeActivate::KeyIdBits>() == 6);

inline constexpr std::uint16_t tme_aes_xts_128 = 1;  // of TmeActivate::Algorithms and KeyIdControl::Algorithm

// MKTME_KEY_PROGRAM_STRUCT.KEYID_CTRL. Bits 31:24 are reserved.
struct KeyIdControl : Register<KeyIdControl, std::uint32_t> {
  using Reserved = Field<31, 24, unsigned>;
  using Algorithm = Field<23, 8, unsigned>;
  using Command = Field<7, 0, unsigned>;
};
static_assert(KeyIdControl{{0x101}}.get<KeyIdControl::Algorithm>() == tme_aes_xts_128);

enum class KeyCommand : std::uint8_t { set_key_direct, set_key_random, clear_key, no_encrypt };

// MKTME_KEY_PROGRAM_STRUCT: at the address in RBX, aligned to 256 bytes.
struct [[gnu::packed]] KeyProgram {
  std::uint16_t key_id = 0;
  std::uint32_t control = 0;  // KeyIdControl
  std::array<std::uint8_t, 58> reserved{};
  std::array<std::uint8_t, 64> key_1{};  // data key, or entropy for it; AES-XTS-128 uses 16 bytes
  std::array<std::uint8_t, 64> key_2{};  // tweak key, or entropy for it
};
static_assert(sizeof(KeyProgram) == 192 && offsetof(KeyProgram, control) == 2 &&
              offsetof(KeyProgram, key_1) == 64 && offsetof(KeyProgram, key_2) == 128);

inline constexpr std::uint64_t key_program_alignment = 256;
inline constexpr std::uint64_t pconfig_key_program = 0;  // leaf, in RAX

// RAX after PCONFIG. ZF is set for all but `success`.
enum class PconfigStatus : std::uint8_t {
  success = 0,
  invalid_command = 1,
  entropy_error = 2,
  invalid_key_id = 3,
  invalid_algorithm = 4,
  device_busy = 5,
};

// An exception of the CPU instead of a result: #GP(0) is 13, #PF is 14.
struct CpuException {
  std::uint8_t vector = 0;
  friend bool operator==(CpuException, CpuException) = default;
};
inline constexpr CpuException general_protection{13};
inline constexpr CpuException page_fault{14};

class Tme {
 public:
  // `memory` and `tracer` outlive it. 1 <= key_id_bits <= 15. `seed` is the random number generator's.
  Tme(mem::Memory& memory, Tracer& tracer, unsigned key_id_bits, std::uint64_t seed);

  [[nodiscard]] TmeCapability capability() const { return capability_; }
  [[nodiscard]] TmeActivate activate() const { return activate_; }
  // What firmware wrote before it locked the MSR: for machines whose firmware did not enable TME.
  void set_activate(TmeActivate value) { activate_ = value; }

  // PCONFIG with RAX and RBX. `cpu` executes it at CPL 0. #GP(0) for a leaf that does not exist, TME not
  // locked or not enabled, a structure that is not aligned, and reserved bits; nothing is programmed then,
  // nor on any status but `success`. Contents of memory under a KeyID that gets another key become noise.
  Result<PconfigStatus, CpuException> pconfig(paging::Mmu& cpu, std::uint64_t rax, VirtAddr rbx);

  // The next PCONFIG that would succeed ends so instead: an entropy source that runs dry, a controller that
  // another package keeps busy.
  void fail_next(PconfigStatus status) { fail_next_ = status; }

 private:
  [[nodiscard]] PconfigStatus check(const KeyProgram& program) const;
  void install(const KeyProgram& program);

  mem::Memory* memory_;
  Tracer* tracer_;
  TmeCapability capability_;
  TmeActivate activate_;
  Random random_;
  PconfigStatus fail_next_ = PconfigStatus::success;
};

[[nodiscard]] std::string_view to_string(KeyCommand command);

}  // namespace cbit::machine
