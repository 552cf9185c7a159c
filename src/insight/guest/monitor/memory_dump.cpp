#include "guest/monitor/memory_dump.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "base/bytes.hpp"
#include "base/safe_text.hpp"
#include "isa/decode.hpp"

namespace cbit::guest {
namespace {

constexpr std::string_view no_access = " Cannot access memory\n";
constexpr std::size_t bytes_in_line_max = 16;

// Where the bytes of a dump are: from an address on, as far as its page goes.
using Locate = std::function<std::optional<Inspector::Place>(std::uint64_t)>;

struct Line {
  std::array<std::byte, bytes_in_line_max> seen{}, host{}, dram{};
  KeyId key = no_key;  // of its first byte
};

std::size_t left_in_page(std::uint64_t at) { return page_size - at % page_size; }

std::optional<Line> read_line(const Inspector& inspector, const Locate& locate, std::uint64_t at,
                              std::size_t bytes) {
  Line line;
  for (std::size_t done = 0; done < bytes;) {
    const auto place = locate(at + done);
    if (!place) return std::nullopt;
    const std::size_t part = std::min(bytes - done, left_in_page(at + done));
    if (done == 0) line.key = place->key;
    if (!inspector.read(*place, std::span{line.seen}.subspan(done, part))) return std::nullopt;
    if (!inspector.read({place->phys, no_key}, std::span{line.host}.subspan(done, part))) return std::nullopt;
    if (!inspector.memory().probe(place->phys, std::span{line.dram}.subspan(done, part))) return std::nullopt;
    done += part;
  }
  return line;
}

std::string character_text(std::uint64_t value) {
  switch (value) {
    case '\'': return "'\\''";
    case '\\': return "'\\\\'";
    case '\n': return "'\\n'";
    case '\r': return "'\\r'";
    default: break;
  }
  if (value >= 0x20 && value < 0x7f) return fmt::format("'{}'", static_cast<char>(value));
  return fmt::format("'\\x{:02x}'", value);
}

std::size_t item_width(const DumpFormat& format) {
  const unsigned bits = format.bytes * 8;
  switch (format.format) {
    case 'o': return (bits + 2) / 3;
    case 'u':
    case 'd': return (bits * 10 + 32) / 33;
    case 'c': return 6;
    default: return bits / 4 + 2;
  }
}

std::string items_text(ConstByteSpan bytes, const DumpFormat& format) {
  std::string text;
  for (std::size_t at = 0; at < bytes.size(); at += format.bytes) {
    std::uint64_t value = 0;
    std::memcpy(&value, bytes.data() + at, format.bytes);
    text += ' ' + item_text(value, format);
  }
  return text;
}

std::string dump(const Inspector& inspector, std::uint64_t at, const DumpFormat& format,
                 const Locate& locate) {
  const bool keys = inspector.encrypts();
  const std::size_t line_bytes = keys || format.bytes == 1 ? 8 : 16;
  const std::size_t width = (item_width(format) + 1) * (line_bytes / format.bytes);
  std::string text;
  if (keys)
    text =
        fmt::format("{:17}{:<{}}  {:<16}  {:<16}  {}\n", "", " under its key", width, "host", "DRAM", "key");
  std::size_t left = std::size_t{format.count} * format.bytes;
  while (left != 0) {
    text += fmt::format("{:016x}:", at);
    const std::size_t now = std::min(left, line_bytes);
    const auto line = read_line(inspector, locate, at, now);
    if (!line) return text + std::string{no_access};
    const std::string items = items_text(std::span{line->seen}.first(now), format);
    if (keys)
      text +=
          fmt::format("{:<{}}  {:<16}  {:<16}  {}", items, width, to_hex(std::span{line->host}.first(now)),
                      to_hex(std::span{line->dram}.first(now)), inspector.key_name(line->key));
    else
      text += items;
    text += '\n';
    at += now;
    left -= now;
  }
  return text;
}

isa::Mode code_mode(isa::Mode mode, const DumpFormat& format) {
  if (format.code_bits == 0) return mode;
  return isa::Mode{}
      .with<isa::Mode::Long64>(format.code_bits == 64)
      .with<isa::Mode::Code32>(format.code_bits == 32);
}

std::string disassembly(const Inspector& inspector, isa::Mode mode, std::uint64_t at,
                        const DumpFormat& format, const Locate& locate, const NameOf& name_of) {
  constexpr std::size_t bytes_width = 2 * isa::instruction_bytes_max;
  std::string text;
  for (unsigned i = 0; i < format.count; ++i) {
    text += fmt::format("{:016x}:", at);
    // As much of an instruction as can be read: it may end where nothing follows.
    std::array<std::byte, isa::instruction_bytes_max> code{};
    std::size_t known = 0;
    while (known < code.size()) {
      const auto place = locate(at + known);
      const std::size_t part = std::min(code.size() - known, left_in_page(at + known));
      if (!place || !inspector.read(*place, std::span{code}.subspan(known, part))) break;
      known += part;
    }
    if (known == 0) return text + std::string{no_access};
    const isa::Disassembled one = isa::disassemble(mode, std::span{code}.first(known), at);
    const std::string name = name_of ? name_of(VirtAddr{at}) : std::string{};
    text += fmt::format("  {:<{}}  {}{}{}\n", to_hex(std::span{code}.first(one.length)), bytes_width,
                        one.text, name.empty() ? "" : "  # ", name);
    at += one.length;
  }
  return text;
}

// Without key bits, by each page's own key.
Locate of_pages(const Inspector& inspector, mem::KeySelector selector) {
  return [&inspector, selector](std::uint64_t at) {
    const KeyId key = selector != 0 ? inspector.view().key(selector) : inspector.key_of_page(PhysAddr{at});
    return std::optional{Inspector::Place{PhysAddr{at}, key}};
  };
}

// The size of an item, or for instructions the width of code: QEMU, monitor/hmp.c.
bool take_letter(char letter, DumpFormat& format, unsigned& bytes) {
  constexpr std::string_view formats = "odxuic";
  if (formats.find(letter) != formats.npos) {
    format.format = letter;
    return true;
  }
  switch (letter) {
    case 'b': bytes = 1; return true;
    case 'h': bytes = 2; return true;
    case 'w': bytes = 4; return true;
    case 'g':
    case 'L': bytes = 8; return true;
    default: return false;
  }
}

}  // namespace

OrError<DumpFormat> parse_dump_format(std::string_view text, const DumpFormat& last) {
  DumpFormat format{.count = 1, .format = last.format, .bytes = last.bytes};
  std::size_t at = 0;
  if (!text.empty() && text.front() >= '0' && text.front() <= '9') format.count = 0;
  for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at)
    format.count = std::min(format.count * 10 + static_cast<unsigned>(text[at] - '0'), dump_items_max + 1);
  unsigned bytes = 0;
  for (; at < text.size(); ++at)
    if (!take_letter(text[at], format, bytes))
      return usage_error(fmt::format("\"/{}\" is no format", safe_line(text)),
                         "a count, then one of x d u o c i, and one of b h w g (1, 2, 4, 8 bytes)");
  if (format.count > dump_items_max)
    return usage_error(fmt::format("at most {} items at a time", dump_items_max));
  if (format.format == 'i')
    format.code_bits = bytes == 1 ? 0 : bytes * 8;
  else if (format.format == 'c')
    format.bytes = 1;
  else if (bytes != 0)
    format.bytes = bytes;
  return format;
}

