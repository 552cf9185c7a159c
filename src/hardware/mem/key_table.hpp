// The keys that a machine's memory controller holds: key 0 is "none", key 1 the SME host key (ASID 0), key 1
// + n that of the guest with ASID n; on MKTME key n is KeyID n.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/ids.hpp"
#include "base/state_stream.hpp"
#include "crypt/xex.hpp"

namespace cbit::mem {

inline constexpr KeyId host_key = 1;
[[nodiscard]] constexpr KeyId guest_key(unsigned asid) { return static_cast<KeyId>(1 + asid); }

// Not thread-safe against set() and clear(); lookups may run in parallel.
class KeyTable {
 public:
  // `seed` gives the tweak constants, and through derive_key() the keys of install_derived().
  KeyTable(std::uint64_t seed, crypt::CipherMode mode);

  // Installs a key; `id` is not no_key. Memory that was written under the old key becomes noise, so Memory
  // must be told first: Memory::rekey() does both.
  void set(KeyId id, const crypt::Key128& key);
  void set_derived(KeyId id, std::string_view label) { set(id, crypt::derive_key(seed_, label)); }
  void clear(KeyId id);
  // The keys themselves. Before the memory's.
  void transfer(StateStream& s);
  void replace(KeyId id, const std::optional<crypt::Key128>& key) { key ? set(id, *key) : clear(id); }

  // nullptr for no_key and for keys that were never installed: such an access is not encrypted.
  [[nodiscard]] const crypt::Cipher* cipher(KeyId id) const {
    return id < ciphers_.size() ? ciphers_[id].get() : nullptr;
  }
  [[nodiscard]] bool installed(KeyId id) const { return cipher(id) != nullptr; }

 private:
  std::uint64_t seed_;
  crypt::CipherMode mode_;
  std::shared_ptr<const crypt::TweakTable> tweaks_;
  std::vector<std::unique_ptr<const crypt::Cipher>> ciphers_;
  std::vector<std::optional<crypt::Key128>> keys_;  // by number, as the ciphers
};

}  // namespace cbit::mem
