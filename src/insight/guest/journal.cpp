#include "guest/journal.hpp"

#include <fmt/format.h>

#include "boot/files.hpp"

namespace cbit::guest {
namespace {

constexpr std::uint64_t recording_bytes_max = 16ull << 30;

std::string name_of(std::uint8_t source) {
  constexpr auto first_disk = static_cast<std::uint8_t>(Source::disk);
  constexpr auto second_network = static_cast<std::uint8_t>(Source::more_networks);
  if (source >= second_network) return fmt::format("network {}", source - second_network + 1);
  if (source >= first_disk) return fmt::format("disk {}", source - first_disk);
  switch (static_cast<Source>(source)) {
    case Source::end: return "the end";
    case Source::com1: return "the console";
    case Source::com2: return "the second serial port";
    case Source::idle: return "a wait";
    case Source::network: return "the network";
    case Source::share: return "the shared folder";
    case Source::root: return "the root folder";
    case Source::vsock: return "the sockets";
    case Source::disk:
    case Source::more_networks: break;
  }
  return fmt::format("source {}", source);
}

}  // namespace

Source source_of_disk(std::size_t number) {
  return static_cast<Source>(static_cast<std::size_t>(Source::disk) + number);
}

Source source_of_network(std::size_t number) {
  if (number == 0) return Source::network;
  return static_cast<Source>(static_cast<std::size_t>(Source::more_networks) + number - 1);
}

OrError<std::unique_ptr<Journal>> Journal::record(const std::string& path) {
  std::unique_ptr<Journal> journal{new Journal{path}};
  journal->out_.emplace(CBIT_TRY(os::OutputFile::create(path)));
  return journal;
}

OrError<std::unique_ptr<Journal>> Journal::replay(const std::string& path) {
  std::unique_ptr<Journal> journal{new Journal{path}};
  const Bytes bytes = CBIT_TRY(boot::read_file(path, recording_bytes_max));
  journal->file_ = CBIT_TRY(read_recording(bytes, path));
  return journal;
}

Bytes Journal::ask(Source source, const Live& live) {
  const std::uint64_t question = asked_[static_cast<std::uint8_t>(source)]++;
  if (replays()) return recall(source, question);
  Bytes answer = live();
  if (!answer.empty()) note(source, question, answer);
  return answer;
}

void Journal::note(Source source, std::uint64_t question, Bytes answer) {
  const Stamp stamp = where_();
  writer_->add(
      {static_cast<std::uint8_t>(source), question, stamp.virtual_ns, stamp.processor, std::move(answer)});
  if (!writer_->good() && !failure_)
    failure_ = Error{fmt::format("{}: the recording cannot be written", name_),
                     "make room for it, or record to another file system", ExitCode::output_failed};
}

Bytes Journal::recall(Source source, std::uint64_t question) {
  if (failure_) return {};
  const Record& record = next();
  const Stamp stamp = where_();
  if (record.source == static_cast<std::uint8_t>(source) && record.question == question) {
    if (record.virtual_ns != stamp.virtual_ns || record.processor != stamp.processor) {
      differ(fmt::format("question {} of {} is asked by processor {}, and was at {} ns by processor {}",
                         question, name_of(record.source), stamp.processor, record.virtual_ns,
                         record.processor));
      return {};
    }
    ++next_;
    return record.answer;
  }
  check();
  return {};
}

void Journal::check() {
  if (!replays() || failure_) return;
  const Record& record = next();
  if (record.virtual_ns >= where_().virtual_ns) return;
  differ(fmt::format("question {} of {}, at {} ns, was not asked", record.question, name_of(record.source),
                     record.virtual_ns));
}

void Journal::differ(const std::string& how) {
  if (failure_) return;
  failure_ = Error{
      fmt::format("{}: the replay is not what was recorded, at {} ns: {}", name_, where_().virtual_ns, how),
      fmt::format("replay it with the cbit that recorded it, {}", header().version), ExitCode::bad_input};
}

bool Journal::at_end() const {
  if (!replays() || next().source != record_end) return false;
  // A machine that ended by itself does so again.
  const bool by_itself = !next().answer.empty();
  return !by_itself && where_().virtual_ns >= next().virtual_ns;
}

OrError<void> Journal::finish(bool by_itself) {
  if (failure_) return tl::unexpected{*failure_};
  note(Source::end, 0, by_itself ? Bytes{std::byte{1}} : Bytes{});
  writer_->finish();
  return out_->commit();
}

}  // namespace cbit::guest
