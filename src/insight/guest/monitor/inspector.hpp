// A guest's memory and page tables, looked at from outside: nothing changes by it, no access is counted or
// traced, Accessed and Dirty stay, no page changes its owner, no device is read.
//
// Threading: that of the machine.
#pragma once

#include <functional>
#include <optional>
#include <string_view>

#include "guest/pc.hpp"

namespace cbit::guest {

class Inspector {
 public:
  explicit Inspector(const Pc& pc) : pc_{&pc} {}

  // Through whose eyes virtual addresses are seen; nobody chosen: the processor whose turn it is or was.
  void choose(std::size_t cpu) { chosen_ = cpu; }
  [[nodiscard]] const cpu::Cpu& cpu() const { return chosen_ ? pc_->cpu(*chosen_) : pc_->cpu(); }

  // Where an address leads, and the key that its mapping selects.
  struct Place {
    PhysAddr phys;
    KeyId key = no_key;
  };
  [[nodiscard]] std::optional<Place> place_of(VirtAddr at) const;
  // The same for a fetch, which a guest's C-bit does not decide: APM vol. 2, 15.34.5.
  [[nodiscard]] std::optional<Place> place_of_code(VirtAddr at) const;
  // A page's own key: what it was written with last, or, if never, what it reads as zeros with.
  [[nodiscard]] static KeyId key_of_page(const mem::PageHistory& page);
  [[nodiscard]] KeyId key_of_page(PhysAddr at) const { return key_of_page(memory().history(at)); }

  // False: not all of it is RAM.
  [[nodiscard]] bool read(const Place& from, ByteSpan to) const;

  // There are keys, so that not everybody sees the same bytes.
  [[nodiscard]] bool encrypts() const { return view().layout.mask() != 0; }
  // "guest", "host", or "none".
  [[nodiscard]] std::string_view key_name(KeyId key) const;
  // What a mapping's key bits say: "encrypted", "shared" (a guest's), "plain" (a host's); empty where there
  // are no keys.
  [[nodiscard]] std::string_view mapping_word(mem::KeySelector selector) const;

  // One page of the tables as they are now.
  struct Mapped {
    VirtAddr at;
    std::uint64_t bytes = 0;
    PhysAddr phys;
    mem::KeySelector selector = 0;
    paging::PageFlags flags;  // effective over all levels
    std::uint64_t entry = 0;  // the leaf
  };
  enum class Walked : std::uint8_t { whole, stopped, too_large };
  // In order, from the first that ends behind `from`; until `visit` says false, or so many tables were read
  // that the guest means them to have no end. Paging is on.
  Walked for_each_mapped(VirtAddr from, const std::function<bool(const Mapped&)>& visit) const;

  [[nodiscard]] const mem::KeyView& view() const { return pc_->machine().paging().view; }
  [[nodiscard]] const mem::Memory& memory() const { return pc_->machine().memory(); }

 private:
  const Pc* pc_;
  std::optional<std::size_t> chosen_;
};

}  // namespace cbit::guest
