#include "os/temporary_folder.hpp"

#include <fmt/format.h>
#include <stdlib.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

namespace cbit::os {
namespace {

std::string place() {
  const char* const chosen = ::secure_getenv("TMPDIR");
  std::error_code error;
  const std::string folder = chosen != nullptr && *chosen != '\0' ? chosen : "/tmp";
  const std::filesystem::path absolute = std::filesystem::absolute(folder, error);
  return error ? folder : absolute.string();
}

}  // namespace

OrError<TemporaryFolder> TemporaryFolder::create(std::string_view purpose) {
  std::string path = fmt::format("{}/{}-XXXXXX", place(), purpose);
  const SignalsHeld held;
  if (::mkdtemp(path.data()) == nullptr)
    return tl::unexpected{Error{fmt::format("cannot create the folder {}: {}", path, std::strerror(errno)),
                                "TMPDIR names the folder for temporary files; it needs room and rights",
                                ExitCode::output_failed}};
  TemporaryFolder folder{std::move(path)};
  folder.cleanup_ = Cleanup::folder(folder.path_);
  return folder;
}

TemporaryFolder::TemporaryFolder(TemporaryFolder&& other) noexcept
    : path_{std::exchange(other.path_, {})}, cleanup_{std::move(other.cleanup_)} {}

TemporaryFolder::~TemporaryFolder() {
  if (!path_.empty()) remove_tree(path_.c_str());
}

}  // namespace cbit::os
