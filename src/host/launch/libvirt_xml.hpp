// A libvirt domain, read as the QEMU options that libvirt makes of it.
//
// Only what memory encryption has to do with is read; <qemu:commandline> is read as QEMU's words. What
// libvirt adds by itself is added: a balloon, i440fx, the processor qemu64. No entity but XML's own five is
// expanded.
#pragma once

#include <string_view>

#include "launch/guest_config.hpp"

namespace cbit::launch {

// Whether a file's text is XML rather than a command line.
[[nodiscard]] bool looks_like_xml(std::string_view text);

// Errors (input): no XML, no domain, a domain of another architecture, more than 4 MiB, a document type.
[[nodiscard]] OrError<GuestConfig> parse_libvirt_domain(std::string_view xml);

}  // namespace cbit::launch
