// The commands of GDB's remote protocol, on a machine: packets in, replies out. A thread is a processor.
//
// Source: GDB's manual, appendix "GDB Remote Serial Protocol"; QEMU's packets for what a machine has and a
// process has not (docs/system/gdb.rst: PhyMemMode, sstep). All processors stop and go on together; while
// one steps, the others stand still. Whoever sends may be hostile: nothing is kept of a packet but what
// Target bounds. Threading: that of the machine.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "gdb/keeper.hpp"
#include "gdb/target.hpp"
#include "guest/monitor/monitor.hpp"

namespace cbit::gdb {

class Stub {
 public:
  // What the debugger wants of the machine now.
  enum class State : std::uint8_t { stopped, runs, steps, goes_back, killed };
  // Sends a packet of its own accord: the monitor's output.
  using Send = std::function<void(std::string_view data)>;

  // `knowledge` may be nullptr: nobody watches the kernel.
  Stub(guest::Pc& pc, const guest::KernelKnowledge* knowledge, Send send);

  // A reply, empty for what is not known; nullopt: it comes when the machine stops, or never.
  std::optional<std::string> execute(std::string_view packet);

  [[nodiscard]] State state() const { return state_; }
  [[nodiscard]] bool acknowledges() const { return acknowledges_; }

  // Somebody has attached: the machine stands still, and what the one before has set is gone.
  void attach();
  // Nobody is attached any more, and the machine runs.
  void let_go();
  // While it runs: what it has stopped for; nullopt: nothing.
  std::optional<std::string> look_for_stop();
  // While it steps: one instruction, or time up to so much; nullopt: it has not come to one.
  std::optional<std::string> step(std::uint64_t for_ns);
  // The machine replays: nothing but what was recorded happens, and there is a way back. A step is one of the
  // replay, interrupts and other processors' instructions included.
  void replay() { replays_ = true; }
  // Where a debugger wants to go back to, while State is goes_back.
  [[nodiscard]] const Journey& journey() const { return journey_; }
  // It has come there: what its debugger had set is set again.
  std::string arrive(const Journey& journey);
  // Likewise, for the time of the way.
  void set_points(const std::vector<Point>& points);
  [[nodiscard]] std::optional<Target::Stop> take_stop() { return target_.take_stop(); }
  [[nodiscard]] std::string describe(const Target::Stop& stop) const;
  // The replay is over, while a debugger is attached: nothing is behind here.
  std::string end_of_recording();
  [[nodiscard]] bool attached() const { return attached_; }
  // Ctrl-C; nullopt: the machine stands still already.
  std::optional<std::string> interrupt();

 private:
  using Reply = std::optional<std::string>;
  struct Command;
  struct Query;
  static std::span<const Command> commands();
  static std::span<const Query> queries();

  // stub_queries.cpp
  Reply query(std::string_view rest);
  Reply supported(std::string_view rest);
  Reply features(std::string_view rest);
  Reply first_threads(std::string_view rest);
  Reply no_more_threads(std::string_view rest);
  Reply thread_words(std::string_view rest);
  Reply current_thread(std::string_view rest);
  Reply attached(std::string_view rest);
  Reply no_acknowledgements(std::string_view rest);
  Reply monitor_command(std::string_view rest);
  Reply physical_mode(std::string_view rest);
  Reply set_physical_mode(std::string_view rest);
  Reply step_bits(std::string_view rest);
  Reply step_mode(std::string_view rest);
  Reply set_step_mode(std::string_view rest);

  Reply why_stopped(std::string_view rest);
  Reply all_registers(std::string_view rest);
  Reply set_all_registers(std::string_view rest);
  Reply one_register(std::string_view rest);
  Reply set_one_register(std::string_view rest);
  Reply memory(std::string_view rest);
  Reply set_memory(std::string_view rest);
  Reply set_memory_binary(std::string_view rest);
  Reply select_thread(std::string_view rest);
  Reply is_thread_alive(std::string_view rest);
  Reply go_on(std::string_view rest);
  Reply step_once(std::string_view rest);
  Reply resume(std::string_view rest);
  Reply reverse_step(std::string_view rest);
  Reply reverse_continue(std::string_view rest);
  Reply start_back(const Journey& journey);
  Reply start_step(std::size_t processor);
  Reply insert_point(std::string_view rest);
  Reply remove_point(std::string_view rest);
  Reply detach(std::string_view rest);
  Reply kill(std::string_view rest);
  Reply kill_process(std::string_view rest);

  [[nodiscard]] const Processor& selected() const { return target_.processors()[thread_]; }
  [[nodiscard]] Space space() const { return physical_ ? Space::physical : Space::linear; }
  // The processor of a thread's number in hex: 1 is processor 0; 0 and -1 are the selected one.
  [[nodiscard]] std::optional<std::size_t> processor_of(std::string_view thread) const;
  bool set_rip(std::string_view address);
  Reply start(State state, std::size_t processor);
  std::string stopped(unsigned signal, std::size_t processor, std::string_view reason = {});

  Target target_;
  guest::Monitor monitor_;
  Send send_;
  State state_ = State::runs;
  bool acknowledges_ = true;
  bool physical_ = false;
  bool reports_breaks_ = false;  // the debugger knows swbreak and hwbreak
  bool replays_ = false;
  bool attached_ = false;
  Journey journey_;
  unsigned step_mode_ = 0;
  std::size_t thread_ = 0;    // of registers and memory
  std::size_t stepping_ = 0;  // while it steps
  std::string last_stop_;
};

}  // namespace cbit::gdb
