// The options of cbit launch, as a request.
#pragma once

#include <string_view>

#include "cli/arguments.hpp"
#include "cli/command.hpp"
#include "launch/plan.hpp"

namespace cbit::cli {

[[nodiscard]] std::span<const OptionSpec> launch_option_table();

// "disk.img,format=qcow2,ro,id=root". A doubled comma stands for one.
[[nodiscard]] OrError<launch::DiskRequest> parse_disk(std::string_view text);
// "none" (nullopt), "user,hostfwd=tcp::2222-:22", "tap,ifname=tap0,vhost=on".
[[nodiscard]] OrError<std::optional<launch::NetRequest>> parse_net(std::string_view text);

// The words after -- are QEMU's.
[[nodiscard]] OrError<launch::LaunchRequest> launch_request(const Arguments& arguments);

}  // namespace cbit::cli
