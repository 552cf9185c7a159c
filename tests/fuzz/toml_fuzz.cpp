// Lab files from anywhere: whatever the text, it loads or is refused with an Error that names its place; and
// what loads runs to its end, whatever the driver, the devices and the host are told to do.
//
// An input that begins with a zero byte is no text but the choices of a writer who knows the keys and typical
// values, so that most of what it writes loads.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <string>
#include <string_view>

#include "fuzz_input.hpp"
#include "lab/experiment.hpp"
#include "lab/experiment/steps.hpp"

namespace cbit {
namespace {

constexpr lab::ExperimentLimits limits{.steps = 48, .devices = 4, .bytes = 1u << 20};

void require(bool holds) {
  if (!holds) std::abort();
}

struct Values {
  std::string_view key;
  std::array<std::string_view, 8> values;  // TOML; empty ones end the list
};

// Where several kinds of things have the same key, all their values are here.
constexpr Values typical[] = {
    {"name", {"'a'", "'b'", "'c'", "'d'", "'e'", "'f'"}},
    {"buffer", {"'a'", "'b'", "'c'", "'d'", "'e'", "'f'"}},
    {"mapping", {"'a'", "'b'", "'c'", "'d'", "'e'", "'f'"}},
    {"through", {"'a'", "'b'", "'c'", "'d'"}},
    {"ring", {"'a'", "'r'"}},
    {"from", {"'a'", "'b'", "'c'"}},
    {"to", {"'a'", "'b'", "'encrypted'", "'decrypted'"}},
    {"device", {"'nic'", "'nic2'", "'disk'"}},
    {"size", {"1", "512", "4096", "5000", "65536", "262144", "262145"}},
    {"offset", {"0", "1", "64", "1484", "4095", "4096", "100000"}},
    {"length", {"1", "64", "100", "4096", "262144", "300000"}},
    {"at", {"0", "'1M'", "'16M'", "'4G'", "'0xc0000000'", "'0xfffffffff000'"}},
    {"below", {"'1M'", "'16M'", "'4G'"}},
    {"slot", {"0", "1", "127", "511", "100000"}},
    {"sector", {"0", "1", "7", "100", "'0xffffffffffff'"}},
    {"how", {"'single'", "'page'", "'sg'", "'resource'", "'raw-phys'", "'raw-encrypted'"}},
    {"direction", {"'to-device'", "'from-device'", "'bidirectional'"}},
    {"attrs", {"'skip-cpu-sync'", "'no-kernel-mapping'", "'force-contiguous'", "['no-warn', 'privileged']"}},
    {"segments",
     {"[{ buffer = 'a' }]", "[{ buffer = 'a', length = 64 }, { buffer = 'b', offset = 1 }]",
      "[{ buffer = 'b' }, { buffer = 'b' }, { buffer = 'c' }]"}},
    {"protection", {"'encrypted'", "'decrypted'"}},
    {"data",
     {"{ fill = 0 }", "{ text = 'x' }", "{ pattern = 'device' }", "{ seed = 1, length = 300 }",
      "[{ fill = 1, length = 99 }, { pattern = 'cpu' }]"}},
    {"cpu-sees", {"'plaintext'", "'noise'", "{ pattern = 'cpu' }", "{ text = 'x' }"}},
    {"device-sees", {"'plaintext'", "'old'", "{ fill = 0 }"}},
    {"host-sees", {"'ciphertext'", "'zeros'"}},
    {"pool-sees", {"'plaintext'", "{ fill = 1, length = 10 }"}},
    {"causes", {"[]", "'missing-sync'"}},
};

std::string_view pick(FuzzInput& input, std::string_view key) {
  for (const Values& values : typical) {
    if (values.key != key) continue;
    const auto used = std::ranges::find(values.values, std::string_view{}) - values.values.begin();
    return values.values[input.below(static_cast<unsigned>(used))];
  }
  constexpr std::string_view any[] = {"true", "false", "0", "1", "2"};
  return any[input.below(5)];
}

std::string write_machine(FuzzInput& input) {
  constexpr std::string_view platforms[] = {"plain", "sme", "sev", "sev-es", "sev-snp", "tdx"};
  constexpr std::string_view iommus[] = {"none", "none", "passthrough", "translated"};
  constexpr std::string_view versions[] = {"6.1", "6.6", "6.10"};
  constexpr std::string_view pools[] = {"512", "2048,4", "512,force", "noforce"};
  constexpr std::string_view caches[] = {"coherent", "report", "bite"};
  const auto word = [&](const auto& words) {
    return std::string{words[input.below(static_cast<unsigned>(std::size(words)))]};
  };
  const std::string version = word(versions);
  std::string text = "title = 't'\n[machine]\nplatform = '" + word(platforms) + "'\niommu = '" +
                     word(iommus) + "'\nkernel-version = '" + version + "'\nswiotlb = '" + word(pools) +
                     "'\ncache = '" + word(caches) + "'\nmemory = '" + (input.flag() ? "64M" : "5G") +
                     "'\ncpus = 3\n";
  if (version != "6.1" && input.flag()) text += "swiotlb-dynamic = true\n";
  return text;
}

std::string write_devices(FuzzInput& input) {
  constexpr std::string_view masks[] = {"32", "36", "47", "48", "64"};
  std::string text = "[[device]]\nname = 'nic'\nmask = " + std::string{masks[input.below(5)]} +
                     "\ncoherent-mask = " + std::string{masks[input.below(5)]} + '\n';
  if (input.flag()) text += "min-align-mask = 4095\n";
  if (input.flag()) text += "untrusted = true\n";
  if (input.flag()) text += "seg-boundary = 65535\n";
  if (input.flag()) text += "[[device]]\nname = 'nic2'\nrestricted-pool = '1M'\n";
  if (!input.flag()) return text;
  text += "[[device]]\nname = 'disk'\nkind = 'virtio-blk'\n";
  for (const std::string_view key :
       {"access-platform", "acks-access-platform", "indirect", "restricted-check", "raw-addresses"})
    text += std::string{key} + (input.flag() ? " = true\n" : " = false\n");
  return text;
}

std::string write_step(FuzzInput& input) {
  const auto& kinds = lab::step_kinds();
  const lab::StepKind& kind = kinds[input.below(static_cast<unsigned>(kinds.size()))];
  std::string text = "[[step]]\ndo = '" + std::string{kind.name} + "'\n";
  const unsigned one_in = kind.keys.size() > 20 ? 12 : 2;
  for (const std::string_view key : kind.keys)
    if (input.below(one_in) == 0) text += std::string{key} + " = " + std::string{pick(input, key)} + '\n';
  return text;
}

// Steps that do not load are left out.
std::string write_file(FuzzInput& input) {
  std::string text = write_machine(input) + write_devices(input) +
                     "[[step]]\ndo = 'alloc'\nname = 'a'\nsize = 5000\noffset = 564\n"
                     "[[step]]\ndo = 'alloc-coherent'\ndevice = 'nic'\nname = 'b'\nsize = 4096\n"
                     "[[step]]\ndo = 'map'\ndevice = 'nic'\nname = 'a'\nbuffer = 'a'\n";
  for (std::size_t step = 3; step < limits.steps && !input.empty(); ++step) {
    const std::string more = text + write_step(input);
    if (lab::load_experiment(more, "fuzz.toml", limits)) text = more;
  }
  return text;
}

void try_text(std::string_view text) {
  const auto experiment = lab::load_experiment(text, "fuzz.toml", limits);
  if (!experiment) {
    require(experiment.error().message.starts_with("fuzz.toml:") && !experiment.error().hint.empty());
    return;
  }
  const auto result = lab::run_experiment(*experiment);
  if (!result) return require(result.error().message.starts_with("fuzz.toml:"));
  require(result->passed() == lab::failures_text(*experiment, *result).empty());
  // Once more without regard to failures, so that the steps behind them have their turn.
  const auto run = lab::Run::create(*experiment, nullptr);
  for (const lab::ExperimentStep& step : experiment->steps) (void)step.action(**run);
}

}  // namespace
}  // namespace cbit

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size != 0 && data[0] == 0) {
    cbit::FuzzInput input{data + 1, size - 1};
    cbit::try_text(cbit::write_file(input));
  } else {
    cbit::try_text({reinterpret_cast<const char*>(data), size});
  }
  return 0;
}
