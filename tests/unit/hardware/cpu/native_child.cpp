#include "native_child.hpp"

#include <csignal>
#include <cstring>

#if defined(__x86_64__) && defined(__linux__)

#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

extern "C" __attribute__((weak)) void __asan_init();

namespace cbit::test {
namespace {

constexpr std::size_t shared_bytes = NativeChild::code_bytes + NativeChild::data_bytes;

// Linux's selectors for user space: arch/x86/include/asm/segment.h.
constexpr std::uint16_t user_code_32 = 0x23;
// What POPF can set and ptrace cannot: arch/x86/kernel/ptrace.c: set_flags.
constexpr std::uint64_t flag_id = 1 << 21;
constexpr std::uint16_t user_data = 0x2b;
constexpr std::uint16_t user_code_64 = 0x33;

void* map(std::uint64_t at, std::size_t bytes, int protection, int file, off_t offset) {
  return mmap(reinterpret_cast<void*>(at), bytes, protection, MAP_SHARED | MAP_FIXED_NOREPLACE, file, offset);
}

[[noreturn]] void be_the_child(int file) {
  if (map(NativeChild::code_at, NativeChild::code_bytes, PROT_READ | PROT_EXEC, file, 0) == MAP_FAILED ||
      map(NativeChild::data_at, NativeChild::data_bytes, PROT_READ | PROT_WRITE, file,
          NativeChild::code_bytes) == MAP_FAILED ||
      ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0)
    _exit(1);
  raise(SIGSTOP);
  _exit(1);
}

// By isa::Gpr: Linux has them in another order.
constexpr std::size_t gpr_count = 16;
void copy_registers(user_regs_struct& from, std::array<std::uint64_t, gpr_count>& gpr, bool to_child) {
  unsigned long long* const order[gpr_count] = {
      &from.rax, &from.rcx, &from.rdx, &from.rbx, &from.rsp, &from.rbp, &from.rsi, &from.rdi,
      &from.r8,  &from.r9,  &from.r10, &from.r11, &from.r12, &from.r13, &from.r14, &from.r15};
  for (std::size_t i = 0; i < gpr_count; ++i) {
    if (to_child)
      *order[i] = gpr[i];
    else
      gpr[i] = *order[i];
  }
}

}  // namespace

std::unique_ptr<NativeChild> NativeChild::create() {
  // Its shadow memory is 16 TiB of addresses at which the child would not fault.
  if (__asan_init != nullptr) return nullptr;
  std::unique_ptr<NativeChild> child{new NativeChild};
  child->memory_ = memfd_create("cbit-native", MFD_CLOEXEC);
  if (child->memory_ < 0 || ftruncate(child->memory_, shared_bytes) != 0) return nullptr;
  void* shared = mmap(nullptr, shared_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, child->memory_, 0);
  if (shared == MAP_FAILED) return nullptr;
  child->shared_ = static_cast<std::byte*>(shared);
  if (!child->start()) return nullptr;
  return child;
}

NativeChild::~NativeChild() {
  stop();
  if (shared_ != nullptr) munmap(shared_, shared_bytes);
  if (memory_ >= 0) close(memory_);
}

bool NativeChild::start() {
  pid_ = fork();
  if (pid_ == 0) be_the_child(memory_);
  int status = 0;
  if (pid_ < 0 || waitpid(pid_, &status, 0) != pid_ || !WIFSTOPPED(status)) {
    pid_ = -1;
    return false;
  }
  // The child must not outlive a test program that is killed.
  ptrace(PTRACE_SETOPTIONS, pid_, nullptr, PTRACE_O_EXITKILL);
  return true;
}

void NativeChild::stop() {
  if (pid_ < 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

bool NativeChild::runs_32() {
  const std::byte dec_eax_int3[] = {std::byte{0x48}, std::byte{0xcc}};
  std::memcpy(code().data(), dec_eax_int3, sizeof dec_eax_int3);
  NativeState state{.rip = code_at, .rflags = 0x202, .is_32 = true};
  const auto end = run(state);
  return end && end->signal == SIGTRAP && state.gpr[0] == 0xffff'ffff;
}

std::optional<NativeEnd> NativeChild::run(NativeState& state) {
  // All that is not set here is as the child began.
  user_regs_struct regs{};
  copy_registers(regs, state.gpr, true);
  regs.rip = state.rip;
  regs.eflags = state.rflags;
  regs.cs = state.is_32 ? user_code_32 : user_code_64;
  regs.ss = user_data;
  regs.ds = regs.es = state.is_32 ? user_data : 0;
  regs.fs = regs.gs = 0;
  regs.fs_base = regs.gs_base = 0;
  regs.orig_rax = ~0ull;
  ptrace(PTRACE_SETREGS, pid_, nullptr, &regs);
  if (state.with_vectors) ptrace(PTRACE_SETFPREGS, pid_, nullptr, state.vectors.data());
  ptrace(PTRACE_CONT, pid_, nullptr, nullptr);
  int status = 0;
  if (waitpid(pid_, &status, 0) != pid_ || !WIFSTOPPED(status)) {
    pid_ = -1;
    start();
    return std::nullopt;
  }
  NativeEnd end{.signal = WSTOPSIG(status)};
  if (end.signal == SIGSEGV) {
    siginfo_t info{};
    ptrace(PTRACE_GETSIGINFO, pid_, nullptr, &info);
    end.address = reinterpret_cast<std::uint64_t>(info.si_addr);
    end.has_address = info.si_code != SI_KERNEL;
  }
  ptrace(PTRACE_GETREGS, pid_, nullptr, &regs);
  copy_registers(regs, state.gpr, false);
  state.rip = regs.rip;
  state.rflags = regs.eflags;
  if (state.with_vectors) ptrace(PTRACE_GETFPREGS, pid_, nullptr, state.vectors.data());
  if ((state.rflags & flag_id) != 0) {
    stop();
    start();
  }
  return end;
}

}  // namespace cbit::test

#else

namespace cbit::test {
std::unique_ptr<NativeChild> NativeChild::create() { return nullptr; }
NativeChild::~NativeChild() = default;
bool NativeChild::start() { return false; }
void NativeChild::stop() {}
bool NativeChild::runs_32() { return false; }
std::optional<NativeEnd> NativeChild::run(NativeState&) { return std::nullopt; }
}  // namespace cbit::test

#endif
