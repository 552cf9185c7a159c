// Whole runs of small images in this process: what its sanitizers see of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "cli/command.hpp"
#include "support/guest_images.hpp"
#include "support/temporary_folder.hpp"

namespace cbit::cli {
namespace {

using test::GuestCode;
using testing::HasSubstr;

class RunTest : public testing::Test {
 protected:
  RunTest() {
    write(image_, GuestCode{}.debug("hello").exit(0).multiboot());
    write(disk_, Bytes(1 << 20));
  }

  static void write(const std::string& path, const Bytes& bytes) {
    std::ofstream{path, std::ios::binary}.write(reinterpret_cast<const char*>(bytes.data()),
                                                static_cast<std::streamsize>(bytes.size()));
  }
  [[nodiscard]] ExitCode run(std::vector<std::string_view> words) {
    words.insert(words.begin(), {"run", image_, "--disk", disk_, "--device", "virtio-rng"});
    std::ostringstream out;
    Streams streams{out, err_};
    const ExitCode code = run_command_line(words, streams);
    EXPECT_EQ(out.str(), "hello") << err_.str();
    return code;
  }

  test::TemporaryFolder folder_;
  const std::string image_ = folder_.file("image");
  const std::string disk_ = folder_.file("disk");
  std::ostringstream err_;
};

// exit(0) is (0 << 1) | 1.
constexpr auto ended_well = static_cast<ExitCode>(1);

TEST_F(RunTest, EndsWithTheImagesCode) { EXPECT_EQ(run({}), ended_well); }

TEST_F(RunTest, EndsAsWellWhereDevicesLie) {
  EXPECT_EQ(run({"--hostile", "1,every=1,every-us=1"}), ended_well);
  EXPECT_THAT(err_.str(), HasSubstr("hostile acts"));
}

TEST_F(RunTest, EndsAsWellUnderSevWithALog) {
  const std::string log = folder_.file("log");
  EXPECT_EQ(run({"--sev", "--stats", "--hostile", "1", "--hostile-log", log}), ended_well);
}

}  // namespace
}  // namespace cbit::cli
