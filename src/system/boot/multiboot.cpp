#include "boot/multiboot.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "boot/board.hpp"
#include "boot/elf.hpp"
#include "boot/entry_mode.hpp"
#include "boot/layout.hpp"
#include "boot/vmlinux.hpp"

namespace cbit::boot {
namespace {

using spec::MultibootHeader;
using spec::MultibootHeaderFlags;
using spec::MultibootInfo;

constexpr std::string_view boot_loader_name = "cbit";
constexpr std::uint64_t kib = 1024;

tl::unexpected<Error> contradiction(const BootImage& image, std::string_view what) {
  return bad_input(fmt::format("{}: its multiboot header contradicts itself: {}", image.name, what),
                   "multiboot specification, 3.1.3: header_addr >= load_addr, load_end_addr > load_addr, "
                   "bss_end_addr >= load_end_addr");
}

// Where the kernel is entered and where it ends in memory.
struct Placed {
  PhysAddr entry;
  PhysAddr end;
};

OrError<Placed> add_elf(LoadPlan& plan, const BootImage& image) {
  const ElfFile elf = CBIT_TRY(ElfFile::open(image.kernel, image.name));
  if (elf.is_64_bit())
    return bad_input(
        fmt::format("{} is a 64-bit multiboot kernel whose header says not where to load it", image.name),
        "make it a 32-bit ELF file: objcopy -O elf32-i386");
  CBIT_TRY(add_segments(plan, elf, image.name));
  PhysAddr end{0};
  for (const ElfSegment& segment : CBIT_TRY(elf.segments()))
    end = std::max(end, segment.at + segment.bytes.size() + segment.zeros);
  return Placed{elf.entry(), end};
}

// What the header says: the "a.out kludge".
OrError<Placed> add_by_header(LoadPlan& plan, const BootImage& image, const MultibootImage& found) {
  const MultibootHeader& header = found.header;
  if (header.header_addr < header.load_addr) return contradiction(image, "header_addr < load_addr");
  const std::uint64_t before = header.header_addr - header.load_addr;
  if (before > found.header_at) return contradiction(image, "load_addr is before the file's beginning");
  const std::uint64_t from = found.header_at - before;
  std::uint64_t bytes = image.kernel.size() - from;
  if (header.load_end_addr != 0) {
    if (header.load_end_addr < header.load_addr) return contradiction(image, "load_end_addr < load_addr");
    const std::uint64_t wanted = header.load_end_addr - header.load_addr;
    if (wanted > bytes)
      return bad_input(fmt::format("{} is cut off: it should have {} bytes and has {}", image.name,
                                   from + wanted, image.kernel.size()),
                       "get the file again");
    bytes = wanted;
  }
  const PhysAddr load{header.load_addr};
  const PhysAddr end = load + bytes;
  if (header.bss_end_addr != 0 && PhysAddr{header.bss_end_addr} < end)
    return contradiction(image, "bss_end_addr is before the end of what is loaded");
  const std::uint64_t zeros = header.bss_end_addr != 0 ? PhysAddr{header.bss_end_addr} - end : 0;
  CBIT_TRY(plan.add({"kernel", load, image.kernel.subspan(from, bytes), zeros}));
  return Placed{PhysAddr{header.entry_addr}, end + zeros};
}

std::uint32_t address(PhysAddr at) { return static_cast<std::uint32_t>(at.value()); }

// Behind the kernel: table of modules, command lines, name of the loader; then the modules, page by page.
class Extras {
 public:
  Extras(PhysAddr at, std::size_t modules) : at_{at}, bytes_(modules * sizeof(spec::MultibootModule)) {}

  std::uint32_t put_text(std::string_view text) {
    const PhysAddr at = at_ + bytes_.size();
    const ConstByteSpan bytes = std::as_bytes(std::span{text});
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    bytes_.push_back(std::byte{0});
    return address(at);
  }
  void set_module(std::size_t index, const spec::MultibootModule& module) {
    store(bytes_, index * sizeof module, module);
  }
  [[nodiscard]] PhysAddr at() const { return at_; }
  [[nodiscard]] PhysAddr end() const { return PhysAddr{align_up((at_ + bytes_.size()).value(), page_size)}; }
  [[nodiscard]] Bytes take() && { return std::move(bytes_); }

