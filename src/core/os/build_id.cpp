#include "os/build_id.hpp"

#include <elf.h>
#include <link.h>

#include "base/bytes.hpp"
#include "cbit/addr.hpp"

namespace cbit::os {

std::string build_id() {
  std::string id;
  const auto look = [](dl_phdr_info* object, std::size_t, void* to) {
    for (unsigned n = 0; n < object->dlpi_phnum; ++n) {
      const ElfW(Phdr)& segment = object->dlpi_phdr[n];
      if (segment.p_type != PT_NOTE) continue;
      ConstByteSpan notes{reinterpret_cast<const std::byte*>(object->dlpi_addr + segment.p_vaddr),
                          segment.p_memsz};
      while (notes.size() >= sizeof(ElfW(Nhdr))) {
        const auto note = load<ElfW(Nhdr)>(notes);
        const std::size_t at = sizeof note + align_up(note.n_namesz, 4);
        const std::size_t end = at + align_up(note.n_descsz, 4);
        if (end > notes.size()) break;
        if (note.n_type == NT_GNU_BUILD_ID)
          *static_cast<std::string*>(to) = to_hex(notes.subspan(at, note.n_descsz));
        notes = notes.subspan(end);
      }
    }
    return 1;  // the program itself comes first
  };
  dl_iterate_phdr(look, &id);
  return id;
}

}  // namespace cbit::os
