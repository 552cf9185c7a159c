#include "linux/modules.hpp"

#include <algorithm>

#include "linux/peek.hpp"

namespace cbit::linux {
namespace {

// include/linux/module.h: enum module_state, enum mod_mem_type.
constexpr std::uint64_t module_state_unformed = 3;
constexpr std::uint64_t mod_text = 0;
constexpr std::uint64_t mod_init_text = 4;

constexpr std::size_t module_name_bytes = 56;  // MODULE_NAME_LEN
constexpr std::size_t symbol_name_bytes_max = 512;
constexpr std::uint64_t symbols_max = 1 << 16;
constexpr std::uint64_t orc_entries_max = 1 << 20;
constexpr std::size_t modules_max = 1024;

struct ElfSymbolEntry {
  std::uint32_t name = 0;
  std::uint8_t info = 0;  // 3:0 type
  std::uint8_t other = 0;
  std::uint16_t section = 0;
  std::uint64_t value = 0;
  std::uint64_t size = 0;
};
static_assert(sizeof(ElfSymbolEntry) == 24);
constexpr unsigned elf_function = 2;  // STT_FUNC

CodeRange range_in_memory(const Peek& peek, VirtAddr module, std::uint64_t type) {
  const auto first = peek.place(module, Field::module_memory);
  const auto stride = peek.fields()[Stride::module_memory];
  if (!first || !stride) return {};
  const VirtAddr entry = *first + type * *stride;
  return {VirtAddr{peek.value(entry, Field::memory_base).value_or(0)},
          peek.value(entry, Field::memory_size).value_or(0)};
}

CodeRange range_of(const Peek& peek, VirtAddr module, bool init) {
  if (peek.fields().has(Field::module_memory))
    return range_in_memory(peek, module, init ? mod_init_text : mod_text);
  const Field base = init ? Field::module_init_base : Field::module_core_base;
  const Field size = init ? Field::module_init_size : Field::module_core_size;
  return {VirtAddr{peek.value(module, base).value_or(0)}, peek.value(module, size).value_or(0)};
}

// struct mod_kallsyms: symbols with their final addresses. Those of functions are taken.
SymbolTable read_module_symbols(const Peek& peek, const Module& module) {
  SymbolTable found;
  const auto list = peek.pointer(module.at, Field::module_symbols);
  const auto table = list ? peek.pointer(*list, Field::symbols_table) : std::nullopt;
  const auto names = list ? peek.pointer(*list, Field::symbols_names) : std::nullopt;
  const std::uint64_t count = list ? peek.value(*list, Field::symbols_count).value_or(0) : 0;
  if (table && names && count <= symbols_max) {
    Bytes entries(count * sizeof(ElfSymbolEntry));
    if (!peek.memory().read(*table, entries)) entries.clear();
    for (std::size_t at = 0; at < entries.size(); at += sizeof(ElfSymbolEntry)) {
      const auto entry = load<ElfSymbolEntry>(entries, at);
      if ((entry.info & 0xf) != elf_function || !module.has_code(VirtAddr{entry.value})) continue;
      const auto name = peek.memory().text(*names + entry.name, symbol_name_bytes_max);
      if (name && !name->empty()) found.add(VirtAddr{entry.value}, 't', *name);
    }
  }
  found.finish();
  return found;
}

OrcTable read_module_orc(const Peek& peek, VirtAddr module, OrcDialect dialect) {
  const std::uint64_t count = peek.value(module, Field::module_orc_count).value_or(0);
  const auto offsets_at = peek.pointer(module, Field::module_orc_offsets);
  const auto entries_at = peek.pointer(module, Field::module_orc_entries);
  if (!offsets_at || !entries_at || count == 0 || count > orc_entries_max) return {};
  Bytes offsets(count * sizeof(std::int32_t)), entries(count * OrcTable::entry_bytes);
  if (!peek.memory().read(*offsets_at, offsets) || !peek.memory().read(*entries_at, entries)) return {};
  return OrcTable::create(offsets, *offsets_at, entries, dialect).value_or(OrcTable{});
}

}  // namespace

std::optional<Module> read_module(const Kernel& kernel, const GuestMemory& memory, VirtAddr at) {
  const Peek peek{kernel.fields(), memory};
  if (peek.value(at, Field::module_state).value_or(module_state_unformed) >= module_state_unformed)
    return std::nullopt;
  const auto name_at = peek.place(at, Field::module_name);
  const auto name = name_at ? memory.text(*name_at, module_name_bytes) : std::nullopt;
  Module made{.at = at,
              .name = name.value_or(""),
              .core = range_of(peek, at, false),
              .init = range_of(peek, at, true)};
  if (made.name.empty() || made.core.bytes == 0) return std::nullopt;
  made.symbols = read_module_symbols(peek, made);
  made.orc = read_module_orc(peek, at, kernel.orc().dialect());
  return made;
}

void ModuleMap::add(Module module) {
  if (modules_.size() >= modules_max && !modules_.contains(module.at)) return;
  const VirtAddr at = module.at;
  modules_[at] = std::make_unique<const Module>(std::move(module));
}

void ModuleMap::forget_init(VirtAddr at) {
  const auto found = modules_.find(at);
  if (found == modules_.end()) return;
  Module kept = *found->second;
  kept.init = {};
  found->second = std::make_unique<const Module>(std::move(kept));
}

void ModuleMap::read_list(const Kernel& kernel, const GuestMemory& memory, VirtAddr head) {
  const auto list = kernel.fields()[Field::module_list];
  auto next = memory.load<std::uint64_t>(head);
  for (std::size_t i = 0; list && next && VirtAddr{*next} != head && i < modules_max; ++i) {
    const VirtAddr at = VirtAddr{*next} - list->offset();
    if (!modules_.contains(at))
      if (auto module = read_module(kernel, memory, at)) add(*std::move(module));
    next = memory.load<std::uint64_t>(VirtAddr{*next});
  }
}

const Module* ModuleMap::find(VirtAddr ip) const {
  const auto found =
      std::ranges::find_if(modules_, [ip](const auto& entry) { return entry.second->has_code(ip); });
  return found != modules_.end() ? found->second.get() : nullptr;
}

const Module* ModuleMap::named(std::string_view name) const {
  const auto found =
      std::ranges::find_if(modules_, [name](const auto& entry) { return entry.second->name == name; });
  return found != modules_.end() ? found->second.get() : nullptr;
}

const Module* ModuleMap::at(VirtAddr module) const {
  const auto found = modules_.find(module);
  return found != modules_.end() ? found->second.get() : nullptr;
}

}  // namespace cbit::linux
