#include "cli/run_hostile.hpp"

#include <fmt/format.h>
#include <fmt/ostream.h>

#include "base/safe_text.hpp"
#include "base/text.hpp"
#include "base/words.hpp"
#include "boot/files.hpp"

namespace cbit::cli {
namespace {

constexpr std::uint64_t every_max = 1'000'000'000;
constexpr std::string_view usage =
    "use SEED[,by=device|host|both][,every=BUFFERS][,every-us=TIME][,from=SECONDS]";

OrError<std::uint64_t> number_of(std::string_view name, std::string_view value, std::uint64_t min) {
  const auto number = decimal(value);
  if (number && *number >= min && *number <= every_max) return *number;
  return usage_error(fmt::format("--hostile: {} is no number for {}", safe_line(value), name),
                     fmt::format("use {} to {}", min, every_max));
}

OrError<void> set(guest::HostilePlan& plan, std::string_view name, std::string_view value) {
  if (name == "by" && (value == "device" || value == "host" || value == "both")) {
    plan.by_devices = value != "host";
    plan.by_host = value != "device";
  } else if (name == "every") {
    plan.every = CBIT_TRY(number_of(name, value, 1));
  } else if (name == "every-us") {
    plan.every_ns = CBIT_TRY(number_of(name, value, 1)) * 1000;
  } else if (name == "from") {
    plan.from_ns = CBIT_TRY(number_of(name, value, 0)) * ns_per_second;
  } else {
    return usage_error(fmt::format("--hostile: {}={} is no option of it", safe_line(name), safe_line(value)),
                       std::string{usage});
  }
  return {};
}

OrError<guest::HostilePlan> plan_of(std::string_view words) {
  guest::HostilePlan plan;
  const std::string_view seed = words.substr(0, words.find(','));
  const auto number = parse_number(seed);
  if (!number)
    return usage_error(fmt::format("--hostile: {} is no seed", safe_line(seed)), std::string{usage});
  plan.seed = *number;
  words.remove_prefix(seed.size());
  while (!words.empty()) {
    words.remove_prefix(1);
    const std::string_view option = words.substr(0, words.find(','));
    const std::size_t equals = std::min(option.find('='), option.size());
    CBIT_TRY(set(plan, option.substr(0, equals), option.substr(std::min(equals + 1, option.size()))));
    words.remove_prefix(option.size());
  }
  return plan;
}

OrError<guest::HostilePlan> plan_of_script(const std::string& file) {
  const Bytes contents = CBIT_TRY(boot::read_file(file));
  auto acts = guest::parse_hostile_script({reinterpret_cast<const char*>(contents.data()), contents.size()});
  if (acts) return guest::HostilePlan{.script = std::move(*acts)};
  acts.error().message = fmt::format("{}: {}", safe_line(file), acts.error().message);
  return tl::unexpected{std::move(acts.error())};
}

}  // namespace

OrError<std::unique_ptr<RunHostile>> RunHostile::open(const Arguments& arguments) {
  std::unique_ptr<RunHostile> run{new RunHostile};
  const auto words = arguments.text("--hostile");
  const auto script = arguments.text("--hostile-script");
  if (words && script)
    return usage_error("--hostile and --hostile-script contradict each other",
                       "a script has its own acts, and no seed");
  if (words) run->plan_ = CBIT_TRY(plan_of(*words));
  if (script) run->plan_ = CBIT_TRY(plan_of_script(std::string{*script}));
  const auto log = arguments.text("--hostile-log");
  if (log && !run->plan_) return usage_error("--hostile-log: nobody attacks the guest", "add --hostile SEED");
  if (log) run->log_.emplace(CBIT_TRY(os::OutputFile::create(std::string{*log})));
  return run;
}

std::unique_ptr<guest::Hostile> RunHostile::attach(guest::Pc& pc) {
  if (!plan_) return nullptr;
  std::function<void(const guest::HostileAct&)> told;
  if (log_) told = [this](const guest::HostileAct& act) { log_->stream() << to_string(act) << '\n'; };
  return std::make_unique<guest::Hostile>(pc, std::move(*plan_), std::move(told));
}

OrError<void> RunHostile::finish(const guest::Hostile* hostile, guest::Pc& pc, std::ostream& err) {
  if (hostile == nullptr) return {};
  fmt::print(err, "cbit: {} hostile acts, {} accesses of them refused\n", hostile->acts(),
             hostile->refused());
  const std::uint64_t now = pc.clock().now_ns();
  for (const guest::Hostile::Done& done : hostile->last())
    fmt::print(err, "cbit: {:.3f} ms before the end: {}\n", static_cast<double>(now - done.at_ns) / 1e6,
               to_string(done.act));
  if (log_) CBIT_TRY(log_->commit());
  return {};
}

}  // namespace cbit::cli
