#include "guest/journal.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "guest/journal_devices.hpp"
#include "support/temporary_folder.hpp"

namespace cbit::guest {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Bytes bytes_of_text(std::string_view text) {
  const auto bytes = std::as_bytes(std::span{text});
  return {bytes.begin(), bytes.end()};
}

RecordingHeader some_header() {
  RecordingHeader header{.version = "9.9",
                         .options = {{"--sev", ""}, {"--memory", "1G"}, {"--disk", "a"}, {"--disk", "b,ro"}},
                         .positional = {"vmlinuz"},
                         .command = {"dmesg", "-r"},
                         .kernel_name = "/boot/vmlinuz",
                         .disks = {{512, false}, {1ull << 40, true}}};
  header.kernel[0] = std::byte{1};
  header.initrd[31] = std::byte{2};
  return header;
}

std::vector<Record> some_records() {
  return {{1, 0, 5, 0, bytes_of_text("k")},
          {4, 300, 5, 2, bytes_of_text("a frame")},
          {16, 1ull << 40, 1ull << 50, 15, Bytes(300, std::byte{7})},
          {record_end, 0, ~0ull, 0, {}}};
}

Bytes some_file() {
  std::ostringstream out;
  RecordingWriter writer{out, some_header()};
  for (const Record& record : some_records()) writer.add(record);
  writer.finish();
  return bytes_of_text(out.str());
}

// ---- the file -------------------------------------------------------------------------------------------

TEST(RecordingNumber, IsWhatWasWrittenAndNothingElse) {
  for (const std::uint64_t number : {0ull, 1ull, 127ull, 128ull, 0xffff'ffffull, ~0ull}) {
    Bytes bytes;
    put_number(bytes, number);
    bytes.push_back(std::byte{9});
    ConstByteSpan rest{bytes};
    EXPECT_EQ(take_number(rest), number);
    EXPECT_EQ(rest.size(), 1u);
  }
  const Bytes without_end(11, std::byte{0xff});
  ConstByteSpan rest{without_end};
  EXPECT_FALSE(take_number(rest));
  rest = {};
  EXPECT_FALSE(take_number(rest));
}

TEST(Recording, IsReadAsItWasWritten) {
  const auto file = read_recording(some_file(), "a.rec");
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->header, some_header());
  EXPECT_EQ(file->records, some_records());
}

TEST(Recording, ThatIsCutShortAnywhereTellsItsNameAndThePlace) {
  const Bytes whole = some_file();
  for (std::size_t bytes = 0; bytes < whole.size(); ++bytes) {
    const auto file = read_recording(std::span{whole}.first(bytes), "a.rec");
    ASSERT_FALSE(file) << bytes;
    EXPECT_EQ(file.error().code, ExitCode::bad_input);
    EXPECT_THAT(file.error().message, HasSubstr("a.rec: "));
    const bool is_known = bytes >= 8;  // as a recording
    EXPECT_EQ(file.error().message.find("at byte ") != std::string::npos, is_known) << bytes;
  }
}

TEST(Recording, ThatIsAlteredAnywhereIsRefused) {
  const Bytes whole = some_file();
  for (std::size_t at = 0; at < whole.size(); ++at)
    for (const unsigned bit : {0u, 7u}) {
      Bytes altered = whole;
      altered[at] ^= std::byte{1} << bit;
      const auto file = read_recording(altered, "a.rec");
      ASSERT_FALSE(file) << at;
      EXPECT_EQ(file.error().code, ExitCode::bad_input);
      EXPECT_THAT(file.error().message, HasSubstr("a.rec: "));
    }
}

TEST(Recording, EndsWhereItEnds) {
  Bytes longer = some_file();
  longer.push_back(std::byte{0});
  const auto file = read_recording(longer, "a.rec");
  ASSERT_FALSE(file);
  EXPECT_THAT(file.error().message, HasSubstr("goes on behind its end"));
}

TEST(Recording, OfAnotherFormatSaysWhich) {
  Bytes other = some_file();
  other[8] = std::byte{77};
  const auto file = read_recording(other, "a.rec");
  ASSERT_FALSE(file);
  EXPECT_THAT(file.error().message, HasSubstr("has format 77, and this is format 1"));
}

// ---- the journal ----------------------------------------------------------------------------------------

// A machine that is where the test says.
class JournalTest : public ::testing::Test {
 protected:
  std::unique_ptr<Journal> begin() {
    auto journal = Journal::record(path_);
    EXPECT_TRUE(journal) << journal.error().message;
    (*journal)->set_place([this] { return at_; });
    (*journal)->begin(some_header());
    return std::move(*journal);
  }
  std::unique_ptr<Journal> again() {
    auto journal = Journal::replay(path_);
    EXPECT_TRUE(journal) << journal.error().message;
    at_ = {};
    (*journal)->set_place([this] { return at_; });
    return std::move(*journal);
  }
  // Of the host's, which has been asked so often.
  Journal::Live say(std::string_view text) {
    return [this, text] {
      ++asked_;
      return bytes_of_text(text);
    };
  }

