#include "mem/snapshot.hpp"

#include <algorithm>
#include <utility>

namespace cbit::mem {

void Lender::settle_all() {
  while (!alone()) static_cast<Snapshot*>(next())->keep();
}

void Snapshot::keep() {
  leave();
  own_.assign(bytes_.begin(), bytes_.end());
  bytes_ = own_;
}

void Snapshot::take(Snapshot& other) {
  leave();
  if (!other.alone()) join(other);
  other.leave();
  own_ = std::move(other.own_);
  bytes_ = std::exchange(other.bytes_, {});
}

ByteSpan Snapshot::extend(std::size_t bytes) {
  if (!alone()) keep();
  own_.resize(own_.size() + bytes);
  bytes_ = own_;
  return ByteSpan{own_}.last(bytes);
}

void Snapshot::extend(ConstByteSpan lent, Lender& lender) {
  if (bytes_.empty()) {
    join(lender);
    bytes_ = lent;
  } else if (!alone() && bytes_.data() + bytes_.size() == lent.data()) {
    bytes_ = {bytes_.data(), bytes_.size() + lent.size()};
  } else {
    std::ranges::copy(lent, extend(lent.size()).begin());
  }
}

}  // namespace cbit::mem
