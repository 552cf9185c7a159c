// A child process in which instructions run on the host's own processor, one sequence at a time.
//
// Memory is shared: code at code_at, data at data_at (with nothing around them), at the same addresses in the
// child. A sequence ends at INT3 or by a fault, and everything is as the host's processor left it.
// Only on an x86-64 host that allows ptrace, without AddressSanitizer: create() gives nullptr elsewhere.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "isa/registers.hpp"

namespace cbit::test {

struct NativeState {
  std::array<std::uint64_t, 16> gpr{};  // by isa::Gpr
  std::uint64_t rip = 0;
  std::uint64_t rflags = 0;
  bool is_32 = false;  // compatibility mode

  // x87, MMX and SSE state, in FXSAVE's format; used where `with_vectors`.
  bool with_vectors = false;
  alignas(16) std::array<std::byte, 512> vectors{};
};

// How a sequence ended: a signal of Linux, and what it tells.
struct NativeEnd {
  int signal = 0;
  std::uint64_t address = 0;  // si_addr
  bool has_address = false;   // of an access: the kernel knows one
};

class NativeChild {
 public:
  static constexpr std::uint64_t code_at = 0x1000'0000;
  static constexpr std::size_t code_bytes = 0x1000;
  static constexpr std::uint64_t data_at = 0x2000'0000;
  static constexpr std::size_t data_bytes = 0x3000;

  // nullptr: not here.
  static std::unique_ptr<NativeChild> create();
  ~NativeChild();
  NativeChild(const NativeChild&) = delete;
  NativeChild& operator=(const NativeChild&) = delete;

  // Not every kernel lets a program run 32-bit code.
  [[nodiscard]] bool runs_32();

  [[nodiscard]] std::span<std::byte> code() { return {shared_, code_bytes}; }
  [[nodiscard]] std::span<std::byte> data() { return {shared_ + code_bytes, data_bytes}; }

  // nullopt: the child died, and there is a new one.
  std::optional<NativeEnd> run(NativeState& state);

 private:
  NativeChild() = default;
  bool start();
  void stop();

  std::byte* shared_ = nullptr;
  int memory_ = -1;
  int pid_ = -1;
};

}  // namespace cbit::test
