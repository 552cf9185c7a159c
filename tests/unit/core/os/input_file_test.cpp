#include "os/input_file.hpp"

#include <fcntl.h>
#include <sys/socket.h>

#include <thread>

#include "scratch.hpp"

namespace cbit::os {
namespace {

constexpr InputKind kind{.what = "a note", .remedy = "give a note", .bytes_max = 1000};

class InputFileTest : public Scratch {
 protected:
  static std::string refusal(const std::string& path, const InputKind& of = kind) {
    const auto text = read_input(path, of);
    if (text) return "";
    EXPECT_EQ(text.error().code, ExitCode::bad_input);
    EXPECT_NE(text.error().message.find(path), std::string::npos);
    EXPECT_FALSE(text.error().hint.empty());
    return text.error().message;
  }
};

TEST_F(InputFileTest, ReadsAFileAndWhatALinkLeadsTo) {
  put("file", "text");
  std::filesystem::create_symlink("file", at("link"));
  EXPECT_EQ(read_input(at("file"), kind), "text");
  EXPECT_EQ(read_input(at("link"), kind), "text");
  EXPECT_EQ(read_input(put("empty", ""), kind), "");
  EXPECT_EQ(read_input(put("full", std::string(1000, 'x')), kind)->size(), 1000u);
}

TEST_F(InputFileTest, NamesWhatIsWrong) {
  EXPECT_NE(refusal(at("missing")).find("No such file"), std::string::npos);
  EXPECT_NE(refusal(folder_).find("it is a folder"), std::string::npos);
  EXPECT_NE(refusal("/dev/null").find("it is a device"), std::string::npos);
  EXPECT_NE(refusal(put("large", std::string(1001, 'x'))).find("1001 bytes"), std::string::npos);
}

TEST_F(InputFileTest, DoesNotWaitForAFifo) {
  ASSERT_EQ(::mkfifo(at("fifo").c_str(), 0600), 0);
  EXPECT_NE(refusal(at("fifo")).find("FIFO"), std::string::npos);
  InputKind streams = kind;
  streams.streams = true;
  EXPECT_NE(refusal(at("fifo"), streams).find("FIFO"), std::string::npos);
}

TEST_F(InputFileTest, RefusesASparseFileByWhatItClaims) {
  put("sparse", "");
  std::filesystem::resize_file(at("sparse"), 100ull << 30);
  EXPECT_NE(refusal(at("sparse")).find("102400 MiB"), std::string::npos);
}

TEST_F(InputFileTest, LeavesTheKernelsFilesAlone) {
  if (!std::filesystem::exists("/proc/version")) GTEST_SKIP() << "there is no /proc";
  EXPECT_NE(refusal("/proc/version").find("kernel's own"), std::string::npos);
}

TEST_F(InputFileTest, ReadsAPipeToItsEndWhereStreamsAreTaken) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const std::string name = "/dev/fd/" + std::to_string(ends[0]);
  InputKind streams = kind;
  streams.streams = true;
  std::thread writer{[&] {
    EXPECT_EQ(::write(ends[1], "te", 2), 2);
    EXPECT_EQ(::write(ends[1], "xt", 2), 2);
    ::close(ends[1]);
  }};
  EXPECT_EQ(read_input(name, streams), "text");
  writer.join();
  ::close(ends[0]);
}

TEST_F(InputFileTest, APipeHasADeadlineAndALimit) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const std::string name = "/dev/fd/" + std::to_string(ends[0]);
  InputKind streams = kind;
  streams.streams = true;
  streams.patience = std::chrono::milliseconds{50};
  EXPECT_NE(refusal(name, streams).find("no end to it"), std::string::npos);
  const std::string much(2000, 'x');
  ASSERT_EQ(::write(ends[1], much.data(), much.size()), 2000);
  EXPECT_NE(refusal(name, streams).find("more than 1000 bytes"), std::string::npos);
  ::close(ends[0]);
  ::close(ends[1]);
}

}  // namespace
}  // namespace cbit::os
