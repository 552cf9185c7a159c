// A folder for temporary files, removed with everything in it, also when a signal ends the program
// (os/cleanup.hpp). It lies in $TMPDIR, else in /tmp, has an unpredictable name and no rights for others.
#pragma once

#include <string>
#include <string_view>

#include "base/result.hpp"
#include "os/cleanup.hpp"

namespace cbit::os {

class TemporaryFolder {
 public:
  // `purpose` begins its name. Errors (output_failed): $TMPDIR is no folder that can be written to.
  static OrError<TemporaryFolder> create(std::string_view purpose);
  TemporaryFolder(TemporaryFolder&& other) noexcept;
  TemporaryFolder& operator=(TemporaryFolder&&) = delete;
  ~TemporaryFolder();

  // Absolute. It may hold any character that a path can.
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  explicit TemporaryFolder(std::string path) : path_{std::move(path)} {}
  std::string path_;  // empty: moved from
  Cleanup cleanup_;
};

}  // namespace cbit::os
