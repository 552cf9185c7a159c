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

enum SlotKind : int { unused, reserved, file_name, folder_path, process_group };

// Plain memory: the handler may find it at any time. `kind` is written last.
struct Slot {
  std::atomic<int> kind{unused};
  int folder = -1;
  pid_t group = 0;
  std::array<char, PATH_MAX> name{};
};
static_assert(std::atomic<int>::is_always_lock_free);
Slot slots[slots_count];

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

void clean_up() {
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

void remove_tree(const char* path) { remove_at(AT_FDCWD, path, depth_max); }

}  // namespace cbit::os
