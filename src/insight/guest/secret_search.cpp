#include "guest/secret_search.hpp"

#include <algorithm>
#include <functional>
#include <string_view>
#include <utility>

namespace cbit::guest {
namespace {

// Looks through pages that come in ascending order. What stands across two neighbours is found, too.
class Search {
 public:
  explicit Search(std::string_view secret) : finder_{secret.begin(), secret.end()}, bytes_{secret.size()} {}

  template <class Found>
  void page(PhysAddr at, ConstByteSpan bytes, Found found) {
    if (bytes_ == 0) return;
    if (at != next_) text_.clear();
    const std::size_t kept = text_.size();
    text_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    for (auto from = text_.begin();;) {
      const auto hit = std::search(from, text_.end(), finder_);
      if (hit == text_.end()) break;
      found(at + static_cast<std::uint64_t>(hit - text_.begin()) - kept);
      from = hit + 1;
    }
    text_.erase(0, text_.size() - std::min(text_.size(), bytes_ - 1));
    next_ = at + bytes.size();
  }

 private:
  std::boyer_moore_horspool_searcher<std::string_view::const_iterator> finder_;
  std::size_t bytes_;
  std::string text_;  // the end of the last page, and this one
  PhysAddr next_;
};

// One secret, in what each of the three sees.
class Hunt {
 public:
  Hunt(const std::string& secret, KeyId guest_key)
      : guest_key_{guest_key}, by_guest_{secret}, by_host_{secret}, in_dram_{secret} {
    found_.secret = secret;
  }

  void look(const mem::Memory& memory, PhysAddr at, ByteSpan page) {
    if (guest_key_ != no_key && memory.peek(at, page, guest_key_))
      by_guest_.page(at, page, [this](PhysAddr place) {
        if (found_.guest++ == 0) first_ = {place, guest_key_};
      });
    if (memory.peek(at, page, no_key))
      by_host_.page(at, page, [this](PhysAddr place) {
        if (found_.host++ < SecretFound::places_max) found_.places.push_back(place);
      });
    if (memory.probe(at, page)) in_dram_.page(at, page, [this](PhysAddr) { ++found_.dram; });
  }

  SecretFound finish(const mem::Memory& memory) && {
    if (found_.guest == 0 && found_.host != 0) first_ = {found_.places.front(), no_key};
    if (found_.guest + found_.host != 0) found_.views = views_at(memory, first_.first, first_.second);
    return std::move(found_);
  }

 private:
  KeyId guest_key_;
  Search by_guest_, by_host_, in_dram_;
  std::pair<PhysAddr, KeyId> first_;
  SecretFound found_;
};

}  // namespace

SecretViews views_at(const mem::Memory& memory, PhysAddr at, KeyId guest_key) {
  const std::size_t bytes = std::min<std::size_t>(SecretViews::bytes_max, page_size - at.page_offset());
  SecretViews views{.at = at, .guest = Bytes(bytes), .host = Bytes(bytes), .dram = Bytes(bytes)};
  (void)memory.peek(at, views.guest, guest_key);
  (void)memory.peek(at, views.host, no_key);
  (void)memory.probe(at, views.dram);
  return views;
}

std::vector<SecretFound> search_secrets(const mem::Memory& memory, KeyId guest_key,
                                        const std::vector<std::string>& secrets) {
  std::vector<Hunt> hunts;
  for (const std::string& secret : secrets) hunts.emplace_back(secret, guest_key);
  Bytes page(page_size);
  if (!hunts.empty())
    memory.for_each_touched([&](PhysAddr at, const mem::PageHistory&) {
      for (Hunt& hunt : hunts) hunt.look(memory, at, page);
    });
  std::vector<SecretFound> found;
  for (Hunt& hunt : hunts) found.push_back(std::move(hunt).finish(memory));
  return found;
}

}  // namespace cbit::guest
