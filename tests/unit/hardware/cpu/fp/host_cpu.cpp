#include "host_cpu.hpp"

#if CBIT_HOST_IS_X86

#include <cpuid.h>
#include <ucontext.h>

#include <csignal>
#include <cstddef>

namespace cbit::cpu::fp::test {

static_assert(offsetof(HostFrame, xmm0) == 112 && offsetof(HostFrame, mxcsr) == 144);
static_assert(offsetof(HostFrame, eflags) == 152 && offsetof(HostFrame, memory) == 192);

// void run(HostFrame* rdi, HostStub rsi). The stub finds RDI at the frame's memory.
asm(R"(
  .pushsection .text
  .macro cbit_host_enter
    push %rbx
    mov %rdi, %rbx
    mov %rsi, %r11
    lea 192(%rbx), %rdi
    mov 160(%rbx), %rax
    mov 168(%rbx), %rcx
    mov 176(%rbx), %rdx
    push 152(%rbx)
    popfq
  .endm
  .macro cbit_host_leave
    pushfq
    pop %r10
    mov %r10, 152(%rbx)
    mov %rax, 160(%rbx)
    mov %rcx, 168(%rbx)
    mov %rdx, 176(%rbx)
    pop %rbx
    ret
  .endm

  .balign 16
cbit_host_run_x87:
    cbit_host_enter
    frstor (%rbx)
    call *%r11
    fnsave (%rbx)
    cbit_host_leave

  .balign 16
cbit_host_run_mmx:
    cbit_host_enter
    movups 112(%rbx), %xmm0
    movups 128(%rbx), %xmm1
    movq 112(%rbx), %mm0
    movq 128(%rbx), %mm1
    ldmxcsr 144(%rbx)
    call *%r11
    stmxcsr 144(%rbx)
    movups %xmm0, 112(%rbx)
    movq %mm0, 128(%rbx)
    emms
    cbit_host_leave

  .balign 16
cbit_host_run_sse:
    cbit_host_enter
    movups 112(%rbx), %xmm0
    movups 128(%rbx), %xmm1
    ldmxcsr 144(%rbx)
    call *%r11
    stmxcsr 144(%rbx)
    movups %xmm0, 112(%rbx)
    cbit_host_leave
  .popsection
)");

extern "C" {
void cbit_host_run_x87(HostFrame* frame, HostStub stub);
void cbit_host_run_mmx(HostFrame* frame, HostStub stub);
void cbit_host_run_sse(HostFrame* frame, HostStub stub);
}

namespace {

constexpr std::uint32_t usual_mxcsr = 0x1f80;

std::uint32_t exchange_mxcsr(std::uint32_t value) {
  std::uint32_t old = 0;
  asm volatile("stmxcsr %0" : "=m"(old));
  asm volatile("ldmxcsr %0" : : "m"(value));
  return old;
}

volatile std::sig_atomic_t faults = 0;

// The faulting instruction is the first of its stub: returning from the stub goes on behind it.
void on_fault(int, siginfo_t*, void* context) {
  auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  registers[REG_RIP] = *reinterpret_cast<const greg_t*>(registers[REG_RSP]);
  registers[REG_RSP] += 8;
  faults = 1;
}

class CatchFaults {
 public:
  CatchFaults() {
    struct sigaction action{};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGFPE, &action, &before_);
  }
  ~CatchFaults() { sigaction(SIGFPE, &before_, nullptr); }
  CatchFaults(const CatchFaults&) = delete;
  CatchFaults& operator=(const CatchFaults&) = delete;

 private:
  struct sigaction before_{};
};

}  // namespace

void run_x87_on_host(HostFrame& frame, HostStub stub) { cbit_host_run_x87(&frame, stub); }

void run_mmx_on_host(HostFrame& frame, HostStub stub) {
  cbit_host_run_mmx(&frame, stub);
  exchange_mxcsr(usual_mxcsr);
}

void run_sse_on_host(HostFrame& frame, HostStub stub) {
  if ((frame.mxcsr & 0x1f80) == 0x1f80) {
    cbit_host_run_sse(&frame, stub);
  } else {
    const CatchFaults catching;
    faults = 0;
    cbit_host_run_sse(&frame, stub);
    frame.fault = static_cast<std::uint32_t>(faults);
  }
  exchange_mxcsr(usual_mxcsr);
}

namespace {

// CPUID 0000_0001 EAX: family and extended family. AMD APM vol. 3, appendix E.
bool is_amd_family_1ah() {
  constexpr unsigned auth = 0x68747541;
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid(0, &a, &b, &c, &d) == 0 || b != auth) return false;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0) return false;
  return (a >> 8 & 0xf) + (a >> 20 & 0xff) == 0x1a;
}

}  // namespace

bool host_has_x87() { return true; }
bool host_has_sse42() { return __builtin_cpu_supports("sse4.2") != 0; }

bool compares_undefined() {
  const char* const text = std::getenv("CBIT_HOST_UNDEFINED");
  static const bool is_model = is_amd_family_1ah();
  return text != nullptr ? text[0] == '1' : is_model;
}

}  // namespace cbit::cpu::fp::test

#else

namespace cbit::cpu::fp::test {

bool host_has_x87() { return false; }
bool host_has_sse42() { return false; }
bool compares_undefined() { return false; }
void run_x87_on_host(HostFrame&, HostStub) {}
void run_mmx_on_host(HostFrame&, HostStub) {}
void run_sse_on_host(HostFrame&, HostStub) {}

}  // namespace cbit::cpu::fp::test

#endif