  test::TemporaryFolder folder_;
  std::string path_ = folder_.file("a.rec");
  Journal::Stamp at_;
  unsigned asked_ = 0;
};

TEST_F(JournalTest, GivesTheSameAnswersWithoutTheHost) {
  {
    const auto journal = begin();
    EXPECT_EQ(journal->ask(Source::com1, say("")), Bytes{});
    at_ = {10, 1};
    EXPECT_EQ(journal->ask(Source::com1, say("x")), bytes_of_text("x"));
    EXPECT_EQ(journal->ask(Source::idle, say("y")), bytes_of_text("y"));
    EXPECT_TRUE(journal->finish(false));
  }
  EXPECT_EQ(asked_, 3u);
  const auto journal = again();
  EXPECT_EQ(journal->header(), some_header());
  EXPECT_EQ(journal->ask(Source::com1, say("no")), Bytes{});
  at_ = {10, 1};
  EXPECT_EQ(journal->ask(Source::com1, say("no")), bytes_of_text("x"));
  EXPECT_FALSE(journal->at_end());
  EXPECT_EQ(journal->ask(Source::idle, say("no")), bytes_of_text("y"));
  EXPECT_EQ(journal->ask(Source::idle, say("no")), Bytes{});
  EXPECT_TRUE(journal->at_end());
  EXPECT_EQ(asked_, 3u);
  EXPECT_FALSE(journal->failure());
}

TEST_F(JournalTest, OfAMachineThatEndedByItselfDoesNotEndIt) {
  ASSERT_TRUE(begin()->finish(true));
  const auto journal = again();
  at_.virtual_ns = 100;
  EXPECT_FALSE(journal->at_end());
}

TEST_F(JournalTest, TellsWhereAReplayGoesAnotherWay) {
  {
    const auto journal = begin();
    at_ = {10, 1};
    (void)journal->ask(Source::com1, say("x"));
    at_ = {20, 0};
    ASSERT_TRUE(journal->finish(false));
  }
  for (const Journal::Stamp elsewhere : {Journal::Stamp{9, 1}, Journal::Stamp{10, 0}}) {
    const auto journal = again();
    at_ = elsewhere;
    EXPECT_EQ(journal->ask(Source::com1, say("no")), Bytes{});
    ASSERT_TRUE(journal->failure());
    EXPECT_EQ(journal->failure()->code, ExitCode::bad_input);
    EXPECT_THAT(journal->failure()->message, HasSubstr("question 0 of the console"));
  }
  const auto journal = again();
  at_.virtual_ns = 10;
  journal->check();
  EXPECT_FALSE(journal->failure());
  at_.virtual_ns = 11;
  journal->check();
  ASSERT_TRUE(journal->failure());
  EXPECT_THAT(journal->failure()->message, HasSubstr("was not asked"));
  EXPECT_THAT(journal->failure()->hint, HasSubstr("9.9"));
}

TEST_F(JournalTest, ThatFindsNoRoomTellsSo) {
  path_ = "/dev/full";
  const auto journal = begin();
  for (unsigned i = 0; i < 100; ++i) (void)journal->ask(Source::com1, [] { return Bytes(1 << 16); });
  const auto done = journal->finish(false);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, ExitCode::output_failed);
  EXPECT_THAT(done.error().message, HasSubstr("/dev/full"));
}

