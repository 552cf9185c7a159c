#include "guest/secret_search.hpp"

#include <algorithm>
#include <functional>
#include <string_view>

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

}  // namespace

std::vector<SecretFound> search_secrets(const mem::Memory& memory, const std::vector<std::string>& secrets) {
  std::vector<SecretFound> found;
  std::vector<Search> by_host, in_dram;
  for (const std::string& secret : secrets) {
    found.push_back({.secret = secret, .places = {}});
    by_host.emplace_back(secret);
    in_dram.emplace_back(secret);
  }
  Bytes page(page_size);
  memory.for_each_touched([&](PhysAddr at, const mem::PageHistory&) {
    if (memory.peek(at, page, no_key))
      for (std::size_t i = 0; i < found.size(); ++i)
        by_host[i].page(at, page, [&one = found[i]](PhysAddr place) {
          if (one.host++ < SecretFound::places_max) one.places.push_back(place);
        });
    if (memory.probe(at, page))
      for (std::size_t i = 0; i < found.size(); ++i)
        in_dram[i].page(at, page, [&one = found[i]](PhysAddr) { ++one.dram; });
  });
  return found;
}

}  // namespace cbit::guest
