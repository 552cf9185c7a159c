#include "mem/key_table.hpp"

#include "base/assert.hpp"

namespace cbit::mem {

KeyTable::KeyTable(std::uint64_t seed, crypt::CipherMode mode)
    : seed_{seed}, mode_{mode}, tweaks_{std::make_shared<const crypt::TweakTable>(seed)} {}

void KeyTable::set(KeyId id, const crypt::Key128& key) {
  CBIT_ASSERT(id != no_key);
  if (id >= ciphers_.size()) {
    ciphers_.resize(id + 1u);
    keys_.resize(id + 1u);
  }
  keys_[id] = key;
  ciphers_[id] = std::make_unique<const crypt::Cipher>(key, tweaks_, mode_);
}

void KeyTable::clear(KeyId id) {
  if (id >= ciphers_.size()) return;
  ciphers_[id].reset();
  keys_[id].reset();
}

void KeyTable::transfer(StateStream& s) {
  const std::size_t count = s.count(keys_.size(), std::size_t{1} << (8 * sizeof(KeyId)));
  if (!s.good()) return;
  if (s.loads()) {
    ciphers_.clear();
    keys_.clear();
  }
  for (std::size_t id = 0; id < count; ++id) {
    std::optional<crypt::Key128> key = s.loads() ? std::nullopt : keys_[id];
    s(key);
    if (!s.loads() || !key) continue;
    s.require(id != no_key, "a key has the number of none");
    if (s.good()) set(static_cast<KeyId>(id), *key);
  }
}

}  // namespace cbit::mem
