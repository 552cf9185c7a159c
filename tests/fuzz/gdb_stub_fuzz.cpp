// Bytes for the debugger's socket from anywhere: each packet is answered with one that can be framed, what is
// kept is bounded, and the machine goes on.
//
// The first byte chooses the machine. What follows is a stream of packets, or, where the second byte says so,
// the packets themselves, one a line.
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

#include "base/text.hpp"
#include "fuzz_input.hpp"
#include "gdb/packets.hpp"
#include "gdb/stub.hpp"
#include "support/guest_images.hpp"

namespace {

using namespace cbit;

constexpr std::size_t packets_max = 32;
constexpr std::uint64_t slice_ns = 2000;

void require(bool holds) {
  if (!holds) std::abort();
}

std::unique_ptr<guest::Pc> make_pc(FuzzInput& input) {
  const Platform platform = input.flag() ? Platform::sev : Platform::plain;
  auto pc = std::move(*guest::Pc::create({.platform = platform, .memory_bytes = 16 << 20}));
  const Bytes image = test::GuestCode{}.debug("hello").store(0x50'0000, 1).exit(0).multiboot();
  require(pc->load({.name = "image", .kernel = image, .command_line = ""}).has_value());
  return pc;
}

void require_sendable(const std::optional<std::string>& reply) {
  if (reply) require(reply->size() <= gdb::packet_bytes_max);
}

void go_on(guest::Pc& pc, gdb::Stub& stub) {
  if (stub.state() == gdb::Stub::State::steps) require_sendable(stub.step(slice_ns));
  if (stub.state() != gdb::Stub::State::runs) return;
  (void)pc.run(pc.clock().now_ns() + slice_ns);
  require_sendable(stub.look_for_stop());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzInput input{data, size};
  const auto pc = make_pc(input);
  const bool framed = input.flag();
  const std::string_view text{reinterpret_cast<const char*>(data), size};
  const std::string_view rest = text.substr(std::min<std::size_t>(2, text.size()));
  gdb::Stub stub{*pc, nullptr, [](std::string_view sent) { require(sent.size() <= gdb::packet_bytes_max); }};
  stub.attach();
  std::size_t packets = 0;
  const auto say = [&](std::string_view packet) {
    if (packets++ >= packets_max) return;
    require_sendable(stub.execute(packet));
    go_on(*pc, stub);
  };
  if (!framed) {
    for (const std::string_view line : lines_of(rest)) say(line);
    return 0;
  }
  gdb::PacketReader reader;
  for (const char byte : rest) {
    const auto arrival = reader.take(byte);
    if (!arrival) continue;
    if (arrival->kind == gdb::Arrival::Kind::packet) say(arrival->data);
    if (arrival->kind == gdb::Arrival::Kind::interrupt) require_sendable(stub.interrupt());
  }
  return 0;
}
