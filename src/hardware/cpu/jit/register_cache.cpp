#include "cpu/jit/register_cache.hpp"

#include "base/assert.hpp"

namespace cbit::cpu::jit {
namespace {

namespace x86 = asmjit::x86;

constexpr std::array<Gp, RegisterCache::places> hosts{x86::rsi, x86::rdi, x86::rbp, x86::r8, x86::r9,
                                                      x86::r10, x86::r11, x86::r12, x86::r13};

bool is_temporary(Slot slot) {
  return slot >= isa::slot_of_temp(0) && slot < isa::slot_of_temp(isa::RegisterFile::temps);
}

}  // namespace

x86::Mem in_state(std::size_t offset, unsigned bytes) {
  return x86::Mem{reg_state, static_cast<std::int32_t>(offset), bytes};
}

int RegisterCache::find(Slot slot) const {
  for (unsigned i = 0; i < places; ++i)
    if (values_[i].slot == slot) return static_cast<int>(i);
  return -1;
}

// A free one, or the one whose value was asked for longest ago.
unsigned RegisterCache::take_place() {
  unsigned best = 0;
  for (unsigned i = 0; i < places; ++i) {
    if (values_[i].slot == Place::no_slot && values_[i].used_by != operation_) {
      best = i;
      break;
    }
    if (values_[i].used_by < values_[best].used_by) best = i;
  }
  CBIT_ASSERT(values_[best].used_by != operation_);
  if (values_[best].dirty) store(values_, best);
  values_[best] = {.used_by = operation_};
  return best;
}

Gp RegisterCache::use(Slot slot) {
  if (const int at = find(slot); at >= 0) {
    values_[static_cast<unsigned>(at)].used_by = operation_;
    return hosts[static_cast<unsigned>(at)];
  }
  const unsigned place = take_place();
  values_[place].slot = slot;
  as_->mov(hosts[place], in_state(slot, 8));
  return hosts[place];
}

Gp RegisterCache::define(Slot slot) {
  const int at = find(slot);
  const unsigned place = at >= 0 ? static_cast<unsigned>(at) : take_place();
  values_[place] = {.slot = slot, .dirty = true, .used_by = operation_};
  return hosts[place];
}

Gp RegisterCache::change(Slot slot) {
  const Gp value = use(slot);
  values_[static_cast<unsigned>(find(slot))].dirty = true;
  return value;
}

Gp RegisterCache::scratch() { return hosts[take_place()]; }

void RegisterCache::forget(Slot slot) {
  if (const int at = find(slot); at >= 0) values_[static_cast<unsigned>(at)] = {};
}

void RegisterCache::store(const Snapshot& from, unsigned place) {
  as_->mov(in_state(from[place].slot, 8), hosts[place]);
}

void RegisterCache::store_all(const Snapshot& snapshot) {
  for (unsigned i = 0; i < places; ++i)
    if (snapshot[i].dirty) store(snapshot, i);
  if (&snapshot == &values_)
    for (Place& value : values_) value.dirty = false;
}

void RegisterCache::store_at_end() {
  for (Place& value : values_)
    if (is_temporary(value.slot)) value.dirty = false;
  store_all();
}

RegisterCache::Snapshot RegisterCache::without_temporaries() const {
  Snapshot kept{};
  for (unsigned i = 0; i < places; ++i)
    if (values_[i].slot != Place::no_slot && !is_temporary(values_[i].slot))
      kept[i] = {.slot = values_[i].slot, .dirty = values_[i].dirty};
  return kept;
}

void RegisterCache::become(const Snapshot& wanted) {
  for (unsigned i = 0; i < places; ++i) {
    const bool stays_dirty = values_[i].slot == wanted[i].slot && wanted[i].dirty;
    if (values_[i].dirty && !stays_dirty && !is_temporary(values_[i].slot)) store(values_, i);
  }
  for (unsigned i = 0; i < places; ++i)
    if (wanted[i].slot != Place::no_slot && values_[i].slot != wanted[i].slot)
      as_->mov(hosts[i], in_state(wanted[i].slot, 8));
  values_ = wanted;
}

void RegisterCache::load_all(const Snapshot& snapshot) {
  for (unsigned i = 0; i < places; ++i)
    if (snapshot[i].slot != Place::no_slot) as_->mov(hosts[i], in_state(snapshot[i].slot, 8));
}

}  // namespace cbit::cpu::jit
