#include "cli/output_file.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

namespace cbit::cli {
namespace {

tl::unexpected<Error> cannot_write(std::string_view path) {
  return tl::unexpected{Error{fmt::format("cannot write {}: {}", path, std::strerror(errno)),
                              "nothing was left behind; check the folder, its permissions and free space",
                              ExitCode::output_failed}};
}

}  // namespace

OrError<OutputFile> OutputFile::create(std::string path) {
  OutputFile file{path, fmt::format("{}.tmp{}", path, getpid())};
  file.stream_.open(file.temporary_, std::ios::binary | std::ios::trunc);
  if (!file.stream_) {
    const auto error = cannot_write(path);
    file.temporary_.clear();
    return error;
  }
  return file;
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : path_{std::move(other.path_)},
      temporary_{std::exchange(other.temporary_, {})},
      stream_{std::move(other.stream_)} {}

OutputFile::~OutputFile() {
  if (!temporary_.empty()) std::remove(temporary_.c_str());
}

OrError<void> OutputFile::commit() {
  errno = 0;
  stream_.close();
  if (!stream_ || std::rename(temporary_.c_str(), path_.c_str()) != 0) return cannot_write(path_);
  temporary_.clear();
  return {};
}

}  // namespace cbit::cli
