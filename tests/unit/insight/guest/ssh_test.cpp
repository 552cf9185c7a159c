#include "guest/ssh.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "support/temporary_folder.hpp"

namespace cbit::guest {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

void write(const fs::path& path, std::string_view text) {
  fs::create_directories(path.parent_path());
  std::ofstream{path} << text;
}

// What ssh-keygen of OpenSSH 9.2 wrote.
constexpr std::string_view public_key =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBmZQmDBmVcVvYQXmnMlX7p9cDGfcsTf2bJmmWCnV5kQ me@host\n";

TEST(SshKey, IsOneLineOfAPublicKey) {
  const test::TemporaryFolder folder;
  write(folder.file("key.pub"), std::string{public_key} + "and more\n");
  EXPECT_EQ(read_public_key(folder.file("key.pub")), public_key);
}

TEST(SshKey, ThatIsNoneIsNamed) {
  const test::TemporaryFolder folder;
  write(folder.file("key"), "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNz\n");
  const auto secret = read_public_key(folder.file("key"));
  ASSERT_FALSE(secret);
  EXPECT_THAT(secret.error().message, HasSubstr("is a private key"));
  EXPECT_THAT(secret.error().hint, HasSubstr("key.pub"));
  for (const std::string_view none :
       {"", "\n", "ssh-ed25519", "me@host ssh-ed25519 AAAA", "command=\"x\" ssh-rsa A"}) {
    write(folder.file("none.pub"), none);
    const auto key = read_public_key(folder.file("none.pub"));
    ASSERT_FALSE(key) << none;
    EXPECT_EQ(key.error().code, ExitCode::bad_input);
    EXPECT_THAT(key.error().message, HasSubstr("is no public key"));
  }
  EXPECT_FALSE(read_public_key(folder.file("nowhere")));
}

TEST(SshKeys, OfTheUserAreThoseOfTheirFolder) {
  const test::TemporaryFolder folder;
  for (const std::string_view name : {"id_rsa.pub", "id_ed25519.pub", "id_rsa", "known_hosts", "work.pub"})
    write(fs::path{folder.file(".ssh")} / name, public_key);
  const auto keys = public_keys_of_user(folder.file(""));
  ASSERT_TRUE(keys) << keys.error().message;
  EXPECT_THAT(*keys, ElementsAre(fs::path{folder.file(".ssh/id_ed25519.pub")},
                                 fs::path{folder.file(".ssh/id_rsa.pub")}));
  const auto none = public_keys_of_user(folder.file("elsewhere"));
  ASSERT_FALSE(none);
  EXPECT_THAT(none.error().hint, HasSubstr("ssh-keygen"));
}

TEST(SshServer, IsTheRootsOwn) {
  const test::TemporaryFolder folder;
  write(folder.file("usr/sbin/sshd"), "");
  const auto half = check_has_sshd(folder.file(""));
  ASSERT_FALSE(half);
  EXPECT_THAT(half.error().message, HasSubstr("usr/bin/ssh-keygen, which is not there"));
  write(folder.file("usr/bin/ssh-keygen"), "");
  EXPECT_TRUE(check_has_sshd(folder.file("")));
}

TEST(SshServer, IsReachedByALineForTheShell) {
  EXPECT_EQ(ssh_command_line(2222, ""),
            "ssh -p 2222 -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null root@127.0.0.1");
  EXPECT_THAT(ssh_command_line(2222, "a key.pub"), HasSubstr("-i 'a key' "));
}

}  // namespace
}  // namespace cbit::guest