 private:
  PhysAddr at_;
  Bytes bytes_;
};

// KiB from 1 MiB up to the first hole.
std::uint32_t upper_memory_kib(const LoadPlan& plan) {
  for (const MapEntry& entry : plan.memory_map)
    if (entry.first == layout::high_memory && entry.type == spec::E820Type::ram)
      return static_cast<std::uint32_t>(entry.bytes / kib);
  return 0;
}

OrError<void> add_map(LoadPlan& plan, PhysAddr at, MultibootInfo& info) {
  Bytes map;
  for (const MapEntry& entry : plan.memory_map) {
    const spec::MultibootMmapEntry row{
        .addr = entry.first.value(), .len = entry.bytes, .type = static_cast<std::uint32_t>(entry.type)};
    const ConstByteSpan bytes = bytes_of(row);
    map.insert(map.end(), bytes.begin(), bytes.end());
  }
  info.mmap_addr = address(at);
  info.mmap_length = static_cast<std::uint32_t>(map.size());
  return plan.add_owned("multiboot memory map", at, std::move(map));
}

// The page of map and information: below the usual one where the kernel lies there.
PhysAddr information_page(const LoadPlan& plan) {
  return plan.find_room(page_size, layout::multiboot_map + page_size).value_or(layout::multiboot_map);
}

// Where the information is then.
OrError<PhysAddr> add_information(LoadPlan& plan, const BootImage& image, PhysAddr kernel_end) {
  Extras extras{PhysAddr{align_up(kernel_end.value(), page_size)}, image.modules.size()};
  MultibootInfo info{.flags = MultibootInfo::Flags{}
                                  .with<MultibootInfo::Flags::Memory>(true)
                                  .with<MultibootInfo::Flags::BootDevice>(true)
                                  .with<MultibootInfo::Flags::CommandLine>(true)
                                  .with<MultibootInfo::Flags::Modules>(true)
                                  .with<MultibootInfo::Flags::MemoryMap>(true)
                                  .with<MultibootInfo::Flags::BootLoaderName>(true),
                     .mem_lower = static_cast<std::uint32_t>(layout::low_ram_end.value() / kib),
                     .mem_upper = upper_memory_kib(plan),
                     .boot_device = spec::multiboot_boot_device_disk,
                     .mods_count = static_cast<std::uint32_t>(image.modules.size()),
                     .mods_addr = address(extras.at())};
  std::vector<std::uint32_t> names;
  for (const BootModule& module : image.modules) names.push_back(extras.put_text(module.name));
  info.cmdline = extras.put_text(fmt::format("{} {}", image.name, image.command_line));
  info.boot_loader_name = extras.put_text(boot_loader_name);
  PhysAddr next = extras.end();
  for (std::size_t i = 0; i < image.modules.size(); ++i) {
    const ConstByteSpan bytes = image.modules[i].bytes;
    CBIT_TRY(plan.add({"module", next, bytes}));
    extras.set_module(
        i, {.mod_start = address(next), .mod_end = address(next + bytes.size()), .string = names[i]});
    next = PhysAddr{align_up((next + bytes.size()).value(), page_size)};
  }
  const PhysAddr at = extras.at();
  CBIT_TRY(plan.add_owned("multiboot modules", at, std::move(extras).take()));
  const PhysAddr map_at = information_page(plan);
  const PhysAddr info_at = map_at + layout::multiboot_info_offset;
  CBIT_TRY(add_map(plan, map_at, info));
  const ConstByteSpan bytes = bytes_of(info);
  CBIT_TRY(plan.add_owned("multiboot information", info_at, {bytes.begin(), bytes.end()}));
  return info_at;
}

OrError<MultibootImage> multiboot_image(const BootImage& image) {
  const auto found = find_multiboot_header(image.kernel);
  if (!found)
    return bad_input(fmt::format("{} has no multiboot header", image.name), "see its linker script");
  if (const auto unknown = found->header.flags.get<MultibootHeaderFlags::MustUnderstand>(); unknown != 0)
    return bad_input(fmt::format("{}: its multiboot header demands what nobody defined (flags {:#x})",
                                 image.name, unknown << MultibootHeaderFlags::MustUnderstand::shift),
                     "bits 3 to 15 must be 0");
  return *found;
}

}  // namespace

std::optional<MultibootImage> find_multiboot_header(ConstByteSpan file) {
  constexpr std::size_t checked_bytes = 3 * sizeof(std::uint32_t);
  // QEMU looks where a whole header would fit in, and so leaves out the last places.
  constexpr std::size_t places_end = spec::multiboot_search_bytes - sizeof(MultibootHeader);
  for (std::size_t at = 0; at < places_end && at + checked_bytes <= file.size();
       at += spec::multiboot_header_alignment) {
    std::array<std::byte, sizeof(MultibootHeader)> whole{};
    std::ranges::copy(file.subspan(at, std::min(whole.size(), file.size() - at)), whole.begin());
    const auto header = load<MultibootHeader>(whole);
    const std::uint32_t sum = header.magic + header.flags.raw + header.checksum;
    if (header.magic == spec::multiboot_header_magic && sum == 0) return MultibootImage{header, at};
  }
  return std::nullopt;
}

OrError<LoadPlan> plan_multiboot(const Board& board, const BootImage& image) {
  const MultibootImage found = CBIT_TRY(multiboot_image(image));
  LoadPlan plan = CBIT_TRY(begin_plan(board));
  plan.protocol = "multiboot";
  CBIT_TRY(enter_protected_mode(plan));
  const bool by_header = found.header.flags.get<MultibootHeaderFlags::HasAddresses>();
  const Placed kernel = CBIT_TRY(by_header ? add_by_header(plan, image, found) : add_elf(plan, image));
  plan.entry.rbx = CBIT_TRY(add_information(plan, image, kernel.end)).value();
  plan.entry.rax = spec::multiboot_loader_magic;
  plan.entry.rip = address(kernel.entry);
  return plan;
}

}  // namespace cbit::boot
