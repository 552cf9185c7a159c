#include "dev/net_backend.hpp"

namespace cbit::dev {

void NetBackend::send(ConstByteSpan frame) {
  if (frame.size() <= tagged_frame_max && !is_full()) waiting_.emplace_back(frame.begin(), frame.end());
}

// A device that takes a frame may say at once that it has room for another.
void NetBackend::deliver() {
  if (delivering_) return;
  delivering_ = true;
  while (!waiting_.empty() && device_ != nullptr && device_->receive(waiting_.front())) waiting_.pop_front();
  delivering_ = false;
}

}  // namespace cbit::dev
