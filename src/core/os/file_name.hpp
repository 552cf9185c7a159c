// What a path on the command line leads to, without opening it: whether two of them are the same, and whether
// one stands for a stream of our own.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "base/result.hpp"

namespace cbit::os {

inline constexpr int standard_input = 0;
inline constexpr int standard_output = 1;

// The descriptor that `/dev/stdin`, `/dev/stdout`, `/dev/stderr`, `/dev/fd/N` or `/proc/self/fd/N` stand for.
// nullopt: a name like any other. "-" means what the reader makes of it.
[[nodiscard]] std::optional<int> descriptor_of(const std::string& path);

// Where writing to a path ends, links followed; a dangling link leads to the file that it names.
struct Resolved {
  std::string path;
  std::optional<int> descriptor;  // one of the above, perhaps behind a link
};
// Errors (output_failed): a loop, a folder that cannot be searched, or a link that somebody else put into a
// folder where everybody may (as Linux' protected_symlinks has it).
[[nodiscard]] OrError<Resolved> resolve_output(const std::string& path);

// What makes two paths the same place to write to.
struct FileId {
  dev_t device = 0;
  ino_t inode = 0;   // of the file; of its folder where there is no file yet
  std::string name;  // then

  friend bool operator==(const FileId&, const FileId&) = default;
};
// nullopt: nothing that could be damaged by writing to it twice (a character device), or no place at all.
[[nodiscard]] std::optional<FileId> id_of(const Resolved& place);
// The same for a file that is read; nullopt: it is none.
[[nodiscard]] std::optional<FileId> id_of_input(const std::string& path);

}  // namespace cbit::os
