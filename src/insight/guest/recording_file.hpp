// A file of what came to a machine from outside: `cbit run --record`.
//
//   "CBITPLAY", format version (32 bits)
//   header: version of cbit, options, words, digests of kernel and initramfs, disks
//   records: source, question, time since the last, processor, answer
//   an end: the same, with the source `end`
//   SHA-256 of everything before
//
// Numbers are varints, seven bits a byte, lowest first; texts have their length before them. Whoever wrote
// the file may be hostile: a reader allocates no more than the file has bytes.
// Threading: none of its own.
#pragma once

#include <cstdint>
#include <optional>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "crypt/sha256.hpp"

namespace cbit::guest {

inline constexpr std::uint32_t recording_format = 1;

struct RecordedDisk {
  std::uint64_t bytes = 0;
  bool read_only = false;

  friend bool operator==(const RecordedDisk&, const RecordedDisk&) = default;
};

struct RecordingHeader {
  std::string version;  // of the cbit that wrote it
  // What makes the machine and what runs in it, as the command line has it: options with their values (of a
  // flag: none), those that are repeated in their order; and the words that are none.
  std::vector<std::pair<std::string, std::string>> options;
  std::vector<std::string> positional;
  std::vector<std::string> command;
  std::string kernel_name;  // where it was, for a human
  crypt::Sha256Digest kernel{};
  crypt::Sha256Digest initrd{};  // of nothing: there is none
  std::vector<RecordedDisk> disks;

  friend bool operator==(const RecordingHeader&, const RecordingHeader&) = default;
};

struct Record {
  std::uint8_t source = 0;
  std::uint64_t question = 0;    // of its source, from 0 on
  std::uint64_t virtual_ns = 0;  // not before that of the record before it
  std::uint64_t processor = 0;
  Bytes answer;

  friend bool operator==(const Record&, const Record&) = default;
};
inline constexpr std::uint8_t record_end = 0;

struct RecordingFile {
  RecordingHeader header;
  std::vector<Record> records;  // the last is the end
};

void put_number(Bytes& to, std::uint64_t number);
// Takes it from the front; nullopt: there is none that is whole.
[[nodiscard]] std::optional<std::uint64_t> take_number(ConstByteSpan& from);

// Errors (input) name the file, and where in it something is not as it should be: it is no recording, of
// another format, cut short, or altered.
OrError<RecordingFile> read_recording(ConstByteSpan bytes, const std::string& name);

// Writes one, record by record.
class RecordingWriter {
 public:
  RecordingWriter(std::ostream& to, const RecordingHeader& header);
  void add(const Record& record);
  // The end has been added: nothing follows.
  void finish();
  // Everything so far has been taken.
  [[nodiscard]] bool good() const { return to_->good(); }

 private:
  void write(ConstByteSpan bytes);

  std::ostream* to_;
  crypt::Sha256 sum_;
  std::uint64_t last_ns_ = 0;
};

}  // namespace cbit::guest
