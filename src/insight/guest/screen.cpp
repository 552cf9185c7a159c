#include "guest/screen.hpp"

#include <fmt/format.h>
#include <png.h>

#include "dev/display/display.hpp"

namespace cbit::guest {
namespace {

const dev::Display* display_of(const Pc& pc) {
  for (const auto& card : pc.cards())
    if (const auto* const display = dynamic_cast<const dev::Display*>(card.get())) return display;
  return nullptr;
}

Bytes as_ppm(const dev::Picture& picture) {
  const std::string header = fmt::format("P6\n{} {}\n255\n", picture.width, picture.height);
  const ConstByteSpan bytes = std::as_bytes(std::span{header});
  Bytes file{bytes.begin(), bytes.end()};
  file.insert(file.end(), picture.rgb.begin(), picture.rgb.end());
  return file;
}

OrError<Bytes> as_png(const dev::Picture& picture) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = picture.width;
  image.height = picture.height;
  image.format = PNG_FORMAT_RGB;
  Bytes file(PNG_IMAGE_PNG_SIZE_MAX(image));
  png_alloc_size_t bytes = file.size();
  if (png_image_write_to_memory(&image, file.data(), &bytes, 0, picture.rgb.data(), 0, nullptr) == 0)
    return tl::unexpected(Error{fmt::format("cannot make a PNG of the screen: {}", image.message),
                                "use another name than .png, for a PPM", ExitCode::output_failed});
  file.resize(bytes);
  return file;
}

}  // namespace

bool has_display(const Pc& pc) { return display_of(pc) != nullptr; }

OrError<void> write_screen(const Pc& pc, std::string_view path, os::OutputFile out) {
  const dev::Display* const display = display_of(pc);
  if (display == nullptr) return bad_input("the machine has no display", "begin it with --display bochs");
  const auto picture = display->picture();
  if (!picture)
    return bad_input("the display shows nothing, as no mode is set that it can show",
                     "the kernel needs its driver, bochs; Debian's cloud kernel has none");
  const Bytes file = path.ends_with(".png") ? CBIT_TRY(as_png(*picture)) : as_ppm(*picture);
  out.stream().write(reinterpret_cast<const char*>(file.data()), static_cast<std::streamsize>(file.size()));
  return out.commit();
}

}  // namespace cbit::guest
