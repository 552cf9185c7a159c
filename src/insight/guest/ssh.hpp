// An ssh server in a guest whose root is a folder of the host's (guest/host_root.hpp): the root's own sshd,
// with a host key that the guest makes for itself, for those whose keys were given. Nothing is written into
// the folder, and nobody gets in by a password.
//
// Threading: none of its own.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.hpp"
#include "base/result.hpp"

namespace cbit::guest {

// Where in the initramfs they are to be.
inline constexpr std::string_view ssh_keys_file = "cbit/ssh_keys";

// Errors (input): the root has no OpenSSH server.
OrError<void> check_has_sshd(const std::filesystem::path& root);

// A file's one line, as OpenSSH writes it (sshd(8), "AUTHORIZED_KEYS FILE FORMAT"), with a newline.
// Errors (input): it cannot be read, is the private half, or is none.
OrError<std::string> read_public_key(const std::filesystem::path& file);
// Those of ~/.ssh, in the order of their names: id_*.pub. Errors (input): there is none.
OrError<std::vector<std::filesystem::path>> public_keys_of_user(const std::filesystem::path& home);

// What a guest runs once when its root is ready and its network is up.
[[nodiscard]] std::string ssh_setup();

// What somebody on the host writes to get in: `key` is the file that was named, empty where it was not.
[[nodiscard]] std::string ssh_command_line(std::uint16_t port, const std::string& key);

}  // namespace cbit::guest
