// Bytes of memory as they were when somebody read them, for a device that has them in flight.
//
// As long as that memory does not change they stay where they are and cost no copy: they are lent. Whoever is
// about to change a memory first settles what it has lent: each snapshot then has a copy of its own, and
// nobody can tell.
//
// Threading: one thread, that of the machine; what is lent of one memory hangs together.
#pragma once

#include <utility>
#include <vector>

#include "base/bytes.hpp"

namespace cbit::mem {

class Snapshot;

namespace detail {

// A place in a ring of those who hang together; alone at first.
class Ring {
 public:
  Ring() = default;
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;
  ~Ring() { leave(); }

  [[nodiscard]] bool alone() const { return next_ == this; }
  [[nodiscard]] Ring* next() const { return next_; }
  void leave() {
    previous_->next_ = next_;
    next_->previous_ = previous_;
    previous_ = next_ = this;
  }
  // Takes another's place; that one is alone then.
  void replace(Ring& other) {
    leave();
    if (other.alone()) return;
    previous_ = std::exchange(other.previous_, &other);
    next_ = std::exchange(other.next_, &other);
    previous_->next_ = next_->previous_ = this;
  }
  // Enters another's ring, in front of it.
  void join(Ring& other) {
    leave();
    previous_ = other.previous_;
    next_ = &other;
    previous_->next_ = other.previous_ = this;
  }

 private:
  Ring* previous_ = this;
  Ring* next_ = this;
};

}  // namespace detail

// Of one memory: the snapshots that rest on its bytes. It ends after they are settled.
class Lender : private detail::Ring {
 public:
  ~Lender() { settle(); }
  // Gives all of them copies.
  void settle() {
    if (!alone()) [[unlikely]]
      settle_all();
  }

 private:
  friend class Snapshot;
  void settle_all();
};

class Snapshot : private detail::Ring {
 public:
  Snapshot() = default;
  explicit Snapshot(UnfilledBytes bytes) : bytes_{bytes}, own_{std::move(bytes)} {}
  Snapshot(Snapshot&& other) noexcept : bytes_{std::exchange(other.bytes_, {})}, own_{std::move(other.own_)} {
    replace(other);
  }
  Snapshot& operator=(Snapshot&& other) noexcept {
    if (this == &other) return *this;
    replace(other);
    own_ = std::move(other.own_);
    bytes_ = std::exchange(other.bytes_, {});
    return *this;
  }

  [[nodiscard]] ConstByteSpan bytes() const { return bytes_; }
  // Room for more bytes at its end, to be filled in before anything else happens to the snapshot.
  [[nodiscard]] ByteSpan extend(std::size_t bytes);
  // More bytes at its end, which do not change before `lender` is settled. They are copied unless they
  // follow what is there already.
  void extend(ConstByteSpan lent, Lender& lender);
  // A snapshot of [offset, offset + bytes) of it, within its bounds; what is lent stays lent.
  [[nodiscard]] Snapshot part(std::size_t offset, std::size_t bytes);
  [[nodiscard]] bool is_lent() const { return !alone(); }

 private:
  friend class Lender;
  void keep();

  ConstByteSpan bytes_;  // in own_, or lent
  UnfilledBytes own_;
};

// What one read brought, however it is scattered over memory, to be taken from its front in parts of any
// size. A part is copied only if it lies in several places.
class SnapshotQueue {
 public:
  [[nodiscard]] std::size_t size() const { return size_; }
  // More bytes at its end: its own, or lent as Snapshot's.
  void extend(UnfilledBytes own);
  void extend(ConstByteSpan lent, Lender& lender);
  // The first `bytes` bytes, of which there are so many.
  [[nodiscard]] Snapshot take(std::size_t bytes);

 private:
  Snapshot joined(std::size_t bytes);

  std::vector<Snapshot> runs_;
  std::size_t front_ = 0;   // the first run that is not used up
  std::size_t offset_ = 0;  // of which so many bytes are
  std::size_t size_ = 0;
};

}  // namespace cbit::mem
