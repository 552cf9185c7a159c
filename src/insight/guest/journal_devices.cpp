#include "guest/journal_devices.hpp"

#include <algorithm>

namespace cbit::guest {
namespace {

// What an answer of a disk begins with. Nothing at all: it is done, and what was read is zeros.
constexpr std::byte answer_bytes{1};
constexpr std::byte answer_error{2};

Bytes marked(std::byte mark, ConstByteSpan rest) {
  Bytes answer(1 + rest.size());
  answer[0] = mark;
  std::ranges::copy(rest, std::span{answer}.subspan(1).begin());
  return answer;
}

Bytes answer_of(const OrError<void>& done, ConstByteSpan read) {
  if (!done) return marked(answer_error, std::as_bytes(std::span{done.error().message}));
  return all_zero(read) ? Bytes{} : marked(answer_bytes, read);
}

// What an answer of a network begins with, before its frames.
constexpr std::byte answer_taken{1};
constexpr std::byte answer_refused{2};

}  // namespace

// Of sockets, each word: its kind, both ports, the count, and its bytes behind their number.
void put_word(Bytes& to, const dev::VsockWord& word) {
  to.push_back(static_cast<std::byte>(word.kind));
  for (const std::uint64_t number : {std::uint64_t{word.flow.host_port}, std::uint64_t{word.flow.guest_port},
                                     std::uint64_t{word.count}, std::uint64_t{word.bytes.size()}})
    put_number(to, number);
  to.insert(to.end(), word.bytes.begin(), word.bytes.end());
}

// nullopt: there is none that is whole.
std::optional<dev::VsockWord> take_word(ConstByteSpan& from) {
  if (from.empty() || from.front() > static_cast<std::byte>(dev::VsockWord::Kind::closed))
    return std::nullopt;
  dev::VsockWord word{.kind = static_cast<dev::VsockWord::Kind>(from.front()), .flow = {}, .bytes = {}};
  from = from.subspan(1);
  for (std::uint32_t* const number : {&word.flow.host_port, &word.flow.guest_port, &word.count}) {
    const auto value = take_number(from);
    if (!value) return std::nullopt;
    *number = static_cast<std::uint32_t>(*value);
  }
  const auto bytes = take_number(from);
  if (!bytes || *bytes > from.size()) return std::nullopt;
  word.bytes.assign(from.begin(), from.begin() + static_cast<std::ptrdiff_t>(*bytes));
  from = from.subspan(*bytes);
  return word;
}

// ---- disks ----------------------------------------------------------------------------------------------

OrError<void> JournaledDisk::ask(const std::function<OrError<void>()>& live, ByteSpan read_to) {
  const Bytes answer = journal_->ask(source_, [&] { return answer_of(live(), read_to); });
  if (answer.empty()) {
    std::ranges::fill(read_to, std::byte{0});
    return {};
  }
  const ConstByteSpan rest = ConstByteSpan{answer}.subspan(1);
  if (answer.front() == answer_bytes && rest.size() == read_to.size()) {
    std::ranges::copy(rest, read_to.begin());
    return {};
  }
  return bad_input({reinterpret_cast<const char*>(rest.data()), rest.size()});
}

OrError<void> JournaledDisk::read(std::uint64_t offset, ByteSpan to) {
  CBIT_TRY(check_range(*this, offset, to.size()));
  return ask([&] { return disk_->read(offset, to); }, to);
}

OrError<void> JournaledDisk::write(std::uint64_t offset, ConstByteSpan from) {
  CBIT_TRY(check_writable(*this, offset, from.size()));
  return ask([&] { return disk_->write(offset, from); }, {});
}

OrError<void> JournaledDisk::zero(std::uint64_t offset, std::uint64_t bytes, bool may_unmap) {
  CBIT_TRY(check_writable(*this, offset, bytes));
  return ask([&] { return disk_->zero(offset, bytes, may_unmap); }, {});
}

OrError<void> JournaledDisk::flush() {
  return ask([&] { return disk_->flush(); }, {});
}

// ---- networks -------------------------------------------------------------------------------------------

JournaledNetwork::JournaledNetwork(Journal& journal, Source source, std::unique_ptr<dev::NetBackend> network)
    : journal_{&journal}, source_{source}, network_{std::move(network)} {
  if (network_) network_->connect(&collector_);
}

JournaledNetwork::~JournaledNetwork() {
  if (network_) network_->connect(nullptr);
}

bool JournaledNetwork::ask(const std::function<bool()>& live) {
  const Bytes answer = journal_->ask(source_, [&] {
    const bool taken = live();
    Bytes made;
    if (taken && collector_.frames.empty()) return made;
    made.push_back(taken ? answer_taken : answer_refused);
    for (const Bytes& frame : collector_.frames) {
      put_number(made, frame.size());
      made.insert(made.end(), frame.begin(), frame.end());
    }
    collector_.frames.clear();
    return made;
  });
  if (answer.empty()) return true;
  ConstByteSpan rest = ConstByteSpan{answer}.subspan(1);
  while (const auto bytes = take_number(rest)) {
    const std::size_t size = std::min<std::uint64_t>(*bytes, rest.size());
    send(rest.first(size));
    rest = rest.subspan(size);
  }
  return answer.front() != answer_refused;
}

bool JournaledNetwork::receive(ConstByteSpan frame) {
  const bool taken = ask([&] { return network_->receive(frame); });
  deliver();
  return taken;
}

void JournaledNetwork::prepare(os::PollSet& set) {
  if (network_) network_->prepare(set);
}

void JournaledNetwork::serve(const os::PollSet& set) {
  (void)ask([&] {
    network_->serve(set);
    return true;
  });
  deliver();
}

// ---- sockets --------------------------------------------------------------------------------------------

void JournaledVsock::ask(const std::function<void()>& live) {
  const Bytes answer = journal_->ask(Source::vsock, [&] {
    Bytes made;
    live();
    while (const auto word = sockets_->take()) put_word(made, *word);
    return made;
  });
  ConstByteSpan rest{answer};
  while (auto word = take_word(rest)) say(std::move(*word));
}

void JournaledVsock::open(dev::VsockFlow flow) {
  ask([&] { sockets_->open(flow); });
}

void JournaledVsock::accept(dev::VsockFlow flow) {
  ask([&] { sockets_->accept(flow); });
}

void JournaledVsock::write(dev::VsockFlow flow, ConstByteSpan bytes) {
  ask([&] { sockets_->write(flow, bytes); });
}

void JournaledVsock::allow(dev::VsockFlow flow, std::uint32_t bytes) {
  ask([&] { sockets_->allow(flow, bytes); });
}

void JournaledVsock::shut(dev::VsockFlow flow, bool takes_no_more, bool sends_no_more) {
  ask([&] { sockets_->shut(flow, takes_no_more, sends_no_more); });
}

void JournaledVsock::close(dev::VsockFlow flow) {
  ask([&] { sockets_->close(flow); });
}

void JournaledVsock::prepare(os::PollSet& set) {
  if (sockets_) sockets_->prepare(set);
}

void JournaledVsock::serve(const os::PollSet& set) {
  ask([&] { sockets_->serve(set); });
  notify();
}

}  // namespace cbit::guest
