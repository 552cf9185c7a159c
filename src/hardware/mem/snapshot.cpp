#include "mem/snapshot.hpp"

#include <algorithm>
#include <utility>

#include "base/assert.hpp"

namespace cbit::mem {

void Lender::settle_all() {
  while (!alone()) static_cast<Snapshot*>(next())->keep();
}

void Snapshot::keep() {
  leave();
  own_.assign(bytes_.begin(), bytes_.end());
  bytes_ = own_;
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

Snapshot Snapshot::part(std::size_t offset, std::size_t bytes) {
  const ConstByteSpan wanted = bytes_.subspan(offset, bytes);
  Snapshot part;
  if (is_lent()) {
    part.join(*this);
    part.bytes_ = wanted;
  } else {
    std::ranges::copy(wanted, part.extend(bytes).begin());
  }
  return part;
}

void SnapshotQueue::extend(UnfilledBytes own) {
  size_ += own.size();
  runs_.emplace_back(std::move(own));
}

void SnapshotQueue::extend(ConstByteSpan lent, Lender& lender) {
  size_ += lent.size();
  const bool follows = !runs_.empty() && runs_.back().is_lent() &&
                       runs_.back().bytes().data() + runs_.back().bytes().size() == lent.data();
  (follows ? runs_.back() : runs_.emplace_back()).extend(lent, lender);
}

Snapshot SnapshotQueue::take(std::size_t bytes) {
  CBIT_ASSERT(bytes <= size_);
  size_ -= bytes;
  if (bytes == 0) return {};
  Snapshot& run = runs_[front_];
  const std::size_t end = run.bytes().size();
  if (bytes > end - offset_) return joined(bytes);
  const std::size_t from = std::exchange(offset_, offset_ + bytes);
  if (offset_ == end) {
    ++front_;
    offset_ = 0;
  }
  return bytes == end ? std::move(run) : run.part(from, bytes);
}

Snapshot SnapshotQueue::joined(std::size_t bytes) {
  UnfilledBytes all;
  all.reserve(bytes);
  while (all.size() < bytes) {
    const ConstByteSpan rest = runs_[front_].bytes().subspan(offset_);
    const std::size_t now = std::min(rest.size(), bytes - all.size());
    all.insert(all.end(), rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(now));
    offset_ += now;
    if (now == rest.size()) {
      ++front_;
      offset_ = 0;
    }
  }
  return Snapshot{std::move(all)};
}

}  // namespace cbit::mem
