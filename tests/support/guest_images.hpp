// Images in a few instructions of 32-bit code, which speak through port E9h and the serial port, and end
// through port F4h. Encodings: Intel SDM vol. 2.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string_view>

#include "support/boot_images.hpp"

namespace cbit::test {

class GuestCode {
 public:
  static constexpr std::uint64_t base = 0x40'0000;

  GuestCode& bytes(std::initializer_list<unsigned> values) {
    for (const unsigned value : values) code_.push_back(static_cast<std::byte>(value));
    return *this;
  }
  GuestCode& dword(std::uint32_t value) {
    return bytes({value & 0xff, value >> 8 & 0xff, value >> 16 & 0xff, value >> 24});
  }
  // mov al, c; out 0xe9, al
  GuestCode& debug(std::string_view text) {
    for (const char c : text) bytes({0xb0, static_cast<unsigned char>(c), 0xe6, 0xe9});
    return *this;
  }
  // mov dx, port; mov al, c; out dx, al
  GuestCode& serial(std::string_view text, std::uint16_t port = 0x3f8) {
    bytes({0x66, 0xba, port & 0xffu, std::uint32_t{port} >> 8});
    for (const char c : text) bytes({0xb0, static_cast<unsigned char>(c), 0xee});
    return *this;
  }
  // mov dword [at], value
  GuestCode& store(std::uint32_t at, std::uint32_t value) {
    return bytes({0xc7, 0x05}).dword(at).dword(value);
  }
  // mov al, value; out 0xf4, al; hlt
  GuestCode& exit(std::uint8_t value) { return bytes({0xb0, value, 0xe6, 0xf4, 0xf4}); }

  [[nodiscard]] Bytes multiboot() const {
    constexpr std::uint32_t magic = 0x1bad'b002;
    Bytes text;
    put_at<std::uint32_t>(text, 0, magic);
    put_at<std::uint32_t>(text, 4, 0);
    put_at<std::uint32_t>(text, 8, 0u - magic);
    return image(text, {});
  }
  [[nodiscard]] Bytes pvh() const {
    constexpr std::uint32_t phys32_entry = 18;
    Bytes entry;
    put_at<std::uint32_t>(entry, 0, base + entry_offset);
    return image(Bytes(12), FakeElf::note("Xen", phys32_entry, entry));
  }

 private:
  static constexpr std::uint64_t entry_offset = 16;

  [[nodiscard]] Bytes image(Bytes text, const Bytes& note) const {
    text.resize(entry_offset);
    text.insert(text.end(), code_.begin(), code_.end());
    FakeElf elf{.is_64_bit = false,
                .machine = 3,
                .entry = base + entry_offset,
                .segments = {{.vaddr = base, .paddr = base, .bytes = text, .memory_bytes = 0x10'0000}}};
    if (!note.empty()) elf.segments.push_back({.type = 4, .flags = 4, .bytes = note});
    return elf.file();
  }

  Bytes code_;
};

}  // namespace cbit::test
