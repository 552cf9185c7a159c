#include "os/cleanup.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <climits>
#include <cstdint>
#include <cstring>
#include <utility>

namespace cbit::os {
namespace {

// Those of signal(7) that somebody sends and that end a program; crashes are not among them.
constexpr int ending_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGALRM, SIGUSR1, SIGUSR2, SIGXCPU};
constexpr std::size_t slots_count = 32;
constexpr int depth_max = 128;  // of a temporary folder; a capture's has at most 64

// What ends a program that went wrong.
constexpr int crash_signals[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};

enum SlotKind : int { unused, reserved, file_name, folder_path, process_group, terminal_settings };

// Plain memory: the handler may find it at any time. `kind` is written last.
struct Slot {
  std::atomic<int> kind{unused};
  int folder = -1;
  pid_t group = 0;
  int terminal = -1;
  termios before{};
  termios during{};
  std::array<char, PATH_MAX> name{};
};
static_assert(std::atomic<int>::is_always_lock_free);
Slot slots[slots_count];
std::atomic<bool> catching{false};

int reserve() {
  for (std::size_t i = 0; i < slots_count; ++i) {
    int expected = unused;
    if (slots[i].kind.compare_exchange_strong(expected, reserved)) return static_cast<int>(i);
  }
  return -1;
}

int reserve_for(std::string_view name) {
  if (name.empty() || name.size() >= PATH_MAX) return -1;
  const int slot = reserve();
  if (slot < 0) return -1;
  std::array<char, PATH_MAX>& to = slots[slot].name;
  std::memcpy(to.data(), name.data(), name.size());
  to[name.size()] = '\0';
  return slot;
}

// What getdents64() writes (Linux 2.4 and later).
struct Entry {
  std::uint64_t ino;
  std::int64_t off;
  unsigned short record_bytes;
  unsigned char type;
  char name[1];
};

bool is_dots(const char* name) {
  return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

void remove_at(int folder, const char* name, int depth);

// One pass over a folder; true: an entry went.
bool remove_entries(int fd, int depth) {
  alignas(Entry) std::array<char, 4096> buffer;
  bool removed = false;
  ::lseek(fd, 0, SEEK_SET);
  for (;;) {
    const long n = ::syscall(SYS_getdents64, fd, buffer.data(), buffer.size());
    if (n <= 0) return removed;
    for (long at = 0; at < n;) {
      const auto* const entry = reinterpret_cast<const Entry*>(buffer.data() + at);
      at += entry->record_bytes;
      if (is_dots(entry->name)) continue;
      remove_at(fd, entry->name, depth - 1);
      removed |= ::faccessat(fd, entry->name, F_OK, AT_SYMLINK_NOFOLLOW) != 0;
    }
  }
}

void remove_at(int folder, const char* name, int depth) {
  if (depth == 0 || ::unlinkat(folder, name, 0) == 0) return;
  const int fd = ::openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return;
  // What is removed while a folder is read may hide others from it.
  while (remove_entries(fd, depth)) {
  }
  ::close(fd);
  ::unlinkat(folder, name, AT_REMOVEDIR);
}

// It must not go on writing into what is removed next.
void kill_group(pid_t leader) {
  constexpr int waits = 100, wait_ms = 10;
  ::kill(-leader, SIGKILL);
  for (int i = 0; i < waits && ::waitpid(leader, nullptr, WNOHANG) == 0; ++i) ::poll(nullptr, 0, wait_ms);
}

void set_terminals(const termios Slot::* settings) {
  for (const Slot& slot : slots)
    if (slot.kind == terminal_settings) set_terminal(slot.terminal, slot.*settings);
}

void clean_up() {
  set_terminals(&Slot::before);
  for (const Slot& slot : slots)
    if (slot.kind == process_group) kill_group(slot.group);
  for (const Slot& slot : slots) {
    if (slot.kind == file_name) ::unlinkat(slot.folder, slot.name.data(), 0);
    if (slot.kind == folder_path) remove_tree(slot.name.data());
  }
}

extern "C" void clean_up_and_end(int number) {
  const int error = errno;
  clean_up();
  ::signal(number, SIG_DFL);
  ::raise(number);  // held back until this handler returns
  errno = error;
}

// Reset to what it was without, by SA_RESETHAND: the crash comes again.
extern "C" void restore_terminals(int) {
  const int error = errno;
  set_terminals(&Slot::before);
  errno = error;
}

extern "C" void go_on(int) {
  const int error = errno;
  set_terminals(&Slot::during);
  errno = error;
}

void catch_signal(int number, void (*handler)(int), int flags) {
  struct sigaction before{};
  ::sigaction(number, nullptr, &before);
  if (before.sa_handler != SIG_DFL) return;
  struct sigaction action{};
  action.sa_handler = handler;
  action.sa_flags = flags;
  ::sigaction(number, &action, nullptr);
}

extern "C" void stop_here(int number) {
  const int error = errno;
  set_terminals(&Slot::before);
  ::signal(number, SIG_DFL);
  ::raise(number);
  sigset_t only, held;
  sigemptyset(&only);
  sigaddset(&only, number);
  ::pthread_sigmask(SIG_UNBLOCK, &only, &held);  // stops; in an orphaned process group it does not
  ::pthread_sigmask(SIG_SETMASK, &held, nullptr);
  catch_signal(number, stop_here, SA_RESTART);
  set_terminals(&Slot::during);
  errno = error;
}

sigset_t set_of_ending_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : ending_signals) sigaddset(&set, number);
  return set;
}

}  // namespace

