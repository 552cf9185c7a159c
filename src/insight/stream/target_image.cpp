#include "stream/target_image.hpp"

#include "os/input_file.hpp"
#include "stream/source_image.hpp"

namespace cbit::stream {

OrError<TargetImage> TargetImage::choose(const std::string& wanted, const os::TemporaryFolder& folder) {
  const bool into = !wanted.empty() && os::is_written_into(wanted);
  TargetImage target{wanted.empty() || into ? folder.path() + "/target.img" : wanted};
  if (into) target.into_.emplace(CBIT_TRY(os::OutputFile::create(wanted)));
  return target;
}

OrError<void> TargetImage::deliver() {
  if (!into_) return {};
  os::InputFile image = CBIT_TRY(os::InputFile::open(
      path_, {.what = "an image", .remedy = "TMPDIR needs room", .bytes_max = image_bytes_max}));
  Bytes chunk(1 << 20);
  for (;;) {
    const std::size_t n = CBIT_TRY(image.read(chunk));
    if (n == 0) return into_->commit();
    into_->stream().write(reinterpret_cast<const char*>(chunk.data()), static_cast<std::streamsize>(n));
    if (!into_->stream()) return into_->commit();  // says what went wrong
  }
}

}  // namespace cbit::stream
