// The one way to read a file that the user names.
//
// It is a regular file, not larger than its reader can use, which is looked at before anything is read; a
// sparse file counts as long as it claims to be. Nothing else is opened: opening a device does something, and
// a FIFO waits. Files of the kernel's own (/proc, /sys) are refused, too: they have no size, some never end,
// and reading /proc/kmsg takes away what it shows. Where a reader takes streams, `-` is standard input, and
// /dev/stdin or /dev/fd/N may be a pipe, as `<(...)` of a shell makes it; then a deadline holds.
//
// Errors (bad_input) name the path, the reason and the remedy.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "os/descriptor.hpp"

namespace cbit::os {

struct InputKind {
  std::string_view what;    // "a lab file"
  std::string_view remedy;  // where there is none: "give a file, or a name that cbit lab list prints"
  std::uint64_t bytes_max = 4 << 20;
  bool streams = false;
  std::chrono::milliseconds patience{
      10'000};  // without a byte of a stream; the whole may take six times that
};

// Whether a file is one that the kernel makes up when it is read (/proc, /sys). Opens nothing.
[[nodiscard]] bool is_kernels_own(const std::string& path);

class InputFile {
 public:
  // A regular file of at most `kind.bytes_max`.
  static OrError<InputFile> open(const std::string& path, const InputKind& kind);

  [[nodiscard]] int fd() const { return file_.fd(); }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }  // when it was opened
  // As many bytes as there are, at most; 0 at the end.
  OrError<std::size_t> read(ByteSpan to);

 private:
  InputFile(std::string path, Descriptor file, std::uint64_t bytes)
      : path_{std::move(path)}, file_{std::move(file)}, bytes_{bytes} {}

  std::string path_;
  Descriptor file_;
  std::uint64_t bytes_;
};

// All of it.
[[nodiscard]] OrError<std::string> read_input(const std::string& path, const InputKind& kind);

}  // namespace cbit::os
