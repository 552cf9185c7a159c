#include "launch/qemu_program.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <set>

#include "support/temporary_folder.hpp"

namespace cbit::launch {
namespace {

class QemuProgram : public testing::Test {
 protected:
  // A program of that text, which is run by the shell.
  [[nodiscard]] std::string program(const std::string& name, const std::string& text) const {
    std::string path = folder_.file(name);
    std::ofstream{path} << "#!/bin/sh\n" << text;
    chmod(path.c_str(), 0755);
    return path;
  }

 private:
  test::TemporaryFolder folder_;
};

TEST_F(QemuProgram, ReadsTheVersionThatQemuPrints) {
  EXPECT_EQ(parse_qemu_version("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)\nCopyright"),
            (QemuVersion{7, 2}));
  EXPECT_EQ(parse_qemu_version("10.1"), (QemuVersion{10, 1}));
  EXPECT_EQ(parse_qemu_version("QEMU emulator version 9.0.50"), (QemuVersion{9, 0}));
  for (const std::string_view none :
       {"", "seven", "7", "7.", "7.x", "-7.2", "7.2x", "99999999999.1", "version"})
    EXPECT_FALSE(parse_qemu_version(none)) << none;
}

TEST_F(QemuProgram, AsksAProgramAndRefusesWhatIsNoQemu) {
  EXPECT_EQ(*ask_qemu_version(program("qemu", "echo 'QEMU emulator version 8.1.3'")), (QemuVersion{8, 1}));
  EXPECT_NE(ask_qemu_version("/no/such/qemu").error().message.find("cannot start"), std::string::npos);
  EXPECT_FALSE(ask_qemu_version(program("other", "echo coreutils 9")));
  EXPECT_FALSE(ask_qemu_version(program("failing", "echo 'QEMU emulator version 8.1'; exit 3")));
  EXPECT_FALSE(ask_qemu_version(program("talking", "yes 'QEMU emulator version 8.1'")));
}

TEST_F(QemuProgram, PassesTheStatusOfTheGuestThrough) {
  const auto end = run_qemu({program("guest", "echo 'no luck' >&2; exit 42")});
  ASSERT_TRUE(end);
  EXPECT_EQ(end->status, 42);
  EXPECT_EQ(end->errors, "no luck\n");
  EXPECT_EQ(run_qemu({program("killed", "kill -9 $$")})->status, 128 + 9);
  EXPECT_EQ(run_qemu({program("good", "exit 0")})->status, 0);
  EXPECT_FALSE(run_qemu({"/no/such/qemu"}));
}

TEST_F(QemuProgram, KnowsWhatQemuEndsWithWithoutTheHardware) {
  const auto* failure = find_qemu_failure(
      "qemu-system-x86_64: -accel kvm: sev_kvm_init: Failed to open /dev/sev 'No such file or directory'\n");
  ASSERT_NE(failure, nullptr);
  EXPECT_NE(failure->cause.find("/dev/sev"), std::string_view::npos);
  EXPECT_EQ(find_qemu_failure("qemu-system-x86_64: all is well"), nullptr);
}

TEST_F(QemuProgram, HasOneRemedyForEachMessage) {
  std::set<std::string_view> seen;
  for (const QemuFailure& failure : qemu_failures()) {
    EXPECT_TRUE(seen.insert(failure.message).second) << failure.message;
    EXPECT_EQ(find_qemu_failure(failure.message), &failure) << "an earlier entry hides " << failure.message;
    EXPECT_FALSE(failure.cause.empty() || failure.remedy.empty());
  }
}

}  // namespace
}  // namespace cbit::launch