TEST_F(JournalTest, ThatIsNotFinishedLeavesNoFile) {
  (void)begin()->ask(Source::com1, say("x"));
  EXPECT_FALSE(std::ifstream{path_});
}

// ---- devices --------------------------------------------------------------------------------------------

class FailingDisk final : public dev::BlockBackend {
 public:
  [[nodiscard]] std::uint64_t bytes() const override { return 1024; }
  [[nodiscard]] bool read_only() const override { return false; }
  OrError<void> read(std::uint64_t, ByteSpan) override { return bad_input("it burns"); }
  OrError<void> write(std::uint64_t, ConstByteSpan) override { return bad_input("it burns"); }
  OrError<void> zero(std::uint64_t, std::uint64_t, bool) override { return bad_input("it burns"); }
  OrError<void> flush() override { return bad_input("it burns"); }
};

TEST_F(JournalTest, HasADisksBytesAndItsZeros) {
  Bytes contents(1024);
  contents[3] = std::byte{0x55};
  dev::MemoryDisk disk{contents};
  Bytes sector(512, std::byte{0xee});
  {
    const auto journal = begin();
    JournaledDisk recorded{*journal, 0, {1024, false}, &disk};
    EXPECT_TRUE(recorded.read(0, sector));
    EXPECT_TRUE(recorded.read(512, sector));
    EXPECT_TRUE(recorded.write(512, Bytes(512, std::byte{1})));
    EXPECT_TRUE(recorded.flush());
    ASSERT_TRUE(journal->finish(false));
  }
  EXPECT_EQ(disk.contents()[512], std::byte{1});
  const auto journal = again();
  JournaledDisk replayed{*journal, 0, {1024, false}, nullptr};
  sector.assign(512, std::byte{0xee});
  EXPECT_TRUE(replayed.read(0, sector));
  EXPECT_EQ(sector, Bytes(contents.begin(), contents.begin() + 512));
  EXPECT_TRUE(replayed.read(512, sector));
  EXPECT_EQ(sector, Bytes(512));
  EXPECT_TRUE(replayed.write(512, Bytes(512)));
  EXPECT_TRUE(replayed.flush());
  EXPECT_FALSE(replayed.read(1024, sector)) << "beyond its end";
}

TEST_F(JournalTest, HasADisksFailures) {
  FailingDisk disk;
  Bytes sector(512);
  {
    const auto journal = begin();
    JournaledDisk recorded{*journal, 3, {1024, false}, &disk};
    EXPECT_FALSE(recorded.read(0, sector));
    EXPECT_FALSE(recorded.flush());
    ASSERT_TRUE(journal->finish(false));
  }
  const auto journal = again();
  JournaledDisk replayed{*journal, 3, {1024, false}, nullptr};
  const auto done = replayed.read(0, sector);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().message, "it burns");
  EXPECT_FALSE(replayed.flush());
}

// Answers each frame by two.
class Echo final : public dev::NetBackend {
 public:
  bool receive(ConstByteSpan frame) override {
    send(frame);
    send(frame);
    deliver();
    return ++received_ != 2;
  }
  void prepare(os::PollSet&) override {}
  void serve(const os::PollSet&) override {
    send(Bytes(60, std::byte{9}));
    deliver();
  }

 private:
  unsigned received_ = 0;
};

class Card final : public dev::NetEnd {
 public:
  bool receive(ConstByteSpan frame) override {
    sizes.push_back(frame.size());
    return true;
  }
  std::vector<std::size_t> sizes;
};

