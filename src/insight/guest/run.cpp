#include "guest/run.hpp"

#include <algorithm>
#include <iterator>
#include <limits>

namespace cbit::guest {
namespace {

using HostClock = std::chrono::steady_clock;

// How often the host's clock and its input are looked at: a few times a second.
constexpr std::uint64_t slice_ns = 20'000'000;
// With somebody at a terminal, who shall not have to wait for what a key does.
constexpr std::uint64_t interactive_slice_ns = 2'000'000;
// With frames that may come at any time.
constexpr std::uint64_t network_slice_ns = 500'000;
// With a journal: always the same.
constexpr std::uint64_t journal_slice_ns = 2'000'000;

SerialEnds with_journal(SerialEnds ends, Journal* journal, Source source) {
  if (journal == nullptr || !ends.input) return ends;
  ends.input = [journal, source, live = std::move(ends.input)]() -> std::optional<std::byte> {
    const Bytes answer = journal->ask(source, [&] {
      const auto byte = live();
      return byte ? Bytes{*byte} : Bytes{};
    });
    return answer.empty() ? std::nullopt : std::optional{answer.front()};
  };
  return ends;
}

class Runner {
 public:
  Runner(Pc& pc, const RunOptions& options)
      : pc_{pc},
        options_{options},
        com1_{with_journal(options.com1, options.journal, Source::com1)},
        com2_{with_journal(options.com2, options.journal, Source::com2)},
        debug_console_{options.debug_console},
        began_{HostClock::now()} {
    com1_.set_reader([this](std::string_view line) {
      report_.words.read(line);
      console_tests_.read(line);
    });
    com2_.set_reader([this](std::string_view line) { command_tests_.read(line); });
    if (options.journal != nullptr)
      options.journal->set_place([&pc] { return Journal::Stamp{pc.clock().now_ns(), pc.cpu().index()}; });
    pc_.chipset().com1().set_peer(&com1_);
    pc_.chipset().com2().set_peer(&com2_);
    pc_.chipset().debug_console().set_peer(&debug_console_);
    if (options_.handover == nullptr) return;
    com2_.set_source([this] { return options_.handover->next(); });
    if (!options_.handover->has_asked())
      com2_.set_request(Handover::request, [this] { pc_.request_pause(); });
  }
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;
  ~Runner() {
    pc_.chipset().com1().set_peer(nullptr);
    pc_.chipset().com2().set_peer(nullptr);
    pc_.chipset().debug_console().set_peer(nullptr);
  }

  RunReport run() {
    if (options_.handover != nullptr && options_.handover->has_asked()) give_command();
    while (!report_.trouble) {
      if (report_.ending || is_over()) {
        if (!options_.when_over || options_.when_over() == Wish::end) break;
        continue;
      }
      const Wish wish = ask();
      if (wish == Wish::end) {
        report_.ended_at_console = true;
        break;
      }
      if (wish == Wish::go_on)
        go_on();
      else if (options_.await_input)
        wait(std::chrono::nanoseconds{slice_ns}, false);
    }
    report_.recording_ended = !report_.ending && is_at_recordings_end();
    pc_.chipset().flush();
    report_.tests = command_tests_.finish();
    report_.tests += console_tests_.finish();
    report_.exit_status = pc_.exit_status();
    report_.instructions = pc_.instructions() - instructions_before_;
    report_.virtual_ns = pc_.clock().now_ns();
    report_.host_time = HostClock::now() - began_;
    report_.code = pc_.code().stats();
    report_.memory = pc_.machine().memory().stats();
    return report_;
  }

 private:
  // What has been transmitted so far is of the run that saves, and of none that goes on from there.
  [[nodiscard]] bool save() {
    com1_.flush();
    com2_.set_request({}, {});
    if (const auto saved = options_.handover->save(); !saved) {
      report_.trouble = saved.error();
      return false;
    }
    give_command();
    return true;
  }
  void give_command() {
    options_.handover->begin();
    pc_.chipset().com2().input_available();
  }

  [[nodiscard]] std::uint64_t left_ns(std::uint64_t now) const {
    const auto limit = options_.limits.virtual_ns;
    return limit ? *limit - std::min(*limit, now) : std::numeric_limits<std::uint64_t>::max();
  }
  [[nodiscard]] bool is_at_recordings_end() const {
    return options_.journal != nullptr && options_.journal->at_end();
  }
  [[nodiscard]] bool is_over() const {
    if (is_at_recordings_end() || (options_.journal != nullptr && options_.journal->failure())) return true;
    if (left_ns(pc_.clock().now_ns()) == 0) return true;
    return options_.limits.host_time && HostClock::now() - began_ >= *options_.limits.host_time;
  }

