#include "linux/source_lines.hpp"

#include <fmt/format.h>

#include <utility>

#include "linux/elf.hpp"
#include "linux/modules.hpp"

namespace cbit::linux {
namespace {

std::string to_text(const std::vector<SourceLine>& lines) {
  std::string text;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (i != 0) text += fmt::format("{}{} at ", i == 1 ? " (" : ", ", lines[i].function);
    text += fmt::format("{}:{}", lines[i].file, lines[i].line);
  }
  return lines.size() > 1 ? text + ')' : text;
}

}  // namespace

std::vector<SourceLines::Landmark> SourceLines::landmarks_of(ConstByteSpan file) {
  const auto elf = ElfFile::open(file, "the module");
  if (!elf) return {};
  const std::vector<ElfSymbol> symbols = elf->symbols();
  std::map<std::string_view, std::size_t> named;
  for (const ElfSymbol& symbol : symbols) ++named[symbol.name];
  std::map<std::size_t, Landmark> found;
  for (const ElfSymbol& symbol : symbols) {
    if (!symbol.function || named[symbol.name] != 1 || symbol.section >= elf->sections().size()) continue;
    const ElfPart& section = elf->sections()[symbol.section];
    if (section.executable)
      found.try_emplace(symbol.section, std::string{symbol.name}, symbol.section, symbol.value, section.size);
  }
  std::vector<Landmark> landmarks;
  for (auto& [section, landmark] : found) landmarks.push_back(std::move(landmark));
  return landmarks;
}

void SourceLines::add(std::string_view module, ConstByteSpan file) {
  if (auto info = DebugInfo::open(Bytes(file.begin(), file.end())))
    files_.insert_or_assign(std::string{module}, File{*std::move(info), landmarks_of(file)});
}

std::string SourceLines::text_at(const Module& module, VirtAddr ip) const {
  const auto file = files_.find(module.name);
  if (file == files_.end()) return {};
  for (const Landmark& landmark : file->second.landmarks) {
    const auto symbol = module.symbols.find(landmark.function);
    if (!symbol) continue;
    const std::uint64_t offset = landmark.offset + (ip - symbol->at);
    if (offset >= landmark.section_bytes) continue;
    return to_text(file->second.info.lines_at(landmark.section, offset));
  }
  return {};
}

}  // namespace cbit::linux