void clean_up_on_signals() {
  struct sigaction action{};
  action.sa_handler = clean_up_and_end;
  action.sa_mask = set_of_ending_signals();
  for (const int number : ending_signals) {
    struct sigaction before{};
    ::sigaction(number, nullptr, &before);
    if (before.sa_handler != SIG_IGN) ::sigaction(number, &action, nullptr);
  }
  catching = true;
}

Cleanup Cleanup::file(int folder, std::string_view name) {
  const int slot = reserve_for(name);
  if (slot >= 0) {
    slots[slot].folder = folder;
    slots[slot].kind = file_name;
  }
  return Cleanup{slot};
}

Cleanup Cleanup::folder(std::string_view path) {
  const int slot = reserve_for(path);
  if (slot >= 0) slots[slot].kind = folder_path;
  return Cleanup{slot};
}

Cleanup Cleanup::group(pid_t leader) {
  const int slot = leader > 1 ? reserve() : -1;
  if (slot >= 0) {
    slots[slot].group = leader;
    slots[slot].kind = process_group;
  }
  return Cleanup{slot};
}

Cleanup Cleanup::terminal(int fd, const termios& before, const termios& during) {
  const int slot = reserve();
  if (slot < 0) return Cleanup{slot};
  slots[slot].terminal = fd;
  slots[slot].before = before;
  slots[slot].during = during;
  slots[slot].kind = terminal_settings;
  if (catching) {
    for (const int number : crash_signals) catch_signal(number, restore_terminals, SA_RESETHAND);
    catch_signal(SIGTSTP, stop_here, SA_RESTART);
    catch_signal(SIGCONT, go_on, SA_RESTART);
  }
  return Cleanup{slot};
}

Cleanup::Cleanup(Cleanup&& other) noexcept : slot_{std::exchange(other.slot_, -1)} {}

Cleanup& Cleanup::operator=(Cleanup&& other) noexcept {
  std::swap(slot_, other.slot_);
  return *this;
}

void Cleanup::forget() {
  if (slot_ >= 0) slots[std::exchange(slot_, -1)].kind = unused;
}

SignalsHeld::SignalsHeld() {
  const sigset_t held = set_of_ending_signals();
  ::pthread_sigmask(SIG_BLOCK, &held, &before_);
}

SignalsHeld::~SignalsHeld() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

void set_terminal(int fd, const termios& to) {
  const pid_t foreground = ::tcgetpgrp(fd);
  if (foreground >= 0 && foreground != ::getpgrp()) return;
  // Should another job get it at this very moment, TTOU must not stop a program that ends.
  sigset_t only, held;
  sigemptyset(&only);
  sigaddset(&only, SIGTTOU);
  ::pthread_sigmask(SIG_BLOCK, &only, &held);
  ::tcsetattr(fd, TCSANOW, &to);
  ::pthread_sigmask(SIG_SETMASK, &held, nullptr);
}

void remove_tree(const char* path) { remove_at(AT_FDCWD, path, depth_max); }

}  // namespace cbit::os
