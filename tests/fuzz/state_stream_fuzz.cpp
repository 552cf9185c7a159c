// The state of a machine with bytes of it changed, as a file of cbit run --snapshot has it: it is refused, or
// the machine has it, can be saved again, and runs. Nothing that is read ends the host.
//
// The first byte chooses platform, processors and devices; the rest is where bytes are changed.
#include <array>
#include <cstdlib>
#include <memory>

#include "base/state_stream.hpp"
#include "fuzz_input.hpp"
#include "guest/pc.hpp"
#include "patched_file.hpp"
#include "support/guest_images.hpp"

namespace {

using namespace cbit;

constexpr std::uint64_t run_ns = 100'000;
// A processor that was led astray meets new code all the time, which takes some microseconds each; so not all
// go on.
constexpr std::uint64_t behind_ns = 3'000;

void require(bool holds) {
  if (!holds) std::abort();
}

std::unique_ptr<guest::Pc> make_pc(unsigned kind) {
  constexpr std::array platforms{Platform::plain, Platform::sev, Platform::sme};
  const guest::PcConfig config{.platform = platforms[kind % 3],
                               .memory_bytes = 16 << 20,
                               .cpus = kind / 3 % 2 + 1,
                               .kvm_interface = kind % 3 == 1,
                               .translate_after = 0};
  auto pc = std::move(*guest::Pc::create(config));
  unsigned slot = 3;
  for (const std::string_view device : {"virtio-rng", "virtio-console,port=a,packed=on", "test-dma"})
    require(pc->plug(*machine::parse_device(device), slot++).has_value());
  return pc;
}

// What it is after a while, so that its timers run.
const Bytes& state_of(unsigned kind) {
  static std::array<Bytes, 6> states;
  Bytes& state = states[kind];
  if (!state.empty()) return state;
  const auto pc = make_pc(kind);
  const Bytes image = test::GuestCode{}.serial("x", 0x2f8).bytes({0xeb, 0xfe}).multiboot();  // jmp to itself
  require(pc->load({.name = "image", .kernel = image, .command_line = ""}).has_value());
  pc->run(run_ns);
  StateStream s;
  s(*pc);
  require(s.good());
  state = s.bytes();
  return state;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzInput input{data, size};
  const unsigned kind = input.below(6);
  const bool goes_on = input.below(16) == 0;
  const Bytes state = patched(state_of(kind), input);
  const auto pc = make_pc(kind);
  StateStream s{state};
  s(*pc);
  s.finish();
  if (!s.good()) return 0;
  StateStream again;
  again(*pc);
  require(again.good());
  if (goes_on) pc->run(pc->clock().now_ns() + behind_ns);
  return 0;
}
