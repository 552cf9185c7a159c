// What somebody sees of a buffer, and what that is: decided by comparing bytes, never by asking who they are.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/bytes.hpp"
#include "cbit/words.hpp"
#include "crypt/xex.hpp"
#include "mem/memory.hpp"

namespace cbit::testbed {

enum class Sees : std::uint8_t {
  plaintext,   // the data that was to be transferred
  ciphertext,  // what memory holds where its owner sees the data or the old contents
  noise,       // anything else: decrypted with the wrong key, moved, or corrupted
  zeros,
  old,    // what the buffer held before the transfer
  mixed,  // several of these
  none,   // there was nothing to see: no mapping, or the access was refused
};

inline constexpr Word<Sees> sees_words[] = {{"plaintext", Sees::plaintext},
                                            {"ciphertext", Sees::ciphertext},
                                            {"noise", Sees::noise},
                                            {"zeros", Sees::zeros},
                                            {"old", Sees::old},
                                            {"mixed", Sees::mixed},
                                            {"none", Sees::none}};

[[nodiscard]] constexpr std::string_view to_string(Sees sees) { return word_of(sees_words, sees); }

// Contents that can be told apart byte by byte: the CPU's are lower-case letters, the device's upper-case
// letters, old ones digits. No two 16-byte blocks are equal. The position is part of the text, so a hex dump
// shows what moved.
enum class Author : std::uint8_t { cpu, device, before };
inline constexpr Word<Author> author_words[] = {
    {"cpu", Author::cpu}, {"device", Author::device}, {"before", Author::before}};
[[nodiscard]] Bytes authored_bytes(Author author, std::size_t size);
// What of them lies at `offset`.
void write_authored(Author author, std::uint64_t offset, ByteSpan to);

// One look at `seen.size()` bytes at a physical place.
struct View {
  Bytes seen;    // what the observer got; empty: nothing
  Bytes dram;    // what memory held there at that moment
  Bytes owners;  // the same under the platform's key
  PhysAddr at;   // for the block boundaries

  // `seen` as an observer with `key` gets it now.
  static View of_memory(const mem::Memory& memory, PhysAddr at, std::size_t size, KeyId key,
                        KeyId platform_key);
  // Bytes that an observer got by other means from the buffer at `at`.
  static View of_bytes(const mem::Memory& memory, PhysAddr at, Bytes seen, KeyId platform_key);
};

// Judges block by block. `data` is what was to be transferred and `old` what was there before; both as long
// as the view.
[[nodiscard]] Sees classify(const View& view, ConstByteSpan data, ConstByteSpan old);

}  // namespace cbit::testbed
