// A run from the first instruction to the end, bounded in the host's time.
//
// Threading: one thread, that of the machine.
#pragma once

#include <chrono>
#include <functional>
#include <vector>

#include "dev/host_side.hpp"
#include "guest/console.hpp"
#include "guest/handover.hpp"
#include "guest/journal.hpp"
#include "guest/ktap.hpp"
#include "guest/pc.hpp"
#include "os/poll_set.hpp"

namespace cbit::guest {

struct RunLimits {
  std::optional<std::chrono::nanoseconds> host_time;
  std::optional<std::uint64_t> virtual_ns;
};

// What somebody at the console, or with a debugger, wants of the machine. The strongest comes last.
enum class Wish : std::uint8_t { go_on, stand_still, end };

struct RunOptions {
  RunLimits limits;
  SerialEnds com1;           // ttyS0: the console
  SerialEnds com2;           // ttyS1
  SerialEnds debug_console;  // port E9h
  // Somebody sits at the console: virtual time does not run ahead of the host's while the guest is idle.
  // Adds what input comes from, which ends the wait.
  std::function<void(os::PollSet&)> await_input;
  // What network and socket devices are connected to, whose other side lives in the host's time: once one of
  // them has a driver, the guest's does not run ahead of it. They outlive the run.
  std::vector<dev::HostSide*> networks;
  // For a guest that asks for its command; outlives the run. nullptr: it has one.
  Handover* handover = nullptr;
  // What comes from outside is written down there, or comes from there (guest/journal.hpp), in which case
  // nothing is waited for. Virtual time is cut into slices of one length then, so that the same is asked at
  // the same time whatever the host does; input and network are asked for if they are here. nullptr: neither.
  Journal* journal = nullptr;
  // Asked when the run is over, until it answers `end`: a debugger may want to look. Empty: it ends.
  std::function<Wish()> when_over;
  // All are asked all the time, and when a debugger is to be told of something. While one says stand_still,
  // no virtual time passes, and input is waited for.
  std::vector<std::function<Wish()>> wishes;
  // Called some fifty times in a second of virtual time, between two instructions.
  std::function<void()> now_and_then;
};

struct RunReport {
  std::optional<Ending> ending;  // nullopt: a limit was reached, or it was ended from the console
  bool ended_at_console = false;
  std::optional<Error> trouble;  // the machine was to be saved, and could not be: it ended there
  bool recording_ended = false;  // of a replay: somebody ended it there
  std::uint32_t exit_status = 0;
  LinuxWords words;
  KtapResults tests;  // on either serial port
  std::uint64_t instructions = 0;
  std::uint64_t virtual_ns = 0;
  std::chrono::nanoseconds host_time{};
  cpu::CodeCacheStats code;
  mem::MemoryStats memory;
};

[[nodiscard]] std::string_view to_string(Ending ending);

// `pc` has been loaded, and is not run before.
RunReport run(Pc& pc, const RunOptions& options);

}  // namespace cbit::guest
