// Writes a kernel's table of symbols as scripts/kallsyms.c lays it out, in the three ways there have been.
#pragma once

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "support/linux/file_writer.hpp"

namespace cbit::test {

enum class KallsymsLayout { v6_1, v6_4, v6_15, v7 };

struct TestSymbol {
  std::uint64_t at = 0;
  char type = 'T';
  std::string name;
};

// Single characters stand for themselves; a few numbers that no name uses stand for longer pieces.
inline std::array<std::string, 256> kallsyms_tokens() {
  std::array<std::string, 256> tokens;
  for (unsigned i = 0; i < tokens.size(); ++i)
    tokens[i] =
        i > 0x20 && i < 0x7f ? std::string(1, static_cast<char>(i)) : "piece" + std::to_string(i) + "_";
  tokens[0] = "Tdma_";
  tokens[1] = "page";
  return tokens;
}

inline Bytes kallsyms_name(const TestSymbol& symbol) {
  const auto tokens = kallsyms_tokens();
  std::string rest = symbol.type + symbol.name;
  ByteWriter out;
  while (!rest.empty()) {
    const auto longest = std::ranges::max_element(
        tokens, {}, [&](const std::string& token) { return rest.starts_with(token) ? token.size() : 0; });
    out.put(static_cast<std::uint8_t>(longest - tokens.begin()));
    rest.erase(0, longest->size());
  }
  return out.bytes();
}

struct KallsymsNames {
  Bytes names;
  Bytes markers;
};

inline KallsymsNames kallsyms_names(const std::vector<TestSymbol>& symbols) {
  ByteWriter names, markers;
  for (std::size_t i = 0; i < symbols.size(); ++i) {
    if (i % 256 == 0) markers.put(static_cast<std::uint32_t>(names.size()));
    const Bytes name = kallsyms_name(symbols[i]);
    if (name.size() < 0x80) {
      names.put(static_cast<std::uint8_t>(name.size()));
    } else {
      names.put(static_cast<std::uint8_t>(name.size() | 0x80))
          .put(static_cast<std::uint8_t>(name.size() >> 7));
    }
    names.append(name);
  }
  return {names.bytes(), markers.bytes()};
}

// Symbols in order of address. The section begins at `section_at`; relative_base is the first that is not
// absolute.
inline Bytes write_kallsyms(const std::vector<TestSymbol>& symbols, KallsymsLayout layout,
                            std::uint64_t section_at, std::size_t space_before = 4096) {
  const bool old = layout == KallsymsLayout::v6_1, newest = layout == KallsymsLayout::v7;
  const std::size_t label = newest ? 4 : 8;
  const auto base = std::ranges::find_if(symbols, [](const TestSymbol& s) { return s.type != 'A'; })->at;
  const auto [names, markers] = kallsyms_names(symbols);
  ByteWriter out;
  out.append(pattern_bytes(space_before, 7));
  const auto offsets = [&] {
    out.align(label);
    for (const TestSymbol& symbol : symbols) {
      std::uint64_t offset = symbol.at - base;
      if (newest)
        offset = symbol.at - (section_at + out.size());
      else if (layout != KallsymsLayout::v6_15)
        offset = symbol.type == 'A' ? symbol.at : base - symbol.at - 1;
      out.put(static_cast<std::uint32_t>(offset));
    }
    if (!newest) out.align(label).put(base);
  };
  if (old) offsets();
  out.align(label).put(static_cast<std::uint32_t>(symbols.size())).align(label).append(names);
  out.align(label).append(markers);
  if (old) out.align(label).append(pattern_bytes(3 * symbols.size(), 8));  // kallsyms_seqs_of_names
  out.align(label);
  ByteWriter index;
  const std::size_t tokens_at = out.size();
  for (const std::string& token : kallsyms_tokens()) {
    index.put(static_cast<std::uint16_t>(out.size() - tokens_at));
    out.text(token).put('\0');
  }
  out.align(label).append(index.bytes());
  if (!old) offsets();
  return out.append(pattern_bytes(256, 9)).bytes();
}

}  // namespace cbit::test
