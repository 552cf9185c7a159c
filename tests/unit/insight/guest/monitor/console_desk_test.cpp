// Keys: QEMU, chardev/char-mux.c.
#include "guest/monitor/console_desk.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/guest_images.hpp"

namespace cbit::guest {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

TEST(EscapeKeys, PassWhatIsNotForThem) {
  EscapeKeys keys;
  for (const char c : {'x', 'c', '\x03', '\x1b', '\r'}) {
    const auto [typed, key] = keys.take(c);
    EXPECT_EQ(typed, c);
    EXPECT_EQ(key, EscapeKey::none);
  }
}

TEST(EscapeKeys, TakeOneKeyBehindCtrlA) {
  struct Row {
    char second;
    EscapeKey key;
  };
  for (const auto& [second, key] :
       {Row{'x', EscapeKey::end}, Row{'c', EscapeKey::change}, Row{'h', EscapeKey::help},
        Row{'?', EscapeKey::help}, Row{'z', EscapeKey::none}}) {
    EscapeKeys keys;
    EXPECT_FALSE(keys.take('\x01').typed);
    const auto meaning = keys.take(second);
    EXPECT_FALSE(meaning.typed);
    EXPECT_EQ(meaning.key, key);
    EXPECT_EQ(keys.take('x').typed, 'x') << "only one";
  }
}

TEST(EscapeKeys, SendCtrlAForCtrlATwiceOrWithA) {
  for (const char second : {'\x01', 'a'}) {
    EscapeKeys keys;
    EXPECT_FALSE(keys.take('\x01').typed);
    EXPECT_EQ(keys.take(second).typed, '\x01');
  }
}

TEST(LineEditor, TakesALineAndShowsIt) {
  LineEditor editor{"> "};
  std::string shown;
  for (const char c : std::string_view{"info"}) EXPECT_FALSE(editor.key(c, shown));
  EXPECT_EQ(editor.key('\r', shown), "info");
  EXPECT_EQ(shown, "info\n");
}

std::string line_of(std::string_view keys) {
  LineEditor editor{"> "};
  std::string shown;
  std::optional<std::string> line;
  for (const char c : keys) line = editor.key(c, shown);
  return line.value_or("(none)");
}

TEST(LineEditor, CorrectsWhatWasTyped) {
  EXPECT_EQ(line_of("abc\x7f\bd\r"), "ad");
  EXPECT_EQ(line_of("\x7f"
                    "a\r"),
            "a")
      << "nothing to erase";
  EXPECT_EQ(line_of("info mem\x17tlb\r"), "info tlb");
  EXPECT_EQ(line_of("info  \x17x\r"), "x");
  EXPECT_EQ(line_of("abc\x15x\r"), "x");
  EXPECT_EQ(line_of("abc\x03x\r"), "x");
  EXPECT_EQ(line_of("a\x1b[1;5Cb\x1bOQ\x1b[Z\xffg\r"), "abg") << "keys that mean nothing here";
}

TEST(LineEditor, RecallsTheLinesBefore) {
  EXPECT_EQ(line_of("one\rtwo\r\x1b[A\x1b[A\r"), "one");
  EXPECT_EQ(line_of("one\rtwo\r\x1b[A\x1b[A\x1b[A\x1bOB\r"), "two");
  EXPECT_EQ(line_of("one\r\x10\x0e\r"), "") << "back at the new line";
  EXPECT_EQ(line_of("one\r\x1b[A!\r"), "one!");
}

class ConsoleDeskTest : public testing::Test {
 protected:
  ConsoleDeskTest() {
    pc_ = std::move(*Pc::create({.memory_bytes = 32 << 20}));
    const Bytes image = test::GuestCode{}.exit(0).multiboot();
    EXPECT_TRUE(pc_->load({.name = "image", .kernel = image, .command_line = ""}));
    monitor_.emplace(*pc_);
    desk_.emplace(*monitor_, ConsoleDesk::Ends{.key = [this] { return key(); },
                                               .ended = [this] { return hung_up_; },
                                               .show = [this](std::string_view text) { shown_ += text; }});
  }
  Wish type(std::string_view text) {
    typed_ += text;
    return desk_->attend();
  }
  std::string for_guest() {
    std::string text;
    while (const auto key = desk_->next()) text += static_cast<char>(*key);
    return text;
  }

