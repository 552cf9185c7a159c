// Kata Containers' configuration.toml as the guest that its runtime starts with QEMU.
//
// What the runtime makes of a key is in its repository: src/runtime/virtcontainers/qemu.go, qemu_amd64.go,
// src/runtime/pkg/katautils/config.go. Which protection it takes it finds out of the host; here it is
// SEV-SNP where sev_snp_guest is set, else TDX.
#pragma once

#include <string_view>

#include "launch/guest_config.hpp"

namespace cbit::launch {

[[nodiscard]] bool looks_like_kata(std::string_view text);
// Errors (input) name the line: no TOML, a value of another type, a hypervisor that is not QEMU.
[[nodiscard]] OrError<GuestConfig> parse_kata_config(std::string_view text);

}  // namespace cbit::launch
