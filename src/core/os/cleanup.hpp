// What a signal that ends the program must not leave behind: temporary files and folders, programs that were
// started, and a terminal's settings. The one place that says which signals those are: INT, TERM, HUP and
// QUIT, and what else somebody or a limit sends to end a program (ALRM, USR1, USR2, XCPU).
//
// Nothing is caught before clean_up_on_signals(), which a library must not call. Then such a signal kills and
// removes what is registered and ends the program as it would have without; signals that were ignored at the
// start (nohup) stay ignored. The handlers make system calls only, all of them async-signal-safe
// (signal-safety(7)).
//
// A terminal gets its settings back also from a crash, and while the program is stopped (TSTP); when it goes
// on in the foreground (CONT), it sets them again. These signals are caught once a terminal is registered.
//
// Threading: any; a signal that comes while another thread registers misses at most that one thing.
#pragma once

#include <signal.h>
#include <sys/types.h>
#include <termios.h>

#include <string>
#include <string_view>

namespace cbit::os {

void clean_up_on_signals();

// Registers one thing for as long as it lives. It does not remove it at the end: whoever made it does. Where
// the table is full or a name too long, nothing is registered.
class Cleanup {
 public:
  Cleanup() = default;
  // A file's name in a folder that stays open.
  static Cleanup file(int folder, std::string_view name);
  // A folder with everything in it.
  static Cleanup folder(std::string_view path);
  // A process group of ours, whose leader is our child.
  static Cleanup group(pid_t leader);
  // A terminal that stays open: what it is given back, and what it has as long as this lives.
  static Cleanup terminal(int fd, const termios& before, const termios& during);

  Cleanup(Cleanup&& other) noexcept;
  Cleanup& operator=(Cleanup&& other) noexcept;
  ~Cleanup() { forget(); }
  void forget();

 private:
  explicit Cleanup(int slot) : slot_{slot} {}
  int slot_ = -1;
};

// Holds these signals back while it lives: making a thing and registering it are one step.
class SignalsHeld {
 public:
  SignalsHeld();
  SignalsHeld(const SignalsHeld&) = delete;
  SignalsHeld& operator=(const SignalsHeld&) = delete;
  ~SignalsHeld();

 private:
  sigset_t before_;
};

// Sets a terminal, at once, unless another job has it in the foreground. Async-signal-safe.
void set_terminal(int fd, const termios& to);

// Removes a file, or a folder and what is in it, without following links. Async-signal-safe.
void remove_tree(const char* path);

}  // namespace cbit::os