  std::unique_ptr<Pc> pc_;
  std::optional<Monitor> monitor_;
  std::optional<ConsoleDesk> desk_;
  std::string typed_, shown_;
  bool hung_up_ = false;

 private:
  std::optional<std::byte> key() {
    if (typed_.empty()) return std::nullopt;
    const auto first = static_cast<std::byte>(typed_.front());
    typed_.erase(0, 1);
    return first;
  }
};

TEST_F(ConsoleDeskTest, GivesKeysToTheGuest) {
  EXPECT_EQ(type("ls\r\x03\x04"), Wish::go_on);
  EXPECT_EQ(for_guest(), "ls\r\x03\x04");
  EXPECT_EQ(type("\x01\x01"), Wish::go_on);
  EXPECT_EQ(for_guest(), "\x01");
  EXPECT_EQ(shown_, "") << "the guest echoes";
}

TEST_F(ConsoleDeskTest, EndsAtCtrlAXAndTakesNoMore) {
  EXPECT_EQ(type("a\x01xb"), Wish::end);
  EXPECT_EQ(typed_, "b");
}

TEST_F(ConsoleDeskTest, StandsStillWhileTheMonitorIsOpen) {
  EXPECT_EQ(type("\x01"
                 "c"),
            Wish::stand_still);
  EXPECT_THAT(shown_, EndsWith("(cbit) "));
  shown_.clear();
  EXPECT_EQ(type("p 1+1\r"), Wish::stand_still);
  EXPECT_EQ(shown_, "p 1+1\n0x2\n(cbit) ");
  EXPECT_EQ(for_guest(), "") << "the monitor's keys are its own";
  EXPECT_EQ(type("\x01"
                 "cls"),
            Wish::go_on);
  EXPECT_EQ(for_guest(), "ls");
}

TEST_F(ConsoleDeskTest, GoesBackByContAndKeepsStandingAfterStop) {
  EXPECT_EQ(type("\x01"
                 "ccont\r"),
            Wish::go_on);
  EXPECT_EQ(type("\x01"
                 "cstop\r\x01"
                 "cls"),
            Wish::stand_still)
      << "at the console, too";
  EXPECT_EQ(for_guest(), "ls") << "kept for later";
  EXPECT_EQ(type("\x01"
                 "cc\r"),
            Wish::go_on);
}

TEST_F(ConsoleDeskTest, EndsByQuit) {
  EXPECT_EQ(type("\x01"
                 "cquit\rinfo registers\r"),
            Wish::end);
  EXPECT_THAT(shown_, Not(HasSubstr("RIP")));
}

TEST_F(ConsoleDeskTest, ShowsItsKeys) {
  EXPECT_EQ(type("\x01h"), Wish::go_on);
  EXPECT_THAT(shown_, HasSubstr("Ctrl-A x  end the run"));
  EXPECT_EQ(for_guest(), "");
}

TEST_F(ConsoleDeskTest, KeepsWhatAGuestDoesNotTakeWithinLimits) {
  EXPECT_EQ(type(std::string(100'000, 'k')), Wish::go_on);
  EXPECT_FALSE(typed_.empty()) << "left where it is";
  EXPECT_EQ(for_guest().size(), 65'536u);
  EXPECT_EQ(type(""), Wish::go_on);
  EXPECT_EQ(for_guest().size(), 100'000u - 65'536u);
}

TEST_F(ConsoleDeskTest, EndsWhenNobodyCanCloseTheMonitorAnyMore) {
  hung_up_ = true;
  EXPECT_EQ(type("ls\r"), Wish::go_on) << "the guest may have been told all it needs";
  EXPECT_EQ(type("\x01"
                 "c"),
            Wish::end);
}

TEST_F(ConsoleDeskTest, RunsThatStandStillTakeNoVirtualTime) {
  RunOptions options;
  int waits = 0;
  options.await_input = [&](os::PollSet& set) {
    ++waits;
    set.limit(std::chrono::nanoseconds{0});
  };
  options.wishes.emplace_back([&] { return waits < 3 ? Wish::stand_still : Wish::end; });
  const RunReport report = run(*pc_, options);
  EXPECT_TRUE(report.ended_at_console);
  EXPECT_EQ(report.ending, std::nullopt);
  EXPECT_EQ(report.virtual_ns, 0u);
  EXPECT_EQ(report.instructions, 0u);
  EXPECT_EQ(waits, 3);
}

}  // namespace
}  // namespace cbit::guest
