// A guest's memory without a guest: pages are mapped by being written.
#pragma once

#include <algorithm>
#include <map>
#include <string_view>

#include "linux/guest_memory.hpp"
#include "support/linux/file_writer.hpp"

namespace cbit::test {

class FakeGuest : public linux::GuestMemory {
 public:
  [[nodiscard]] bool read(VirtAddr at, ByteSpan into) const override {
    for (std::size_t i = 0; i < into.size(); ++i) {
      const auto page = pages_.find((at + i).page());
      if (page == pages_.end()) return false;
      into[i] = page->second[(at + i).page_offset()];
    }
    return true;
  }
  [[nodiscard]] std::optional<Place> place_of(VirtAddr at) const override {
    const auto set = places_.find(at.page());
    if (set != places_.end()) return Place{set->second.phys + at.page_offset(), set->second.encrypted};
    if (!pages_.contains(at.page())) return std::nullopt;
    return Place{PhysAddr{at.value() & bit_mask(39)}, true};
  }

  void write(VirtAddr at, ConstByteSpan bytes) {
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      Bytes& page = pages_[(at + i).page()];
      page.resize(page_size);
      page[(at + i).page_offset()] = bytes[i];
    }
  }
  template <class T>
  void put(VirtAddr at, const T& value) {
    write(at, bytes_of(value));
  }
  void put_text(VirtAddr at, std::string_view text) { write(at, ByteWriter{}.text(text).put('\0').bytes()); }
  // Where the page is that has this address.
  void place(VirtAddr at, PhysAddr page, bool encrypted) { places_[at.page()] = {page, encrypted}; }
  void unmap(VirtAddr at) { pages_.erase(at.page()); }

 private:
  std::map<VirtAddr, Bytes> pages_;
  std::map<VirtAddr, Place> places_;
};

}  // namespace cbit::test
