#include "guest/vsock.hpp"

#include <utility>

#include "guest/journal_devices.hpp"
#include "net/vsock_sockets.hpp"

namespace cbit::guest {

OrError<VsockRequest> parse_vsock(std::string_view text) {
  std::string device{"virtio-vsock"};
  std::string_view path = text;
  for (std::size_t comma; (comma = path.rfind(',')) != std::string_view::npos; path = path.substr(0, comma)) {
    const std::string_view option = path.substr(comma);
    if (option.find('=') == std::string_view::npos) break;
    device.insert(std::string_view{"virtio-vsock"}.size(), option);
  }
  return VsockRequest{.path = std::string{path}, .device = CBIT_TRY(machine::parse_device(device))};
}

OrError<Vsock> open_vsock(VsockRequest request, Journal* journal) {
  Vsock vsock{.backend = nullptr, .device = std::move(request.device)};
  if (journal == nullptr || !journal->replays())
    vsock.backend = CBIT_TRY(net::VsockSockets::create(request.path));
  if (journal != nullptr)
    vsock.backend = std::make_unique<JournaledVsock>(*journal, std::move(vsock.backend));
  machine::connect(vsock.device, *vsock.backend);
  return vsock;
}

}  // namespace cbit::guest
