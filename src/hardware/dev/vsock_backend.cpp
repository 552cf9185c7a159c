#include "dev/vsock_backend.hpp"

#include <utility>

namespace cbit::dev {

std::optional<VsockWord> VsockBackend::take() {
  if (said_.empty()) return std::nullopt;
  VsockWord word = std::move(said_.front());
  said_.pop_front();
  return word;
}

void VsockBackend::notify() {
  if (!said_.empty() && device_ != nullptr) device_->host_has_spoken();
}

}  // namespace cbit::dev
