// A hostile host and a SCSI disk: commands of any bytes, with buffers of any size.
//
// Held: nothing crashes or runs long; the disk moves no byte outside of the buffers; what fails has a sense
// key; a read-only disk keeps its bytes.
#include <algorithm>

#include "dev/scsi/scsi_disk.hpp"
#include "fuzz_board.hpp"
#include "fuzz_input.hpp"

namespace cbit::dev {
namespace {

void run_commands(FuzzInput& input) {
  constexpr unsigned commands_max = 64;
  const Bytes contents = pattern_bytes(256 * 1024, 1);
  MemoryDisk disk{contents, input.flag()};
  ScsiDisk scsi{disk, std::string(input.below(scsi_serial_bytes + 1), 'x')};
  constexpr std::uint8_t opcodes[] = {0x00, 0x03, 0x12, 0x1a, 0x25, 0x28, 0x2a,
                                      0x35, 0x5a, 0x88, 0x8a, 0x91, 0x9e, 0xa0};
  for (unsigned n = 0; n < commands_max && !input.empty(); ++n) {
    std::array<std::byte, 32> cdb{};
    for (std::byte& one : cdb) one = input.below(3) == 0 ? std::byte{input.byte()} : std::byte{0};
    if (input.below(8) != 0) cdb[0] = std::byte{opcodes[input.below(std::size(opcodes))]};
    ScsiBuffers buffers{
        .in_bytes = input.below(4) == 0 ? input.byte() : input.take<std::uint32_t>() % 200'000,
        .out_bytes = input.take<std::uint32_t>() % 200'000,
        .give = {},
        .take = {}};
    buffers.give = [&](std::uint64_t offset, ConstByteSpan data) -> OrTrouble<void> {
      require(offset <= buffers.in_bytes && data.size() <= buffers.in_bytes - offset);
      return {};
    };
    buffers.take = [&](std::uint64_t offset, ByteSpan data) -> OrTrouble<void> {
      require(offset <= buffers.out_bytes && data.size() <= buffers.out_bytes - offset);
      std::ranges::fill(data, std::byte{0x77});
      return {};
    };
    const auto answer = scsi.execute(cdb, buffers);
    require(answer.has_value() && answer->given <= buffers.in_bytes && answer->taken <= buffers.out_bytes);
    require((answer->status == spec::scsi::status::good) == (answer->sense.key == 0));
  }
  if (disk.read_only()) require(std::ranges::equal(disk.contents(), contents));
}

}  // namespace
}  // namespace cbit::dev

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cbit;
  FuzzInput input{data, size};
  dev::run_commands(input);
  return 0;
}
