#include "testbed/views.hpp"

#include <algorithm>
#include <optional>

namespace cbit::testbed {
namespace {

// Sixteen digits of one alphabet each, so that a byte tells its author.
constexpr std::string_view alphabets[] = {"abcdefghijklmnop", "ABCDEFGHIJKLMNOP", "0123456789"};

bool equal(ConstByteSpan a, ConstByteSpan b) { return std::ranges::equal(a, b); }

// Every byte is the data's, the old contents' or zero: what somebody who holds the key knows.
bool is_known(ConstByteSpan bytes, ConstByteSpan data, ConstByteSpan old) {
  for (std::size_t i = 0; i < bytes.size(); ++i)
    if (bytes[i] != data[i] && bytes[i] != old[i] && bytes[i] != std::byte{0}) return false;
  return true;
}

Sees classify_block(ConstByteSpan seen, ConstByteSpan dram, ConstByteSpan owners, ConstByteSpan data,
                    ConstByteSpan old) {
  if (equal(seen, data)) return Sees::plaintext;
  if (equal(seen, old)) return Sees::old;
  if (all_zero(seen)) return Sees::zeros;
  if (is_known(seen, data, old)) return Sees::mixed;
  return equal(seen, dram) && is_known(owners, data, old) ? Sees::ciphertext : Sees::noise;
}

}  // namespace

void write_authored(Author author, std::uint64_t offset, ByteSpan to) {
  const std::string_view alphabet = alphabets[static_cast<unsigned>(author)];
  for (std::size_t n = 0; n < to.size(); ++n) {
    const std::size_t i = offset + n;
    // A digit of the block number, most significant first, turned by the place, so that a dump is easy to
    // follow.
    const std::size_t place = i % crypt::cipher_block_size;
    std::size_t digit = i / crypt::cipher_block_size;
    for (std::size_t right = crypt::cipher_block_size - 1; right > place; --right) digit /= alphabet.size();
    to[n] = static_cast<std::byte>(alphabet[(digit + place) % alphabet.size()]);
  }
}

Bytes authored_bytes(Author author, std::size_t size) {
  Bytes bytes(size);
  write_authored(author, 0, bytes);
  return bytes;
}

View View::of_bytes(const mem::Memory& memory, PhysAddr at, Bytes seen, KeyId platform_key) {
  View view{.seen = std::move(seen), .dram = {}, .owners = {}, .at = at};
  view.dram.resize(view.seen.size());
  view.owners.resize(view.seen.size());
  // Outside RAM (a BAR) there is no ciphertext: what is seen is what is there.
  if (!memory.probe(at, view.dram) || !memory.peek(at, view.owners, platform_key))
    view.dram = view.owners = view.seen;
  return view;
}

View View::of_memory(const mem::Memory& memory, PhysAddr at, std::size_t size, KeyId key,
                     KeyId platform_key) {
  Bytes seen(size);
  if (!memory.peek(at, seen, key)) seen.clear();
  return of_bytes(memory, at, std::move(seen), platform_key);
}

Sees classify(const View& view, ConstByteSpan data, ConstByteSpan old) {
  std::optional<Sees> verdict;
  for (std::size_t i = 0; i < view.seen.size();) {
    const std::size_t in_block = crypt::cipher_block_size - (view.at.value() + i) % crypt::cipher_block_size;
    const std::size_t n = std::min(in_block, view.seen.size() - i);
    const auto part = [&](const auto& bytes) { return ConstByteSpan{bytes}.subspan(i, n); };
    const Sees block =
        classify_block(part(view.seen), part(view.dram), part(view.owners), part(data), part(old));
    if (verdict && *verdict != block) return Sees::mixed;
    verdict = block;
    i += n;
  }
  return verdict.value_or(Sees::none);
}

}  // namespace cbit::testbed
