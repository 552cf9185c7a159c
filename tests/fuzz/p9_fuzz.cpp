// A hostile guest in front of a shared folder: the input is what it asks the server for, messages that are
// right in their form, or bytes without meaning.
//
// Held: nothing crashes; every message has an answer that is as long as it says, has the question's tag, and
// fits into the room for it; what is beside the folder is never read, though links and `..` lead there; fids
// are bounded.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <iterator>
#include <string>
#include <string_view>

#include "dev/p9/server.hpp"
#include "fuzz_input.hpp"
#include "os/temporary_folder.hpp"
#include "support/p9_messages.hpp"

namespace cbit {
namespace {

using namespace spec;

constexpr unsigned steps_max = 200;
constexpr std::string_view secret = "what is beside the folder";
constexpr std::string_view words = "what is in the folder";

void require(bool holds) {
  if (!holds) std::abort();
}

// Made once, and left as it is.
struct HostFolder {
  HostFolder() {
    require(temporary.has_value());
    const std::string share = path("share");
    for (const char* const name : {"share", "share/folder", "share/folder/deep", "outside"})
      require(::mkdir(path(name).c_str(), 0755) == 0);
    write("outside/secret", secret);
    write("share/file", words);
    write("share/folder/leaf", words);
    require(::symlink("../outside/secret", path("share/out").c_str()) == 0);
    require(::symlink(path("outside").c_str(), path("share/absolute").c_str()) == 0);
    require(::mkfifo(path("share/fifo").c_str(), 0644) == 0);
    folder = std::move(*dev::SharedFolder::open(share));
  }
  [[nodiscard]] std::string path(std::string_view name) const {
    return temporary->path() + "/" + std::string{name};
  }
  void write(std::string_view name, std::string_view text) const {
    const os::Descriptor file{::open(path(name).c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644)};
    require(::write(file.fd(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  }

  OrError<os::TemporaryFolder> temporary = os::TemporaryFolder::create("cbit-fuzz");
  std::unique_ptr<dev::SharedFolder> folder;
};

class HostileClient {
 public:
  HostileClient(const HostFolder& host, FuzzInput& input) : input_{&input}, server_{*host.folder} {
    if (input.below(8) == 0) return;
    ask(test::p9_ask_version(p9_msize_min + input.byte() * 64u));
    ask(test::p9_ask_attach(0));
  }
  void run() {
    for (unsigned step = 0; step < steps_max && !input_->empty(); ++step) act();
    require(server_.fids() <= dev::P9Server::default_fids_max);
  }

 private:
  // One thing is taken from the input after the other: arguments of a call have no order.
  void act() {
    const std::uint8_t what = input_->below(10);
    const std::uint32_t at = fid();
    switch (what) {
      case 0: return garbage();
      case 1:
      case 2: return walk(at);
      case 3: return ask(test::p9_ask_open(at, input_->below(4) == 0 ? input_->take<std::uint32_t>() : 0));
      case 4:
      case 5: return read(what == 4 ? p9_type::tread : p9_type::treaddir, at);
      case 6: return ask(test::p9_ask(p9_type::tclunk, at));
      case 7: return ask(test::p9_ask(p9_type::treadlink, at));
      case 8: return ask(test::p9_ask(p9_type::tgetattr, at, p9_stats_basic));
      default: break;
    }
    const std::uint8_t type = input_->byte();
    const auto number = input_->take<std::uint64_t>();
    ask(test::p9_ask(type, at, number, name()));
  }
  void walk(std::uint32_t from) {
    const std::uint32_t to = fid();
    std::vector<std::string_view> names(input_->below(20));
    for (std::string_view& one : names) one = name();
    ask(test::p9_ask_walk(from, to, names));
  }
  void read(std::uint8_t type, std::uint32_t from) {
    const std::uint64_t offset = input_->below(8) == 0 ? input_->take<std::uint64_t>() : input_->below(16);
    const std::uint32_t count = input_->below(8) == 0 ? input_->take<std::uint32_t>() : input_->byte();
    ask(test::p9_ask(type, from, offset, count));
  }
  void garbage() {
    Bytes bytes(input_->below(64));
    for (std::byte& b : bytes) b = std::byte{input_->byte()};
    if (bytes.size() >= 4 && input_->flag()) store(bytes, 0, static_cast<std::uint32_t>(bytes.size()));
    ask(bytes);
  }

  void ask(const Bytes& message) {
    const std::size_t room =
        input_->below(8) == 0 ? p9_error_bytes + input_->byte() : dev::P9Server::msize_max;
    const test::P9Answer answer{server_.answer(message, room)};
    require(answer.bytes.size() >= p9_header_bytes && answer.bytes.size() <= room);
    require(answer.size == answer.bytes.size());
    if (message.size() < p9_header_bytes) return require(answer.error == EINVAL);
    require(answer.tag == load<std::uint16_t>(message, 5));
    const auto type = std::to_integer<std::uint8_t>(message[4]);
    require(answer.type == p9_type::rlerror ? answer.error != 0 : answer.type == type + 1);
    if (answer.type == p9_type::tread + 1) {
      const std::string data = answer.data();
      require(words.find(data) != std::string_view::npos);
    }
  }

  std::uint32_t fid() { return input_->below(16) == 0 ? input_->take<std::uint32_t>() : input_->below(6); }
  std::string_view name() {
    static constexpr std::string_view known[] = {
        "..",  "file",       "folder", "deep",    "leaf",
        "out", "absolute",   "fifo",   "secret",  ".",
        "",    "../outside", "/",      "nothing", std::string_view{"file\0", 5}};
    return known[input_->below(std::size(known))];
  }
  FuzzInput* input_;
  dev::P9Server server_;
};

}  // namespace
}  // namespace cbit

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const cbit::HostFolder host;
  cbit::FuzzInput input{data, size};
  cbit::HostileClient{host, input}.run();
  return 0;
}
