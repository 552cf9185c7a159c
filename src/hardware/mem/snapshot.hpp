// Bytes of memory as they were when somebody read them, for a device that has them in flight.
//
// As long as that memory does not change they stay where they are and cost no copy: they are lent. Whoever is
// about to change a memory first settles what it has lent: each snapshot then has a copy of its own, and
// nobody can tell.
//
// Threading: one thread, that of the machine; what is lent of one memory hangs together.
#pragma once

#include <utility>

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
  Snapshot(Snapshot&& other) noexcept { take(other); }
  Snapshot& operator=(Snapshot&& other) noexcept {
    if (this != &other) take(other);
    return *this;
  }

  [[nodiscard]] ConstByteSpan bytes() const { return bytes_; }
  // Room for more bytes at its end, to be filled in before anything else happens to the snapshot.
  [[nodiscard]] ByteSpan extend(std::size_t bytes);
  // More bytes at its end, which do not change before `lender` is settled. They are copied unless they
  // follow what is there already.
  void extend(ConstByteSpan lent, Lender& lender);

 private:
  friend class Lender;
  void keep();
  void take(Snapshot& other);

  ConstByteSpan bytes_;  // in own_, or lent
  UnfilledBytes own_;
};

}  // namespace cbit::mem
