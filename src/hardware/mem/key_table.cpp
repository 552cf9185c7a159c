#include "mem/key_table.hpp"

#include "base/assert.hpp"

namespace cbit::mem {

KeyTable::KeyTable(std::uint64_t seed, crypt::CipherMode mode)
    : seed_{seed}, mode_{mode}, tweaks_{std::make_shared<const crypt::TweakTable>(seed)} {}

void KeyTable::set(KeyId id, const crypt::Key128& key) {
  CBIT_ASSERT(id != no_key);
  if (id >= ciphers_.size()) ciphers_.resize(id + 1u);
  ciphers_[id] = std::make_unique<const crypt::Cipher>(key, tweaks_, mode_);
}

void KeyTable::clear(KeyId id) {
  if (id < ciphers_.size()) ciphers_[id].reset();
}

}  // namespace cbit::mem
