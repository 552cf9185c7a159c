// A small machine to walk in: 16 MiB of RAM, installed keys, and a source of table pages.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "paging/page_table.hpp"
#include "paging/walker.hpp"
#include "support/small_machine.hpp"

namespace cbit::paging {

struct PagingBox {
  explicit PagingBox(const PagingConfig& paging) : config{paging} {
    for (KeyId id = 1; id < 8; ++id) keys.set_derived(id, "key " + std::to_string(id));
    memory = mem::Memory::create({.ram = {{PhysAddr{0}, 16ull << 20}}}, keys, tracer).value();
  }

  Result<Translation> walk(PtePhys cr3, VirtAddr at, Intent intent = Intent::read, Privilege privilege = {}) {
    return paging::walk(*memory, config, cr3, at, intent, privilege, who);
  }
  PageTable table(mem::KeySelector selector) {
    return PageTable::create(*memory, config, selector, frames.source<PageTable::Source>(), who).value();
  }

  // Raw entries, for what PageTable would never write.
  Pte entry(PhysAddr at, KeyId key = no_key) {
    std::array<std::byte, sizeof(Pte)> raw;
    EXPECT_TRUE(memory->read(at, raw, {who.agent, key, 0}));
    return load<Pte>(raw);
  }
  void set_entry(PhysAddr at, std::uint64_t raw, KeyId key = no_key) {
    EXPECT_TRUE(memory->write(at, bytes_of(raw), {who.agent, key, 0}));
  }

  mem::KeyTable keys{1, crypt::CipherMode::xex};
  Clock clock;
  Tracer tracer{clock};
  PagingConfig config;
  std::unique_ptr<mem::Memory> memory;
  test::PagePool frames{PhysAddr{0x10'0000}};
  mem::Access who{{AgentKind::cpu, 0}};
};

inline PagingConfig plain_paging(unsigned levels = 4) { return {.levels = levels}; }
inline PagingConfig sme_paging(unsigned c_bit = 47) {
  return {.view = {.layout = mem::KeyLayout::amd(c_bit), .encrypted_key = 1}};
}
inline PagingConfig sev_paging(unsigned c_bit = 51) {
  return {.view = {.layout = mem::KeyLayout::amd(c_bit), .encrypted_key = 2, .walks_private = true}};
}
inline PagingConfig tdx_paging() {
  return {.view = {.layout = mem::KeyLayout::tdx(47), .encrypted_key = 2, .walks_private = true}};
}
inline PagingConfig mktme_paging() {
  return {.view = {.layout = mem::KeyLayout::mktme(46, 6), .selector_is_key = true}};
}

}  // namespace cbit::paging
