#include "linux/kernel.hpp"

#include <elf.h>

namespace cbit::linux {
namespace {

constexpr std::uint64_t alignment_min = 2 << 20;  // MIN_KERNEL_ALIGN, arch/x86/include/asm/boot.h

constexpr std::size_t saved_text_max = 64 << 10;
constexpr std::size_t types_bytes_max = 1 << 30;

struct Want {
  std::string_view what;
  std::string_view option;
  std::string_view symbol;
};
constexpr Want wants[] = {
    {"memory encryption", "CONFIG_AMD_MEM_ENCRYPT", "sme_me_mask"},
    {"bounce buffers", "CONFIG_SWIOTLB", "io_tlb_default_mem"},
    {"modules", "CONFIG_MODULES", "modules"},
    {"symbols of data", "CONFIG_KALLSYMS_ALL", "page_offset_base"},
};

// kallsyms, or what an unstripped vmlinux has.
OrError<SymbolTable> read_symbols(const KernelImage& image, std::string_view name) {
  auto table = read_kallsyms(image, name);
  if (table) return table;
  const std::vector<ElfSymbol> symbols = image.elf().symbols();
  if (symbols.empty()) return table;
  SymbolTable made;
  for (const ElfSymbol& symbol : symbols)
    made.add(VirtAddr{symbol.value},
             symbol.section == SHN_ABS ? 'A'
             : symbol.function         ? 't'
                                       : 'd',
             symbol.name);
  made.finish();
  return made;
}

ConstByteSpan section_bytes(const ElfFile& elf, std::string_view name) {
  const ElfPart* const section = elf.section(name);
  return section != nullptr ? section->bytes : ConstByteSpan{};
}

OrcTable read_orc(const ElfFile& elf) {
  const ElfPart* const offsets = elf.section(".orc_unwind_ip");
  if (offsets == nullptr) return {};
  return OrcTable::create(offsets->bytes, offsets->at, section_bytes(elf, ".orc_unwind"))
      .value_or(OrcTable{});
}

std::uint64_t alignment_of(const KernelImage& image) {
  const auto& header = image.setup_header();
  const std::uint64_t stated = header ? header->kernel_alignment : 0;
  const bool usable = stated > alignment_min && stated < kernel_map_bytes && (stated & (stated - 1)) == 0;
  return usable ? stated : alignment_min;
}

Bytes copy_of(ConstByteSpan bytes) { return Bytes(bytes.begin(), bytes.end()); }

}  // namespace

Kernel::Kernel(const KernelImage& image, SymbolTable symbols, SourceLines lines)
    : banner_{image.banner()},
      banner_at_{image.banner_at()},
      release_{image.release()},
      alignment_{alignment_of(image)},
      symbols_{std::move(symbols)},
      types_{copy_of(section_bytes(image.elf(), ".BTF"))},
      orc_{read_orc(image.elf())},
      lines_{std::move(lines)} {
  read_types();
  find_ranges();
}

OrError<std::unique_ptr<Kernel>> Kernel::open(Bytes file, std::string_view name, SourceLines lines) {
  const KernelImage image = CBIT_TRY(KernelImage::open(std::move(file), name));
  SymbolTable symbols = CBIT_TRY(read_symbols(image, name));
  return std::unique_ptr<Kernel>{new Kernel{image, std::move(symbols), std::move(lines)}};
}

std::unique_ptr<Kernel> Kernel::load(StateStream& s, SourceLines&& lines) {
  std::unique_ptr<Kernel> made{new Kernel};
  made->transfer(s);
  if (!s.good()) return nullptr;
  made->lines_ = std::move(lines);
  made->read_types();
  made->find_ranges();
  return made;
}

void Kernel::transfer(StateStream& s) {
  s.section("kernel", [&] {
    std::uint64_t banner_at = banner_at_.value();
    s.text(banner_, saved_text_max);
    s.text(release_, saved_text_max);
    s(banner_at, alignment_);
    banner_at_ = VirtAddr{banner_at};
    s(symbols_, orc_);
    const std::size_t types_bytes = s.count(types_.size(), types_bytes_max);
    if (s.loads()) types_.resize(types_bytes);
    s.raw(types_);
  });
}

void Kernel::read_types() {
  if (auto btf = Btf::open(types_, {})) {
    btf_ = *std::move(btf);
    fields_ = Fields{*btf_};
  }
}

void Kernel::find_ranges() {
  text_ = range_of("_stext", "_etext");
  init_text_ = range_of("_sinittext", "_einittext");
}

Kernel::Range Kernel::range_of(std::string_view first, std::string_view end) const {
  const auto from = symbols_.find(first), to = symbols_.find(end);
  if (!from || !to) return {};
  return {from->at, to->at};
}

bool Kernel::is_text(VirtAddr at) const { return text_.contains(at) || init_text_.contains(at); }

bool Kernel::encrypts_memory() const { return symbols_.count(wants[0].symbol) != 0; }

std::vector<std::string> Kernel::lacks() const {
  std::vector<std::string> lacking;
  const auto lack = [&](std::string_view what, std::string_view option) {
    lacking.push_back(std::string{what} + " (" + std::string{option} + ")");
  };
  for (const Want& want : wants)
    if (symbols_.count(want.symbol) == 0) lack(want.what, want.option);
  if (!btf_) lack("types", "CONFIG_DEBUG_INFO_BTF");
  if (orc_.size() == 0) lack("unwind tables", "CONFIG_UNWINDER_ORC");
  return lacking;
}

}  // namespace cbit::linux
