// Runs a program of the host and waits for it, but not for ever: what it writes and how long it takes have
// bounds, and whatever it started in its process group ends with it, also when a signal ends cbit
// (os/cleanup.hpp).
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace cbit::os {

struct ProgramCall {
  std::vector<std::string> words;
  std::vector<std::string> environment;  // "NAME=value", in place of the caller's own
  std::string folder;                    // where it runs; empty: here
  std::string package;                   // that has it, for the remedy where it cannot be started
  std::chrono::milliseconds time_max{600'000};
  // Bytes of its standard output and standard error that it may write; 0: they go nowhere.
  std::size_t output_max = 0;
  std::size_t errors_max = 0;
};

enum class ProgramFate : std::uint8_t { exited, killed, too_slow, too_much };

struct ProgramEnd {
  ProgramFate fate{};
  int status = 0;      // of exit(), or the signal that killed it
  std::string output;  // as far as it was read
  std::string errors;  // likewise

  [[nodiscard]] bool succeeded() const { return fate == ProgramFate::exited && status == 0; }
};

// Without input. Errors (bad_input): it cannot be started.
[[nodiscard]] OrError<ProgramEnd> run_program(const ProgramCall& call);

}  // namespace cbit::os
