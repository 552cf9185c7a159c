// The one door through which something comes to a machine from outside: a key, a frame, a disk's bytes, how
// long the host has waited. Everything else a machine does follows from its first state.
//
// Whatever comes is the answer to a question that the machine asks. Recorded, each is asked of the host, and
// an answer that is not empty is written down with its number, the virtual time and the processor. Replayed,
// the same question has the same answer, and the host is not asked. A question that comes at another time, or
// does not come, shows that the machine has gone another way: failure() tells, and nothing is answered any
// more. guest/recording_file.hpp has the format.
//
// Threading: one thread, that of the machine.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "guest/recording_file.hpp"
#include "os/output_file.hpp"

namespace cbit::guest {

// Who asks. A disk has `disk` and its number; the first network has `network`, others `more_networks` and
// what comes behind the second.
enum class Source : std::uint8_t {
  end = record_end,
  com1,
  com2,
  idle,
  network,
  share,
  root,
  vsock,
  disk = 16,
  more_networks = 64
};
[[nodiscard]] Source source_of_disk(std::size_t number);
[[nodiscard]] Source source_of_network(std::size_t number);

class Journal {
 public:
  // Where a machine is: asked for each answer.
  struct Stamp {
    std::uint64_t virtual_ns = 0;
    std::uint64_t processor = 0;
  };
  using Live = std::function<Bytes()>;

  // To be recorded there. Errors: those of os::OutputFile.
  static OrError<std::unique_ptr<Journal>> record(const std::string& path);
  // Errors (input): it cannot be read; those of read_recording().
  static OrError<std::unique_ptr<Journal>> replay(const std::string& path);
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  [[nodiscard]] bool replays() const { return file_.has_value(); }
  // Of a replay.
  [[nodiscard]] const RecordingHeader& header() const { return file_->header; }

  // Before the first question, of a recording.
  void begin(const RecordingHeader& header) { writer_.emplace(out_->stream(), header); }
  void set_place(std::function<Stamp()> where) { where_ = std::move(where); }

  // `live` is asked where the host is.
  [[nodiscard]] Bytes ask(Source source, const Live& live);

  // Of a recording: the run has ended, by itself or by somebody outside; the file gets its name. Errors
  // (output_failed): there was no room for it.
  OrError<void> finish(bool by_itself);

  // Of a replay: whether it has come to where somebody had ended the recording.
  [[nodiscard]] bool at_end() const;
  // Looks whether it has gone beyond what was recorded.
  void check();
  // The file cannot be written (output_failed); the replay is not what was recorded (input).
  [[nodiscard]] const std::optional<Error>& failure() const { return failure_; }

 private:
  explicit Journal(std::string name) : name_{std::move(name)} {}
  Bytes recall(Source source, std::uint64_t question);
  void note(Source source, std::uint64_t question, Bytes answer);
  void differ(const std::string& how);
  [[nodiscard]] const Record& next() const { return file_->records[next_]; }

  std::string name_;
  std::function<Stamp()> where_;
  std::array<std::uint64_t, 256> asked_{};  // by source
  std::optional<os::OutputFile> out_;
  std::optional<RecordingWriter> writer_;
  std::optional<RecordingFile> file_;
  std::size_t next_ = 0;
  std::optional<Error> failure_;
};

}  // namespace cbit::guest
