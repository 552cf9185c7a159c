#include "guest/ssh.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.hpp"
#include "boot/files.hpp"

namespace cbit::guest {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t key_bytes_max = 64ull << 10;
constexpr std::string_view public_ending = ".pub";
constexpr std::string_view make_a_key =
    "make one with ssh-keygen -t ed25519, or name one with --ssh-key FILE.pub";

// sshd(8): "ssh-ed25519", "ecdsa-sha2-nistp256", "sk-ssh-ed25519@openssh.com", ...
constexpr std::string_view key_types[] = {"ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-sha2-"};

}  // namespace

OrError<void> check_has_sshd(const fs::path& root) {
  for (const std::string_view program : {"usr/sbin/sshd", "usr/bin/ssh-keygen"}) {
    std::error_code error;
    if (!fs::is_regular_file(root / program, error))
      return bad_input(fmt::format("--ssh needs {}, which is not there", (root / program).string()),
                       "install openssh-server in that root");
  }
  return {};
}

OrError<std::string> read_public_key(const fs::path& file) {
  const Bytes contents = CBIT_TRY(boot::read_file(file, key_bytes_max));
  std::string_view line{reinterpret_cast<const char*>(contents.data()), contents.size()};
  if (line.find("PRIVATE KEY") != std::string_view::npos)
    return bad_input(fmt::format("{} is a private key", file.string()),
                     fmt::format("name its public half, {}{}", file.string(), public_ending));
  line = line.substr(0, line.find('\n'));
  const bool has_key = line.find(' ') != std::string_view::npos;
  const bool is_key = has_key && std::ranges::any_of(key_types, [line](std::string_view type) {
                        return line.starts_with(type);
                      });
  if (!is_key)
    return bad_input(fmt::format("{} is no public key of OpenSSH", file.string()), std::string{make_a_key});
  return std::string{line} + '\n';
}

OrError<std::vector<fs::path>> public_keys_of_user(const fs::path& home) {
  std::vector<fs::path> keys;
  std::error_code error;
  for (fs::directory_iterator at{home / ".ssh", error}, end; !error && at != end; at.increment(error)) {
    const std::string name = at->path().filename().string();
    if (name.starts_with("id_") && name.ends_with(public_ending)) keys.push_back(at->path());
  }
  if (keys.empty())
    return bad_input(fmt::format("there is no public key in {}", (home / ".ssh").string()),
                     std::string{make_a_key});
  std::ranges::sort(keys);
  return keys;
}

// Without PAM, which would want a system that has booted; without it, an account whose password begins with !
// is locked (sshd(8)), and root's does on some hosts. The overlay takes what is written.
std::string ssh_setup() {
  return fmt::format(R"(cd /cbit/root
mkdir -p -m 755 run/sshd run/cbit-ssh
cp /{} run/cbit-ssh/authorized_keys
rm -f etc/shadow
(umask 077; echo 'root:*:1::::::' > etc/shadow)
cp /etc/resolv.conf run/cbit-ssh/resolv.conf && rm -f etc/resolv.conf && cp run/cbit-ssh/resolv.conf etc/
chroot . /usr/bin/ssh-keygen -q -t ed25519 -N '' -f /run/cbit-ssh/host_key < /dev/null &&
chroot . /usr/sbin/sshd -f /dev/null -h /run/cbit-ssh/host_key -o PidFile=none -o UsePAM=no \
  -o PermitRootLogin=prohibit-password -o PasswordAuthentication=no -o KbdInteractiveAuthentication=no \
  -o StrictModes=no -o AuthorizedKeysFile=/run/cbit-ssh/authorized_keys -o UseDNS=no \
  -o 'Subsystem=sftp internal-sftp' ||
  echo '<3>cbit: sshd did not start' > /dev/kmsg
)",
                     ssh_keys_file);
}

std::string ssh_command_line(std::uint16_t port, const std::string& key) {
  std::string line = fmt::format("ssh -p {}", port);
  if (key.ends_with(public_ending))
    line += " -i " + shell_quoted(key.substr(0, key.size() - public_ending.size()));
  return line + " -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null root@127.0.0.1";
}

}  // namespace cbit::guest
