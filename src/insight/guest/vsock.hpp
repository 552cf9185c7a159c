// A PC's socket device: the device, and what it is connected to on the host, from the words of
// `cbit run --vsock`.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "dev/vsock_backend.hpp"
#include "guest/journal.hpp"
#include "machine/slots.hpp"

namespace cbit::guest {

struct VsockRequest {
  std::string path;
  machine::DeviceRequest device;
};

// "PATH[,guest-cid=N][,OPTION=VALUE]..."; a comma that no NAME=VALUE follows is the path's. Errors (usage):
// an option that the device does not have, a value that is none.
OrError<VsockRequest> parse_vsock(std::string_view text);

struct Vsock {
  std::unique_ptr<dev::VsockBackend> backend;
  machine::DeviceRequest device;  // connected to it
};

// With a journal between, if there is one; in a replay nothing of the host's is opened. Errors: those of
// net::VsockSockets.
OrError<Vsock> open_vsock(VsockRequest request, Journal* journal = nullptr);

}  // namespace cbit::guest
