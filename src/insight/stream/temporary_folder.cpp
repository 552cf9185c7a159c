#include "stream/temporary_folder.hpp"

#include <stdlib.h>

#include <filesystem>
#include <system_error>

namespace cbit::stream {
namespace fs = std::filesystem;

OrError<TemporaryFolder> TemporaryFolder::create() {
  std::error_code error;
  std::string pattern = (fs::temp_directory_path(error) / "cbit-XXXXXX").string();
  if (error || mkdtemp(pattern.data()) == nullptr)
    return bad_input("cannot create a temporary folder", "set TMPDIR to a folder that can be written to");
  return TemporaryFolder{pattern};
}

TemporaryFolder::TemporaryFolder(TemporaryFolder&& other) noexcept : path_{std::exchange(other.path_, {})} {}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  if (!path_.empty()) fs::remove_all(path_, ignored);
}

}  // namespace cbit::stream
