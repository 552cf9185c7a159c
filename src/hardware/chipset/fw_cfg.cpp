#include "chipset/fw_cfg.hpp"

#include <array>
#include <utility>

namespace cbit::chipset {
namespace {

template <class T>
Bytes item_of(const T& value) {
  const ConstByteSpan bytes = bytes_of(value);
  return {bytes.begin(), bytes.end()};
}

constexpr std::uint32_t traditional_interface = 1;

}  // namespace

FwCfg::FwCfg(std::uint16_t cpus, std::uint64_t memory) {
  items_[signature] = item_of(std::array{'Q', 'E', 'M', 'U'});
  items_[interface] = item_of(traditional_interface);
  items_[memory_bytes] = item_of(memory);
  items_[cpu_count] = item_of(cpus);
  items_[cpu_count_max] = item_of(cpus);
}

void FwCfg::reset() {
  selected_ = signature;
  position_ = 0;
}

std::uint32_t FwCfg::read(std::uint16_t offset, unsigned bytes) {
  if (offset == 0 || bytes != 1) return 0;
  const auto item = items_.find(selected_);
  if (item == items_.end() || position_ >= item->second.size()) return 0;
  return std::to_integer<std::uint32_t>(item->second[position_++]);
}

void FwCfg::write(std::uint16_t offset, unsigned bytes, std::uint32_t value) {
  if (offset != 0 || bytes != 2) return;
  selected_ = static_cast<std::uint16_t>(value);
  position_ = 0;
}

void FwCfg::transfer(StateStream& s) {
  std::uint64_t position = position_;
  s(selected_, position);
  position_ = static_cast<std::size_t>(position);
}

}  // namespace cbit::chipset