  [[nodiscard]] bool is_networked() const {
    return std::ranges::any_of(options_.networks, [](const auto* one) { return one->in_use(); });
  }
  [[nodiscard]] bool lives_in_host_time() const { return options_.await_input || is_networked(); }
  [[nodiscard]] std::uint64_t slice() const {
    if (options_.journal != nullptr) return options_.networks.empty() ? journal_slice_ns : network_slice_ns;
    if (is_networked()) return network_slice_ns;
    return options_.wishes.empty() ? slice_ns : interactive_slice_ns;
  }
  [[nodiscard]] Wish ask() const {
    Wish strongest = Wish::go_on;
    for (const auto& wish : options_.wishes) strongest = std::max(strongest, wish());
    return strongest;
  }

  void go_on() {
    const std::uint64_t now = pc_.clock().now_ns();
    if (options_.journal == nullptr || now >= slice_end_ns_)
      slice_end_ns_ = now + std::min(slice(), left_ns(now));
    const Pc::Progress done = pc_.run(slice_end_ns_, lives_in_host_time());
    report_.ending = done.ending;
    if (done.paused && !save()) return;
    // A debugger's stop is no time to ask: there is none in the next replay.
    if (done.debugger && options_.journal != nullptr && pc_.clock().now_ns() < slice_end_ns_) return;
    if (done.idle)
      idle();
    else if (is_networked())
      wait(std::chrono::nanoseconds{0}, true);
    look_around();
    if (options_.com1.input) pc_.chipset().com1().input_available();
    if (options_.com2.input) pc_.chipset().com2().input_available();
    if (options_.journal != nullptr) options_.journal->check();
  }

  void look_around() {
    const std::uint64_t now = pc_.clock().now_ns();
    if (!options_.now_and_then || now < next_look_ns_) return;
    next_look_ns_ = now + slice_ns;
    options_.now_and_then();
  }

  // At most so long, for input and, if they are served, for networks.
  void wait(std::chrono::nanoseconds most, bool serves_networks) {
    std::vector<dev::HostSide*> served;
    if (serves_networks)
      std::ranges::copy_if(options_.networks, std::back_inserter(served), &dev::HostSide::in_use);
    os::PollSet set;
    set.limit(most);
    if (options_.journal == nullptr || !options_.journal->replays()) {
      if (options_.await_input) options_.await_input(set);
      for (dev::HostSide* const network : served) network->prepare(set);
      set.wait();
    }
    for (dev::HostSide* const network : served) network->serve(set);
  }

  // As long as the host waits, time passes for the guest, up to its next deadline.
  void idle() {
    const std::uint64_t now = pc_.clock().now_ns();
    const std::uint64_t next = pc_.clock().next_deadline().value_or(now + slice_ns);
    const std::uint64_t most = std::min(next - std::min(next, now), slice_ns);
    const auto before = HostClock::now();
    wait(std::chrono::nanoseconds{most}, is_networked());
    const std::chrono::nanoseconds waited = HostClock::now() - before;
    pc_.clock().advance(journaled(std::min(most, static_cast<std::uint64_t>(waited.count()))));
  }
  [[nodiscard]] std::uint64_t journaled(std::uint64_t waited) const {
    if (options_.journal == nullptr) return waited;
    const Bytes answer = options_.journal->ask(Source::idle, [waited] {
      Bytes number;
      if (waited != 0) put_number(number, waited);
      return number;
    });
    ConstByteSpan rest{answer};
    return take_number(rest).value_or(0);
  }

  Pc& pc_;
  const RunOptions& options_;
  Console com1_;
  Console com2_;
  Console debug_console_;
  HostClock::time_point began_;
  std::uint64_t instructions_before_ = pc_.instructions();
  std::uint64_t next_look_ns_ = 0;
  std::uint64_t slice_end_ns_ = 0;
  KtapReader console_tests_;
  KtapReader command_tests_;
  RunReport report_;
};

}  // namespace

std::string_view to_string(Ending ending) {
  switch (ending) {
    case Ending::powered_off: return "powered off";
    case Ending::exited: return "ended by the debug exit";
    case Ending::reset: return "reset";
    case Ending::shutdown: return "shut down by a triple fault";
    case Ending::init: return "had an INIT, and no firmware is at the reset vector to go on with";
    case Ending::hung: return "halted for ever";
    case Ending::differed: return "did not do what the interpreter does";
  }
  return "?";
}

RunReport run(Pc& pc, const RunOptions& options) { return Runner{pc, options}.run(); }

}  // namespace cbit::guest
