#include "boot/files.hpp"

#include "os/input_file.hpp"

namespace cbit::boot {

OrError<Bytes> read_file(const std::filesystem::path& path, std::uint64_t bytes_max) {
  os::InputFile file = CBIT_TRY(os::InputFile::open(
      path.string(), {.what = "a file of a guest", .remedy = "name a regular file", .bytes_max = bytes_max}));
  Bytes bytes(static_cast<std::size_t>(file.bytes()));
  if (CBIT_TRY(file.read(bytes)) != bytes.size())
    return bad_input("cannot read " + path.string() + ": it became shorter meanwhile", "try again");
  return bytes;
}

}  // namespace cbit::boot
