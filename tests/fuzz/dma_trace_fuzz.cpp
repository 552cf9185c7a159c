// Traces from anywhere: whatever the bytes, they are read in bounded memory, what is shown of them is
// printable, and no device has more than there were lines.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/safe_text.hpp"
#include "recording/recording.hpp"

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cbit;
  const std::string_view text{reinterpret_cast<const char*>(data), size};
  const OrError<recording::Recording> read = recording::read_recording(text, "input");
  if (!read) return 0;
  require(read->tally.events + read->tally.other_events <= read->tally.lines);
  require(read->devices.size() <= watch::DmaTrace::devices_max + 1);
  require(read->tally.lines <= size);
  for (const recording::DeviceReport& device : read->devices) {
    require(device.activity.bounces <= read->tally.lines);
    require(device.still_mapped <= device.activity.mappings);
  }
  require(is_safe_text(to_text(*read, false)));
  (void)to_json(*read);
  (void)to_html(*read);
  return 0;
}
