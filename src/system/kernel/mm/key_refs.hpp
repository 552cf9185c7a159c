// Who holds on to a KeyID: each VMA and each 4 KiB page that is encrypted under it counts once (RFC "x86/mm:
// Track the usage of encryption keys", vma_get_encrypt_ref and page_get_encrypt_ref). A KeyID whose key is
// gone may be given away again only when its count is 0: a page that a driver has pinned outlives its VMA.
//
// KeyID 0 and the single key of AMD and TDX are not counted.
// Threading: one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "mem/key_layout.hpp"

namespace cbit::kernel {

class KeyIdRefs {
 public:
  [[nodiscard]] std::uint64_t count(mem::KeySelector id) const {
    return id < counts_.size() ? counts_[id] : 0;
  }
  // Called when the last reference to a KeyID goes.
  void on_unused(std::function<void(mem::KeySelector)> callback) { on_unused_ = std::move(callback); }

 private:
  friend class KeyIdRef;
  void add(mem::KeySelector id) {
    if (id >= counts_.size()) counts_.resize(id + 1u);
    ++counts_[id];
  }
  void drop(mem::KeySelector id) {
    if (--counts_[id] == 0 && on_unused_) on_unused_(id);
  }

  std::vector<std::uint64_t> counts_;
  std::function<void(mem::KeySelector)> on_unused_;
};

// One reference. Copies count, too.
class KeyIdRef {
 public:
  KeyIdRef() = default;
  // `refs` outlives the reference; nullptr: a selector that nobody counts.
  KeyIdRef(KeyIdRefs* refs, mem::KeySelector id) : refs_{id == 0 ? nullptr : refs}, id_{id} {
    if (refs_ != nullptr) refs_->add(id_);
  }
  KeyIdRef(const KeyIdRef& other) : KeyIdRef{other.refs_, other.id_} {}
  KeyIdRef(KeyIdRef&& other) noexcept : refs_{std::exchange(other.refs_, nullptr)}, id_{other.id_} {}
  KeyIdRef& operator=(KeyIdRef other) noexcept {
    std::swap(refs_, other.refs_);
    std::swap(id_, other.id_);
    return *this;
  }
  ~KeyIdRef() {
    if (refs_ != nullptr) refs_->drop(id_);
  }

  // The encryption attribute: 1 for encrypted on AMD and TDX, the KeyID on MKTME.
  [[nodiscard]] mem::KeySelector id() const { return id_; }

 private:
  KeyIdRefs* refs_ = nullptr;
  mem::KeySelector id_ = 0;
};

}  // namespace cbit::kernel
