#include "guest/monitor/inspector.hpp"

#include <array>

namespace cbit::guest {
namespace {

using paging::Pte;

// Reads tables as they are, and writes nothing.
class SeenTables final : public paging::TableMemory {
 public:
  explicit SeenTables(const mem::Memory& memory) : memory_{&memory} {}
  Result<std::uint64_t> read_entry(PhysAddr at, unsigned bytes, KeyId key) override {
    std::uint64_t entry = 0;
    CBIT_TRY(memory_->peek(at, std::as_writable_bytes(std::span{&entry, 1}).first(bytes), key));
    return entry;
  }
  Result<void> write_entry(PhysAddr, unsigned, std::uint64_t, KeyId) override { return {}; }

 private:
  const mem::Memory* memory_;
};

// Linux maps some tables again and again (arch/x86/kernel/espfix_64.c), and a guest may map one in itself.
constexpr unsigned tables_max = 1u << 14;
constexpr std::uint64_t large_legacy_page = 4ull << 20;

class TableWalk {
 public:
  using Visit = std::function<bool(const Inspector::Mapped&)>;
  TableWalk(const mem::Memory& memory, const paging::PagingConfig& config, VirtAddr from, const Visit& visit)
      : memory_{&memory}, config_{config}, from_{from.value()}, visit_{&visit} {}

  Inspector::Walked walk(std::uint64_t cr3) {
    const bool legacy = config_.format == paging::PagingFormat::legacy;
    const bool pae = config_.format == paging::PagingFormat::pae;
    const unsigned levels = legacy ? 2 : config_.levels;
    const std::uint64_t root = cr3 & (legacy ? 0xffff'f000 : pae ? 0xffff'ffe0 : Pte::address_mask);
    const paging::PageFlags all{.writable = true, .user = true, .executable = true};
    (void)table(PtePhys{root}, levels - 1, 0, all);
    return end_;
  }

 private:
  [[nodiscard]] bool is_legacy() const { return config_.format == paging::PagingFormat::legacy; }
  [[nodiscard]] bool is_pae_root(unsigned level) const {
    return config_.format == paging::PagingFormat::pae && level + 1 == config_.levels;
  }
  [[nodiscard]] std::uint64_t span(unsigned level) const {
    return is_legacy() ? (level == 0 ? page_size : large_legacy_page) : paging::span_of_level(level);
  }
  // Bits 63:47 follow bit 47: APM vol. 2, 5.3.1.
  [[nodiscard]] std::uint64_t linear(std::uint64_t address) const {
    if (config_.format != paging::PagingFormat::long_mode) return address;
    const unsigned unused = 64 - (12 + 9 * config_.levels);
    return static_cast<std::uint64_t>(static_cast<std::int64_t>(address << unused) >> unused);
  }

  // False: enough.
  bool table(PtePhys pointer, unsigned level, std::uint64_t base, const paging::PageFlags& rights) {
    if (++tables_ > tables_max) {
      end_ = Inspector::Walked::too_large;
      return false;
    }
    const auto [at, key] = paging::locate_table(config_.view, pointer);
    const std::size_t entry_bytes = is_legacy() ? 4 : sizeof(Pte);
    const std::size_t entries = is_pae_root(level) ? 4 : page_size / entry_bytes;
    std::array<std::byte, page_size> raw;
    const ByteSpan bytes = std::span{raw}.first(entries * entry_bytes);
    if (!memory_->peek(at, bytes, key)) return true;  // nothing answers there
    for (std::size_t i = 0; i < entries; ++i) {
      std::uint64_t entry = 0;
      std::memcpy(&entry, raw.data() + i * entry_bytes, entry_bytes);
      if (!entry_of(Pte{entry}, level, base + i * span(level), rights)) return false;
    }
    return true;
  }

  bool entry_of(Pte entry, unsigned level, std::uint64_t base, paging::PageFlags rights) {
    const std::uint64_t last = linear(base) + (span(level) - 1);
    if (!entry.present() || last < from_) return true;
    if (is_pae_root(level)) return table(entry.target(), level - 1, base, rights);
    rights.writable &= entry.get<Pte::Writable>();
    rights.user &= entry.get<Pte::User>();
    rights.executable &= !entry.get<Pte::NoExecute>();
    const bool may_be_large = is_legacy() ? level == 1 && config_.large_pages : level <= 2;
    if (level == 0 || (may_be_large && entry.get<Pte::PageSize>())) return leaf(entry, level, base, rights);
    if (level > 2 && entry.get<Pte::PageSize>()) return true;  // reserved there
    return table(entry.target(), level - 1, base, rights);
  }

  bool leaf(Pte entry, unsigned level, std::uint64_t base, const paging::PageFlags& rights) {
    Inspector::Mapped page{
        .at = VirtAddr{linear(base)}, .bytes = span(level), .flags = rights, .entry = entry.raw};
    if (is_legacy() && level == 1) {  // PSE-36: APM vol. 2, 5.2.2
      page.phys = PhysAddr{(entry.raw & 0xffc0'0000) | (entry.raw >> 13 & 0xff) << 32};
    } else {
      const auto place = config_.view.layout.split(entry.page(static_cast<paging::PageLevel>(level)));
      page.phys = place.first;
      page.selector = place.second;
    }
    if ((*visit_)(page)) return true;
    end_ = Inspector::Walked::stopped;
    return false;
  }

  const mem::Memory* memory_;
  paging::PagingConfig config_;
  std::uint64_t from_;
  const Visit* visit_;
  unsigned tables_ = 0;
  Inspector::Walked end_ = Inspector::Walked::whole;
};

}  // namespace

std::optional<Inspector::Place> Inspector::place_of(VirtAddr at) const {
  const auto config = cpu().paging();
  if (!config) {
    const auto place = cpu().translate(at);  // without tables, so without a trace of it
    if (!place) return std::nullopt;
    return Place{place->first, place->second};
  }
  SeenTables tables{memory()};
  const auto walked = paging::walk(tables, *config, PtePhys{cpu().registers().cr3}, at, paging::Intent::read,
                                   paging::Privilege{});
  if (!walked) return std::nullopt;
  return Place{walked->phys, walked->key};
}

std::optional<Inspector::Place> Inspector::place_of_code(VirtAddr at) const {
  auto place = place_of(at);
  if (place && view().walks_private) place->key = view().key(1);
  return place;
}

KeyId Inspector::key_of_page(const mem::PageHistory& page) {
  return page.writer.kind != AgentKind::none ? page.writer_key : page.owner;
}

bool Inspector::read(const Place& from, ByteSpan to) const {
  return memory().peek(from.phys, to, from.key).has_value();
}

std::string_view Inspector::key_name(KeyId key) const {
  if (key == no_key) return "none";
  return key == mem::host_key ? "host" : "guest";
}

std::string_view Inspector::mapping_word(mem::KeySelector selector) const {
  if (!encrypts()) return "";
  if (selector != 0) return "encrypted";
  return view().walks_private ? "shared" : "plain";
}

Inspector::Walked Inspector::for_each_mapped(VirtAddr from,
                                             const std::function<bool(const Mapped&)>& visit) const {
  const auto config = cpu().paging();
  if (!config) return Walked::whole;
  return TableWalk{memory(), *config, from, visit}.walk(cpu().registers().cr3);
}

}  // namespace cbit::guest
