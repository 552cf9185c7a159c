// What to do about a cause: for whom, and with which kernels.
//
// The catalogue states each remedy once (watch/causes/); who prints one asks remedies_for() with the reader
// who stands before it and the kernel that it is about.
#pragma once

#include <array>
#include <cstddef>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/words.hpp"
#include "spec/linux_release.hpp"

namespace cbit::watch {

// Who can do it.
enum class Reader : std::uint8_t {
  system_operator,     // configures hosts and guests, chooses what runs on them
  driver_author,       // of the driver that maps the memory
  application_author,  // of the program whose memory it is
  kernel_developer,    // of the DMA, IOMMU and memory encryption code
  vmm_author,          // of QEMU and its like
};

inline constexpr Word<Reader> reader_words[] = {{"operator", Reader::system_operator},
                                                {"driver-author", Reader::driver_author},
                                                {"application-author", Reader::application_author},
                                                {"kernel-developer", Reader::kernel_developer},
                                                {"vmm-author", Reader::vmm_author}};
// For people: "driver author".
[[nodiscard]] std::string to_string(Reader reader);

struct Remedy {
  Reader reader{};
  std::string_view text;
  std::optional<spec::KernelRelease> first = std::nullopt;  // the oldest that it is for
  std::optional<spec::KernelRelease> end = std::nullopt;    // the oldest that it is no longer for
  std::string_view driver =
      {};  // for devices of this driver, in place of the reader's others; empty: for all

  [[nodiscard]] constexpr Remedy since(unsigned major, unsigned minor) const {
    Remedy bounded = *this;
    bounded.first = {major, minor};
    return bounded;
  }
  [[nodiscard]] constexpr Remedy before(unsigned major, unsigned minor) const {
    Remedy bounded = *this;
    bounded.end = {major, minor};
    return bounded;
  }
  [[nodiscard]] constexpr Remedy of_driver(std::string_view name) const {
    Remedy special = *this;
    special.driver = name;
    return special;
  }
};

constexpr Remedy for_operator(std::string_view text) { return {Reader::system_operator, text}; }
constexpr Remedy for_driver(std::string_view text) { return {Reader::driver_author, text}; }
constexpr Remedy for_application(std::string_view text) { return {Reader::application_author, text}; }
constexpr Remedy for_kernel(std::string_view text) { return {Reader::kernel_developer, text}; }
constexpr Remedy for_vmm(std::string_view text) { return {Reader::vmm_author, text}; }

// A cause's remedies, in the catalogue's order. A text alone is for the driver's author.
class RemedyList {
 public:
  static constexpr std::size_t size_max = 5;

  constexpr RemedyList() = default;
  consteval RemedyList(const char* text) : RemedyList{for_driver(text)} {}
  // More than size_max do not compile.
  consteval RemedyList(std::initializer_list<Remedy> all) {
    for (const Remedy& one : all) remedies_.at(size_++) = one;
  }

  [[nodiscard]] constexpr const Remedy* begin() const { return remedies_.data(); }
  [[nodiscard]] constexpr const Remedy* end() const { return remedies_.data() + size_; }
  [[nodiscard]] constexpr std::size_t size() const { return size_; }

 private:
  std::array<Remedy, size_max> remedies_{};
  std::size_t size_ = 0;
};

// Who asks, and about what.
struct RemedyQuestion {
  Reader reader = Reader::driver_author;
  std::optional<spec::KernelRelease> kernel = std::nullopt;  // nullopt: the newest
  std::string_view driver = {};                              // of the device; empty: not known
};

// Those that hold for the kernel and the driver; the asking reader's first, else in the catalogue's order.
[[nodiscard]] std::vector<Remedy> remedies_for(const RemedyList& all, const RemedyQuestion& question);

// " (Linux 6.6 and later)"; empty where it is for every kernel.
[[nodiscard]] std::string kernels_of(const Remedy& remedy);
// "driver author: Unmap first, then free."
[[nodiscard]] std::string to_text(const Remedy& remedy);

}  // namespace cbit::watch
