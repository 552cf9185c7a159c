// An output file that exists under its final name only when it is complete: written beside it, renamed by
// commit(), removed otherwise.
#pragma once

#include <fstream>
#include <string>

#include "base/result.hpp"

namespace cbit::cli {

class OutputFile {
 public:
  // Errors (output_failed) name the path. `path` "-" is refused: standard output is not a file.
  static OrError<OutputFile> create(std::string path);
  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&&) = delete;
  ~OutputFile();

  [[nodiscard]] std::ostream& stream() { return stream_; }
  // Flushes and renames; a full disk shows here at the latest.
  OrError<void> commit();

 private:
  OutputFile(std::string path, std::string temporary)
      : path_{std::move(path)}, temporary_{std::move(temporary)} {}

  std::string path_;
  std::string temporary_;  // empty: committed or moved from
  std::ofstream stream_;
};

}  // namespace cbit::cli
