// Debug information of a module that anybody may have made: every question ends, and an answer is a line.
#include <cstdlib>

#include "fuzz_input.hpp"
#include "linux/debug_info.hpp"
#include "linux/elf.hpp"
#include "patched_file.hpp"
#include "support/linux/compiled_object.hpp"

namespace {

using namespace cbit;

void require(bool holds) {
  if (!holds) std::abort();
}

// Nothing where there is no compiler: the input is all then.
Bytes object_of(std::string_view flags) {
  return test::CompiledObject{"cc", flags, test::inlining_source}.bytes();
}

// A few bytes of its sections are others, which random places in the whole file would seldom be.
void change_sections(Bytes& file, FuzzInput& input) {
  const auto elf = linux::ElfFile::open(file, "fuzz");
  if (!elf) return;
  for (std::size_t count = 1 + input.below(6); count > 0; --count) {
    const linux::ElfPart& section = elf->sections()[input.byte() % elf->sections().size()];
    if (section.bytes.empty()) continue;
    const auto first = static_cast<std::size_t>(section.bytes.data() - file.data());
    file[first + input.take<std::uint16_t>() % section.bytes.size()] = std::byte{input.byte()};
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Bytes objects[] = {object_of("-gdwarf-5"), object_of("-gdwarf-4"),
                                  object_of("-gdwarf-5 -gz=zlib")};
  FuzzInput input{data, size};
  Bytes file = objects[input.below(3)];
  if (input.below(4) != 0)
    change_sections(file, input);
  else
    file = patched(std::move(file), input);
  const auto elf = linux::ElfFile::open(file, "fuzz");
  const std::size_t sections = elf ? elf->sections().size() : 0;
  const auto info = linux::DebugInfo::open(file);
  if (!info) return 0;
  for (std::size_t section = 0; section <= sections; ++section)
    for (std::uint64_t offset = 0; offset < 64; offset += 3)
      for (const linux::SourceLine& line : info->lines_at(section, offset))
        require(line.line > 0 && !line.file.empty() && line.file.find('/') == line.file.npos);
  return 0;
}
