// The processor that the tests run on, as a judge: it executes one instruction on given registers.
//
// A stub is an instruction and a return. Its operands: ST(…), XMM0 or MM0 (first operand and result), XMM1 or
// MM1 (second), RAX, RCX, RDX, and 16 bytes of memory at RDI.
#pragma once

#include <array>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "cpu/fp/vec.hpp"

#if defined(__x86_64__)
#define CBIT_HOST_IS_X86 1
#else
#define CBIT_HOST_IS_X86 0
#endif

namespace cbit::cpu::fp::test {

// Offsets are known to host_cpu.cpp.
struct HostFrame {
  std::array<std::uint8_t, 112> x87{};  // FNSAVE, 32-bit protected layout; 108 bytes
  Vec128 xmm0;
  Vec128 xmm1;
  std::uint32_t mxcsr = 0x1f80;
  std::uint32_t fault = 0;  // 1: #XM
  std::uint64_t eflags = 0;
  std::uint64_t rax = 0;
  std::uint64_t rcx = 0;
  std::uint64_t rdx = 0;
  std::uint64_t unused = 0;
  Vec128 memory;
};
static_assert(sizeof(HostFrame) == 208);

using HostStub = void (*)();

[[nodiscard]] bool host_has_x87();
[[nodiscard]] bool host_has_sse42();

// Of a host that has it.
void run_x87_on_host(HostFrame& frame, HostStub stub);
void run_mmx_on_host(HostFrame& frame, HostStub stub);  // MM0, MM1 are the lower halves of xmm0, xmm1
// Catches #XM; the frame then has the registers as they were at the fault.
void run_sse_on_host(HostFrame& frame, HostStub stub);

#if CBIT_HOST_IS_X86
// The address of an instruction that stands in another section, followed by a return.
#define CBIT_HOST_STUB_AS(syntax_on, text, syntax_off)                               \
  [] {                                                                               \
    ::cbit::cpu::fp::test::HostStub stub;                                            \
    asm("lea 771f(%%rip), %0\n\t.pushsection .text.cbit_stubs,\"ax\"\n\t"            \
        ".balign 16\n771:\n\t" syntax_on text "\n\t" syntax_off "ret\n\t.popsection" \
        : "=r"(stub));                                                               \
    return stub;                                                                     \
  }()
#define CBIT_HOST_STUB(text) CBIT_HOST_STUB_AS(".intel_syntax noprefix\n\t", text, ".att_syntax prefix\n\t")
// The same with each of 256 immediates, 16 bytes apart. AT&T syntax; the immediate is $imm.
#define CBIT_HOST_STUBS(text)                                           \
  CBIT_HOST_STUB_AS(".set imm, 0\n\t.rept 256\n\t.balign 16\n\t", text, \
                    "\n\tret\n\t.set imm, imm + 1\n\t.endr\n\t")
#else
#define CBIT_HOST_STUB(text) nullptr
#define CBIT_HOST_STUBS(text) nullptr
#endif

[[nodiscard]] inline HostStub with_immediate(HostStub stubs, std::uint8_t immediate) {
  return reinterpret_cast<HostStub>(reinterpret_cast<std::uintptr_t>(stubs) + 16 * std::uintptr_t{immediate});
}

// How many random cases of each instruction are tried; CBIT_HOST_CASES overrides.
[[nodiscard]] inline std::uint64_t host_cases(std::uint64_t usual) {
  const char* const text = std::getenv("CBIT_HOST_CASES");
  return text != nullptr ? std::strtoull(text, nullptr, 10) : usual;
}

// Whether what the manuals leave undefined is compared as well: on processors of AMD's family 1Ah, whose it
// is. CBIT_HOST_UNDEFINED=0 or 1 overrides.
[[nodiscard]] bool compares_undefined();

}  // namespace cbit::cpu::fp::test
