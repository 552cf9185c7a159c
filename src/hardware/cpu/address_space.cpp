#include "cpu/address_space.hpp"

namespace cbit::cpu {
namespace {

constexpr std::uint64_t low_32_bits = 0xffff'ffff;

}  // namespace

std::byte* AddressSpace::Tables::host_bytes(PhysAddr at, KeyId key, bool write) {
  Page& page = pages_[at.page_number() % size_];
  if (page.page != at.page() || page.key != key || (write && !page.writable)) {
    std::byte* host = space_->physical_->lease(
        at.page(), key, write ? mem::LeaseIntent::write : mem::LeaseIntent::read, *space_->holder_);
    if (host == nullptr) return nullptr;
    page = {at.page(), key, write, host};
  }
  return page.host + at.page_offset();
}

Result<std::uint64_t> AddressSpace::Tables::read_entry(PhysAddr at, unsigned bytes, KeyId key) {
  std::uint64_t entry = 0;
  if (const std::byte* host = host_bytes(at, key, false)) {
    std::memcpy(&entry, host, bytes);
    return entry;
  }
  std::array<std::byte, sizeof entry> raw{};
  // What is no memory reads as ones: an entry with reserved bits.
  if (const auto done = space_->physical_->read(at, std::span{raw}.first(bytes), key); !done) {
    if (done.error().kind != FaultKind::no_memory) return tl::unexpected{done.error()};
    raw.fill(std::byte{0xff});
  }
  std::memcpy(&entry, raw.data(), bytes);
  return entry;
}

Result<void> AddressSpace::Tables::write_entry(PhysAddr at, unsigned bytes, std::uint64_t entry, KeyId key) {
  if (std::byte* host = host_bytes(at, key, true)) {
    std::memcpy(host, &entry, bytes);
    return {};
  }
  return space_->physical_->write(at, bytes_of(entry).first(bytes), key);
}

void AddressSpace::Tables::drop(PhysAddr at) {
  Page& page = pages_[at.page_number() % size_];
  if (page.page == at.page()) page = {};
}

paging::PagingConfig AddressSpace::paging_config() const {
  paging::PagingConfig config{.levels = 4,
                              .phys_bits = config_.phys_bits,
                              .view = config_.view,
                              .no_execute = registers_.no_execute,
                              .large_pages = registers_.page_size};
  if (registers_.long_mode) return config;
  config.format = registers_.pae ? paging::PagingFormat::pae : paging::PagingFormat::legacy;
  config.levels = 3;
  return config;
}

// Without paging everything is allowed, and private to a guest with memory encryption (APM vol. 2, 15.34.5).
paging::Translation AddressSpace::unpaged(std::uint64_t linear) const {
  const mem::KeySelector selector = config_.view.walks_private ? 1 : 0;
  return {.phys = PhysAddr{linear & low_32_bits},
          .key = config_.view.key(selector),
          .selector = selector,
          .level = paging::PageLevel::size_4k,
          .flags = {.writable = true, .user = true, .executable = true}};
}

Result<paging::Translation> AddressSpace::walk_for(std::uint64_t linear, paging::Intent intent,
                                                   paging::Privilege privilege) {
  if (!registers_.paging) return unpaged(linear);
  return paging::walk(tables_, paging_config(), PtePhys{registers_.cr3}, VirtAddr{linear}, intent, privilege);
}

paging::Privilege AddressSpace::privilege_of(TlbSet set) const {
  return {.user = set == TlbSet::user,
          .write_protect = registers_.write_protect,
          .smep = registers_.smep,
          .smap = registers_.smap && set == TlbSet::kernel};
}

MemoryFault AddressSpace::fault_of(const Fault& fault, std::uint64_t linear, paging::Intent intent,
                                   bool user) const {
  MemoryFault result{.address = linear};
  if (fault.kind == FaultKind::non_canonical) {
    result.canonical = false;
    return result;
  }
  if (fault.kind != FaultKind::not_present) result.error |= page_fault::present;
  if (fault.kind != FaultKind::not_present && fault.kind != FaultKind::protection)
    result.error |= page_fault::reserved;
  if (intent == paging::Intent::write) result.error |= page_fault::write;
  if (user) result.error |= page_fault::user;
  // The bit tells nothing where neither feature is on.
  if (intent == paging::Intent::execute && (registers_.no_execute || registers_.smep))
    result.error |= page_fault::fetch;
  return result;
}

// By a translation whose lease was revoked, that of the large page around it, or a walk.
Accessed<TlbInfo> AddressSpace::without_lease(TlbSet set, std::uint64_t linear, bool write,
                                              const TlbInfo* known) {
  if (known != nullptr) return TlbInfo{*known};
  if (const auto large = large_pages_.find(set, linear, write)) return *large;
  const paging::Intent intent = write ? paging::Intent::write : paging::Intent::read;
  const paging::Privilege privilege = privilege_of(set);
  const auto walked = walk_for(linear, intent, privilege);
  if (!walked) return tl::unexpected{fault_of(walked.error(), linear, intent, privilege.user)};
  const TlbInfo found{.page = walked->phys.page(),
                      .key = walked->key,
                      .level = walked->level,
                      .writable = write,
                      .global = walked->flags.global && registers_.global};
  if (found.level != paging::PageLevel::size_4k) large_pages_.insert(set, linear, found);
  return found;
}

Accessed<const TlbInfo*> AddressSpace::page_for(TlbSet set, std::uint64_t linear, bool write,
                                                bool overwrites) {
  const TlbInfo* const known = tlb_.find(set, linear, write);
  if (known != nullptr && !known->revoked) return known;
  TlbInfo info = CBIT_TRY(without_lease(set, linear, write, known));
  const auto lease = overwrites ? mem::LeaseIntent::overwrite
                     : write    ? mem::LeaseIntent::write
                                : mem::LeaseIntent::read;
  info.host = physical_->lease(info.page, info.key, lease, *holder_);
  info.revoked = false;
  // A page that was only read is walked again for its first write, which sets Dirty and needs another lease.
  info.writable = write;
  const bool fast = info.host != nullptr && set != TlbSet::closed;
  return &tlb_.insert(set, linear, info, fast, fast && write);
}

Accessed<CodeTlb::Entry> AddressSpace::page_of_code(bool user, std::uint64_t linear) {
  if (const CodeTlb::Entry* known = code_tlb_.find(user, linear)) return *known;
  paging::Privilege privilege = privilege_of(user ? TlbSet::user : TlbSet::kernel_open);
  const auto walked = walk_for(linear, paging::Intent::execute, privilege);
  if (!walked) return tl::unexpected{fault_of(walked.error(), linear, paging::Intent::execute, user)};
  // A guest with memory encryption fetches privately, whatever the C-bit says: APM vol. 2, 15.34.5.
  const KeyId key = config_.view.walks_private ? config_.view.key(1) : walked->key;
  return code_tlb_.insert(user, {.page = linear & page_mask,
                                 .phys = walked->phys.page(),
                                 .key = key,
                                 .level = walked->level,
                                 .global = walked->flags.global && registers_.global});
}

void AddressSpace::flush_all() {
  tlb_.flush_all();
  large_pages_.flush_all();
  code_tlb_.flush();
}

void AddressSpace::flush_non_global() {
  tlb_.flush_non_global();
  large_pages_.flush_non_global();
  code_tlb_.flush_non_global();
}

void AddressSpace::flush_page(std::uint64_t linear) {
  tlb_.flush_page(linear);
  large_pages_.flush_page(linear);
  code_tlb_.flush_page(linear);
}

void AddressSpace::revoke_page(PhysAddr page) {
  tlb_.revoke(page);
  code_tlb_.drop(page);
  tables_.drop(page);
}

namespace {

// Reads tables as they are, and writes nothing.
class SilentTables final : public paging::TableMemory {
 public:
  explicit SilentTables(paging::TableMemory& tables) : tables_{&tables} {}
  Result<std::uint64_t> read_entry(PhysAddr at, unsigned bytes, KeyId key) override {
    return tables_->read_entry(at, bytes, key);
  }
  Result<void> write_entry(PhysAddr, unsigned, std::uint64_t, KeyId) override { return {}; }

 private:
  paging::TableMemory* tables_;
};

}  // namespace

std::optional<paging::Translation> AddressSpace::inspect(std::uint64_t linear) {
  if (!registers_.paging) return unpaged(linear);
  SilentTables silent{tables_};
  const auto walked = paging::walk(silent, paging_config(), PtePhys{registers_.cr3}, VirtAddr{linear},
                                   paging::Intent::read, paging::Privilege{});
  if (!walked) return std::nullopt;
  return *walked;
}

}  // namespace cbit::cpu
