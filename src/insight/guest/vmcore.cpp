#include "guest/vmcore.hpp"

#include <elf.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/safe_text.hpp"
#include "guest/monitor/inspector.hpp"
#include "guest/vmcore_notes.hpp"
#include "linux/elf_header.hpp"
#include "os/file_io.hpp"
#include "os/output_file.hpp"

namespace cbit::guest {
namespace {

constexpr std::size_t vmcoreinfo_bytes_max = page_size;  // VMCOREINFO_BYTES
// __PAGE_OFFSET_BASE_L4 of arch/x86/include/asm/page_64_types.h, where no variable says otherwise.
constexpr VirtAddr usual_direct_map{0xffff'8880'0000'0000};

void append(Bytes& to, ConstByteSpan bytes) { to.insert(to.end(), bytes.begin(), bytes.end()); }

// ---- what is mapped elsewhere -----------------------------------------------------------------------------

struct Run {
  VirtAddr at;
  PhysAddr phys;
  std::uint64_t bytes = 0;
};
constexpr std::size_t runs_max = 16384;

// Documentation/arch/x86/x86_64/mm.rst: what lies between is the same few tables again and again (espfix).
constexpr VirtAddr behind_fixed_areas{0xffff'ff00'0000'0000};
constexpr VirtAddr kernel_map{0xffff'ffff'8000'0000};

// Pages of RAM that the kernel has at other addresses than those of its text and the direct map: stacks,
// modules, struct page. A reader of the dump need not know tables with a C-bit then.
class MappedRuns {
 public:
  MappedRuns(const Inspector& inspector, const KernelForDump& kernel)
      : inspector_{&inspector}, kernel_{&kernel} {
    direct_map_end_ = kernel.direct_map + inspector.memory().ram().back().end().value();
  }
  std::vector<Run> find() {
    const auto until = [this](VirtAddr end) {
      return [this, end](const Inspector::Mapped& page) { return page.at < end && take(page); };
    };
    (void)inspector_->for_each_mapped(direct_map_end_, until(behind_fixed_areas));
    (void)inspector_->for_each_mapped(kernel_map, until(VirtAddr{~std::uint64_t{0}}));
    return std::move(runs_);
  }

 private:
  bool take(const Inspector::Mapped& page) {
    const bool is_text = page.at >= kernel_->text && page.at - kernel_->text < kernel_->text_bytes;
    if (page.at < direct_map_end_ || is_text || !inspector_->memory().contains(page.phys, page.bytes))
      return true;
    if (!runs_.empty() && runs_.back().at + runs_.back().bytes == page.at &&
        runs_.back().phys + runs_.back().bytes == page.phys)
      runs_.back().bytes += page.bytes;
    else
      runs_.push_back({page.at, page.phys, page.bytes});
    return runs_.size() < runs_max;
  }

  const Inspector* inspector_;
  const KernelForDump* kernel_;
  VirtAddr direct_map_end_;
  std::vector<Run> runs_;
};

std::vector<Run> runs_of(const Pc& pc, const Inspector& inspector,
                         const std::optional<KernelForDump>& kernel) {
  if (!kernel) return {};
  std::vector<Run> runs;
  if (pc.cpu().paging()) runs = MappedRuns{inspector, *kernel}.find();
  runs.insert(runs.begin(), {kernel->text, kernel->text_phys, kernel->text_bytes});
  return runs;
}

// ---- where things are in the file -----------------------------------------------------------------------

class Layout {
 public:
  Layout(const std::vector<mem::PhysRange>& ram, const std::vector<Run>& runs, std::uint64_t direct_map,
         std::size_t notes_bytes) {
    notes_at_ = sizeof(Elf64_Ehdr) + (1 + runs.size() + ram.size()) * sizeof(Elf64_Phdr);
    bytes_ = align_up(notes_at_ + notes_bytes, page_size);
    for (const mem::PhysRange& range : ram) {
      offsets_.push_back(bytes_);
      bytes_ += range.bytes;
    }
    segments_.push_back(
        {.p_type = PT_NOTE, .p_offset = notes_at_, .p_filesz = notes_bytes, .p_memsz = notes_bytes});
    for (const Run& run : runs)
      for (std::size_t i = 0; i < ram.size(); ++i)
        if (ram[i].contains(run.phys, run.bytes))
          add(run.at.value(), run.phys, run.bytes, offsets_[i] + (run.phys - ram[i].first));
    for (std::size_t i = 0; i < ram.size(); ++i)
      add(direct_map == 0 ? 0 : direct_map + ram[i].first.value(), ram[i].first, ram[i].bytes, offsets_[i]);
  }

  [[nodiscard]] const std::vector<Elf64_Phdr>& segments() const { return segments_; }
  [[nodiscard]] std::uint64_t notes_at() const { return notes_at_; }
  [[nodiscard]] std::uint64_t offset(std::size_t range) const { return offsets_[range]; }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }  // of the file

 private:
  void add(std::uint64_t at, PhysAddr phys, std::uint64_t bytes, std::uint64_t offset) {
    segments_.push_back({.p_type = PT_LOAD,
                         .p_flags = PF_R | PF_W | PF_X,
                         .p_offset = offset,
                         .p_vaddr = at,
                         .p_paddr = phys.value(),
                         .p_filesz = bytes,
                         .p_memsz = bytes});
  }

  std::vector<Elf64_Phdr> segments_;
  std::vector<std::uint64_t> offsets_;  // of each range of RAM
  std::uint64_t notes_at_ = 0;
  std::uint64_t bytes_ = 0;
};

Bytes head_of(const Layout& layout, ConstByteSpan notes) {
  Elf64_Ehdr header = linux::elf_header(ET_CORE);
  header.e_phoff = sizeof header;
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = static_cast<std::uint16_t>(layout.segments().size());
  Bytes head;
  append(head, bytes_of(header));
  append(head, std::as_bytes(std::span{layout.segments()}));
  head.resize(layout.notes_at());
  append(head, notes);
  return head;
}

// ---- writing --------------------------------------------------------------------------------------------

class Writer {
 public:
  Writer(int fd, std::string_view path) : fd_{fd}, path_{path} {}

  OrError<void> put(std::uint64_t at, ConstByteSpan bytes) const {
    if (!os::write_at(fd_, at, bytes)) return failed(errno);
    return {};
  }
  [[nodiscard]] OrError<void> end_at(std::uint64_t bytes) const {
    if (os::retry([&] { return ::ftruncate(fd_, static_cast<off_t>(bytes)); }) != 0) return failed(errno);
    return {};
  }

 private:
  [[nodiscard]] tl::unexpected<Error> failed(int reason) const {
    return tl::unexpected{Error{fmt::format("cannot write {}: {}", safe_line(path_), std::strerror(reason)),
                                "", ExitCode::output_failed}};
  }

  int fd_;
  std::string_view path_;
};

OrError<void> write_range(const Writer& writer, const Inspector& inspector, const mem::PhysRange& range,
                          std::uint64_t offset, DumpView view) {
  std::array<std::byte, page_size> page;
  for (std::uint64_t done = 0; done < range.bytes; done += page_size) {
    const PhysAddr at = range.first + done;
    const std::size_t bytes = std::min(page_size, range.bytes - done);
    const KeyId key = view == DumpView::guest ? inspector.key_of_page(at) : no_key;
    const ByteSpan into = std::span{page}.first(bytes);
    // What cannot be read, as where the platform protects memory, stays a hole.
    if (!inspector.read({at, key}, into) || all_zero(into)) continue;
    CBIT_TRY(writer.put(offset + done, into));
  }
  return {};
}

}  // namespace

std::optional<KernelForDump> kernel_for_dump(const linux::RunningKernel& kernel,
                                             const linux::GuestMemory& memory) {
  const auto first = kernel.address_of("_text"), end = kernel.address_of("_end");
  const auto place = first ? memory.place_of(*first) : std::nullopt;
  if (!place || !end || *end <= *first) return std::nullopt;
  KernelForDump found{.text = *first, .text_bytes = *end - *first, .text_phys = place->phys};
  const auto base = kernel.variable(memory, "page_offset_base");
  found.direct_map = base ? VirtAddr{*base} : usual_direct_map;
  const auto data = kernel.variable(memory, "vmcoreinfo_data");
  const auto bytes = kernel.variable(memory, "vmcoreinfo_size");
  if (data && bytes && *bytes <= vmcoreinfo_bytes_max) {
    found.vmcoreinfo.resize(*bytes);
    if (!memory.read(VirtAddr{*data}, std::as_writable_bytes(std::span{found.vmcoreinfo})))
      found.vmcoreinfo.clear();
  }
  return found;
}

OrError<void> write_vmcore(const Pc& pc, const std::optional<KernelForDump>& kernel, DumpView view,
                           const std::string& path) {
  if (os::is_written_into(path))
    return usage_error(fmt::format("a dump has holes, and {} cannot have such", safe_line(path)),
                       "give the name of a file");
  auto file = CBIT_TRY(os::NewFile::create(path));
  const Writer writer{file.fd(), path};
  const Inspector inspector{pc};
  const std::vector<mem::PhysRange>& ram = inspector.memory().ram();
  const Bytes notes = vmcore_notes(pc, kernel ? kernel->vmcoreinfo : "");
  const Layout layout{ram, runs_of(pc, inspector, kernel), kernel ? kernel->direct_map.value() : 0,
                      notes.size()};
  CBIT_TRY(writer.put(0, head_of(layout, notes)));
  for (std::size_t i = 0; i < ram.size(); ++i)
    CBIT_TRY(write_range(writer, inspector, ram[i], layout.offset(i), view));
  CBIT_TRY(writer.end_at(layout.bytes()));
  return file.commit();
}

}  // namespace cbit::guest
