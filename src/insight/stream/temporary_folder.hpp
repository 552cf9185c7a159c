// A folder for temporary files, removed with everything in it.
#pragma once

#include <string>
#include <utility>

#include "base/result.hpp"

namespace cbit::stream {

class TemporaryFolder {
 public:
  static OrError<TemporaryFolder> create();
  TemporaryFolder(TemporaryFolder&& other) noexcept;
  TemporaryFolder& operator=(TemporaryFolder&&) = delete;
  ~TemporaryFolder();

  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  explicit TemporaryFolder(std::string path) : path_{std::move(path)} {}
  std::string path_;  // empty: moved from
};

}  // namespace cbit::stream
