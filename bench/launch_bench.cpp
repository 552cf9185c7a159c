// `cbit launch --check` on what is too large for people: a command line of many devices, and a device with
// many members in JSON. The time per item stays the same as the input grows.
//
// The peer of check_json is tree_of_json: the library's tree of the same text, which nobody judges.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <string>

#include "launch/findings_render.hpp"

namespace cbit {
namespace {

std::string command_of_devices(std::int64_t devices, std::string_view device) {
  std::string line =
      "qemu-system-x86_64 -accel kvm -machine q35,confidential-guest-support=sev0 -cpu EPYC-v4 -m 4G -object "
      "sev-guest,id=sev0,cbitpos=51,reduced-phys-bits=1,policy=0x1 -bios OVMF.fd -no-reboot";
  for (std::int64_t i = 0; i < devices; ++i) line += fmt::format(" -device {},id=d{}", device, i);
  return line;
}

void check_devices(benchmark::State& state, std::string_view device) {
  const std::string line = command_of_devices(state.range(0), device);
  for (auto _ : state) {
    launch::CheckReport report;
    report.config.command = *launch::parse_qemu_command(*launch::shell_words(line));
    report.findings = launch::judge(report.config, {});
    benchmark::DoNotOptimize(launch::to_text(report));
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK_CAPTURE(check_devices, network, "e1000")->Arg(5'000)->Arg(40'000)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(check_devices, vhost_user, "vhost-user-blk")
    ->Arg(5'000)
    ->Arg(40'000)
    ->Unit(benchmark::kMillisecond);

std::string json_of(std::int64_t keys) {
  std::string text = "{\"driver\":\"e1000\"";
  for (std::int64_t i = 0; i < keys; ++i) text += fmt::format(",\"a{}\":1", i);
  return text + '}';
}

void check_json(benchmark::State& state) {
  const std::vector<std::string> words{"qemu-system-x86_64", "-device", json_of(state.range(0))};
  for (auto _ : state) {
    launch::GuestConfig config;
    config.command = *launch::parse_qemu_command(words);
    benchmark::DoNotOptimize(launch::judge(config, {}));
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(check_json)->Arg(10'000)->Arg(80'000)->Unit(benchmark::kMillisecond);

void tree_of_json(benchmark::State& state) {
  const std::string text = json_of(state.range(0));
  for (auto _ : state) benchmark::DoNotOptimize(nlohmann::json::parse(text));
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(tree_of_json)->Arg(10'000)->Arg(80'000)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace cbit