TEST_F(JournalTest, HasANetworksFramesAndWhatItRefused) {
  const auto use = [](JournaledNetwork& network) {
    Card card;
    network.connect(&card);
    EXPECT_TRUE(network.receive(Bytes(64)));
    EXPECT_FALSE(network.receive(Bytes(65)));
    network.serve({});
    network.connect(nullptr);
    EXPECT_THAT(card.sizes, ElementsAre(64, 64, 65, 65, 60));
  };
  {
    const auto journal = begin();
    JournaledNetwork network{*journal, source_of_network(1), std::make_unique<Echo>()};
    use(network);
    ASSERT_TRUE(journal->finish(false));
  }
  const auto journal = again();
  JournaledNetwork network{*journal, source_of_network(1), nullptr};
  use(network);
  EXPECT_FALSE(journal->failure());
}

// Gives back what is written, and calls when it is served.
class Loop final : public dev::VsockBackend {
 public:
  void open(dev::VsockFlow flow) override { say({.kind = Kind::opened, .flow = flow, .bytes = {}}); }
  void accept(dev::VsockFlow) override {}
  void write(dev::VsockFlow flow, ConstByteSpan bytes) override {
    say({.kind = Kind::taken, .flow = flow, .count = static_cast<std::uint32_t>(bytes.size()), .bytes = {}});
    say({.kind = Kind::data, .flow = flow, .bytes = {bytes.begin(), bytes.end()}});
  }
  void allow(dev::VsockFlow, std::uint32_t) override {}
  void shut(dev::VsockFlow flow, bool, bool) override {
    say({.kind = Kind::ended, .flow = flow, .bytes = {}});
  }
  void close(dev::VsockFlow) override {}
  void prepare(os::PollSet&) override {}
  void serve(const os::PollSet&) override {
    say({.kind = Kind::connect, .flow = {0xffff'fffe, 52}, .bytes = {}});
  }

 private:
  using Kind = dev::VsockWord::Kind;
};

TEST_F(JournalTest, HasWhatSocketsSay) {
  const dev::VsockFlow flow{.host_port = 1 << 30, .guest_port = 7};
  const auto use = [flow](JournaledVsock& sockets) {
    sockets.open(flow);
    sockets.accept(flow);
    sockets.write(flow, bytes_of_text("hello"));
    sockets.allow(flow, 100);
    sockets.shut(flow, false, true);
    sockets.serve({});
    sockets.close(flow);
    std::vector<dev::VsockWord> words;
    while (auto word = sockets.take()) words.push_back(*word);
    using Kind = dev::VsockWord::Kind;
    EXPECT_THAT(words,
                ElementsAre(dev::VsockWord{.kind = Kind::opened, .flow = flow, .bytes = {}},
                            dev::VsockWord{.kind = Kind::taken, .flow = flow, .count = 5, .bytes = {}},
                            dev::VsockWord{.kind = Kind::data, .flow = flow, .bytes = bytes_of_text("hello")},
                            dev::VsockWord{.kind = Kind::ended, .flow = flow, .bytes = {}},
                            dev::VsockWord{.kind = Kind::connect, .flow = {0xffff'fffe, 52}, .bytes = {}}));
  };
  {
    const auto journal = begin();
    JournaledVsock sockets{*journal, std::make_unique<Loop>()};
    use(sockets);
    ASSERT_TRUE(journal->finish(false));
  }
  const auto journal = again();
  JournaledVsock sockets{*journal, nullptr};
  use(sockets);
  EXPECT_FALSE(journal->failure());
}

// Whoever wrote the file may be hostile.
TEST_F(JournalTest, TakesWholeWordsOfSocketsAlone) {
  {
    const auto journal = begin();
    for (const Bytes& answer :
         {Bytes{std::byte{99}}, Bytes{std::byte{0}, std::byte{1}},
          Bytes{std::byte{2}, std::byte{1}, std::byte{1}, std::byte{0}, std::byte{100}, std::byte{'x'}}})
      (void)journal->ask(Source::vsock, [&] { return answer; });
    ASSERT_TRUE(journal->finish(false));
  }
  const auto journal = again();
  JournaledVsock sockets{*journal, nullptr};
  for (int n = 0; n < 3; ++n) sockets.serve({});
  EXPECT_FALSE(sockets.take());
}

}  // namespace
}  // namespace cbit::guest
