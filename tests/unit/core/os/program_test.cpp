#include "os/program.hpp"

#include <sys/wait.h>

#include "scratch.hpp"

namespace cbit::os {
namespace {

class ProgramTest : public Scratch {
 protected:
  static ProgramEnd run(const std::string& script, std::chrono::milliseconds time = std::chrono::seconds{30},
                        std::size_t output = 1000) {
    const auto end = run_program({.words = {"sh", "-c", script}, .time_max = time, .output_max = output});
    EXPECT_TRUE(end) << end.error().message;
    return *end;
  }

  // As /proc has it; nothing when the process is gone, be it between the opening and the reading.
  static std::string state_of(int process) {
    std::ifstream file{"/proc/" + std::to_string(process) + "/stat"};
    std::string stat;
    std::getline(file, stat);
    const std::size_t end_of_name = stat.rfind(')');
    return end_of_name == std::string::npos ? "" : stat.substr(end_of_name + 2, 1);
  }
};

TEST_F(ProgramTest, TellsHowItEndedAndWhatItWrote) {
  const ProgramEnd good = run("echo hello; echo trouble >&2");
  EXPECT_TRUE(good.succeeded());
  EXPECT_EQ(good.output, "hello\n");
  EXPECT_EQ(run("exit 7").status, 7);
  EXPECT_EQ(run("kill -TERM $$").fate, ProgramFate::killed);
}

TEST_F(ProgramTest, RunsInAFolderWithItsEnvironment) {
  const auto end = run_program({.words = {"sh", "-c", "pwd; echo $CBIT_TEST"},
                                .environment = {"CBIT_TEST=a value"},
                                .folder = folder_,
                                .output_max = 1000});
  EXPECT_EQ(end->output, std::filesystem::canonical(folder_).string() + "\na value\n");
}

TEST_F(ProgramTest, TellsItsTwoStreamsApart) {
  const auto end = run_program({.words = {"sh", "-c", "echo out; head -c 300000 /dev/zero >&2; echo more"},
                                .output_max = 1000,
                                .errors_max = 1 << 20});
  EXPECT_EQ(end->output, "out\nmore\n");
  EXPECT_EQ(end->errors.size(), 300'000u);
}

TEST_F(ProgramTest, HasAVariableOnce) {
  ::setenv("CBIT_TEST", "the caller's", 1);
  const auto end = run_program({.words = {"sh", "-c", "env | grep CBIT_TEST="},
                                .environment = {"CBIT_TEST=its own"},
                                .output_max = 1000});
  ::unsetenv("CBIT_TEST");
  EXPECT_EQ(end->output, "CBIT_TEST=its own\n");
}

TEST_F(ProgramTest, OneThatHangsIsEndedWithItsGroup) {
  const ProgramEnd end = run("sleep 300 & echo $! ; sleep 300", std::chrono::milliseconds{300});
  EXPECT_EQ(end.fate, ProgramFate::too_slow);
  const int child = std::stoi(end.output);
  // It may be a zombie until somebody reaps it.
  const auto is_over = [&] { return state_of(child).find_first_not_of('Z') == std::string::npos; };
  for (int i = 0; i < 100 && !is_over(); ++i) ::usleep(20'000);
  EXPECT_TRUE(is_over()) << state_of(child);
}

TEST_F(ProgramTest, OneThatTricklesIsEnded) {
  const ProgramEnd end = run("while :; do echo x; sleep 0.05; done", std::chrono::milliseconds{500});
  EXPECT_EQ(end.fate, ProgramFate::too_slow);
}

TEST_F(ProgramTest, OneThatWritesWithoutEndIsEnded) {
  EXPECT_EQ(run("while :; do echo xxxxxxxxxxxxxxxx; done").fate, ProgramFate::too_much);
}

TEST_F(ProgramTest, SomebodyWhoKeepsThePipeOpenIsNotWaitedFor) {
  const ProgramEnd end = run("sleep 300 & echo done");
  EXPECT_TRUE(end.succeeded());
  EXPECT_EQ(end.output, "done\n");
}

TEST_F(ProgramTest, NamesTheOneThatIsMissing) {
  const auto end = run_program({.words = {"no-such-program-here"}, .package = "nothing"});
  ASSERT_FALSE(end);
  EXPECT_NE(end.error().message.find("no-such-program-here"), std::string::npos);
  EXPECT_NE(end.error().hint.find("nothing"), std::string::npos);
}

}  // namespace
}  // namespace cbit::os
