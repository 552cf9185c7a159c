// Any bytes as a recording of a run: refused with a name and a reason, or a file that, written again, is the
// same recording. Also with the sum that they should have had, so that it keeps nobody out.
#include <cstdint>
#include <cstdlib>
#include <sstream>
#include <string>

#include "crypt/sha256.hpp"
#include "gdb/keeper.hpp"
#include "guest/recording_file.hpp"

namespace {

using namespace cbit;

void look_at(ConstByteSpan bytes) {
  const auto file = guest::read_recording(bytes, "fuzz.rec");
  if (!file) {
    if (!file.error().message.starts_with("fuzz.rec: ")) std::abort();
    return;
  }
  std::ostringstream out;
  guest::RecordingWriter writer{out, file->header};
  for (const guest::Record& record : file->records) writer.add(record);
  writer.finish();
  const std::string text = out.str();
  const auto again = guest::read_recording(std::as_bytes(std::span{text}), "again.rec");
  if (!again || again->header != file->header || again->records != file->records) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ConstByteSpan bytes = std::as_bytes(std::span{data, size});
  look_at(bytes);
  Bytes summed{bytes.begin(), bytes.end()};
  const crypt::Sha256Digest sum = crypt::sha256(bytes);
  summed.insert(summed.end(), sum.begin(), sum.end());
  look_at(summed);
  if (const auto journey = gdb::Journey::from_bytes(bytes))
    if (!gdb::Journey::from_bytes(journey->to_bytes())) std::abort();
  return 0;
}
