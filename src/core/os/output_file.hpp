// The one way to write a file that the user names.
//
//   a file, or none yet       written beside it under no name or an unpredictable one, and put in its
//                             place in one step by commit(): complete or as it was before. It keeps its
//                             mode, its owner and its access list where the system lets it. Where a link
//                             leads to it, the link stays.
//   a character device, FIFO  written into, and never replaced
//   "-", /dev/stdout, ...     written to that descriptor
//   a folder, block device,   refused
//   or socket
//
// What can be known is checked before there is anything to write: the folder, the rights, the file's own.
// What is not committed is gone, also when a signal ends the program (os/cleanup.hpp). Errors (output_failed)
// name the path as the user wrote it and the system's reason; a full disk shows in commit() at the latest.
//
// Threading: one thread.
#pragma once

#include <sys/stat.h>

#include <memory>
#include <optional>
#include <ostream>
#include <string>

#include "base/result.hpp"
#include "os/cleanup.hpp"
#include "os/descriptor.hpp"
#include "os/file_name.hpp"

namespace cbit::os {

// A file that takes another's place. For what is written at random places; OutputFile is for streams.
class NewFile {
 public:
  // `anonymous`: use a file without a name where the file system has such.
  static OrError<NewFile> create(const std::string& path, bool anonymous = true);
  NewFile(NewFile&&) noexcept = default;
  NewFile& operator=(NewFile&&) = delete;
  ~NewFile();

  // Open for reading and writing, and empty.
  [[nodiscard]] int fd() const { return file_.fd(); }
  // Makes it durable and gives it its name. Once; the descriptor stays open.
  OrError<void> commit();

 private:
  NewFile() = default;
  OrError<void> look_at_target(const std::string& path);
  OrError<void> open_beside(bool anonymous);
  bool open_anonymous(mode_t mode);
  bool open_named(mode_t mode);
  void keep_rights() const;
  bool take_its_place();
  [[nodiscard]] tl::unexpected<Error> cannot_write(int reason) const;

  std::string shown_;  // the path as the user wrote it
  Descriptor folder_;  // where the file will be
  std::string name_;   // there
  Descriptor old_;     // the file that is replaced; none: there is none
  Descriptor file_;
  std::string temporary_;  // its name until commit(); empty: it has none
  Cleanup cleanup_;
};

// Whether the path leads to something that is written into, and not to a file that is replaced.
[[nodiscard]] bool is_written_into(const std::string& path);
// "-", or a way to standard output.
[[nodiscard]] bool is_standard_output(const std::string& path);

// All that NewFile and OutputFile check before writing; opens no device, and leaves nothing behind.
[[nodiscard]] OrError<void> check_output(const std::string& path);

class DescriptorBuffer;

class OutputFile {
 public:
  static OrError<OutputFile> create(const std::string& path);
  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&&) = delete;
  ~OutputFile();

  [[nodiscard]] std::ostream& stream() { return *stream_; }
  // The bytes are where they belong, all of them. Once.
  OrError<void> commit();

 private:
  OutputFile(std::string path, int fd);

  std::string path_;
  std::optional<NewFile> replacing_;
  Descriptor into_;
  std::unique_ptr<DescriptorBuffer> buffer_;
  std::unique_ptr<std::ostream> stream_;
};

}  // namespace cbit::os