std::string item_text(std::uint64_t value, const DumpFormat& format) {
  const std::size_t width = item_width(format);
  const unsigned unused = 64 - format.bytes * 8;
  switch (format.format) {
    case 'o': return fmt::format("{:#{}o}", value, width);
    case 'u': return fmt::format("{:{}}", value, width);
    case 'd': return fmt::format("{:{}}", static_cast<std::int64_t>(value << unused) >> unused, width);
    case 'c': return character_text(value);
    default: return fmt::format("{:#0{}x}", value, width);
  }
}

std::string dump_virtual(const Inspector& inspector, VirtAddr at, const DumpFormat& format) {
  return dump(inspector, at.value(), format,
              [&](std::uint64_t place) { return inspector.place_of(VirtAddr{place}); });
}

std::string dump_physical(const Inspector& inspector, PtePhys at, const DumpFormat& format) {
  const auto [phys, selector] = inspector.view().layout.split(at);
  return dump(inspector, phys.value(), format, of_pages(inspector, selector));
}

std::string disassemble_virtual(const Inspector& inspector, isa::Mode mode, VirtAddr at,
                                const DumpFormat& format, const NameOf& name_of) {
  return disassembly(
      inspector, code_mode(mode, format), at.value(), format,
      [&](std::uint64_t place) { return inspector.place_of_code(VirtAddr{place}); }, name_of);
}

std::string disassemble_physical(const Inspector& inspector, isa::Mode mode, PtePhys at,
                                 const DumpFormat& format) {
  const auto [phys, selector] = inspector.view().layout.split(at);
  return disassembly(inspector, code_mode(mode, format), phys.value(), format, of_pages(inspector, selector),
                     {});
}

}  // namespace cbit::guest
