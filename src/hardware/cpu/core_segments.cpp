// Segments: descriptors, and loading them. APM vol. 2, chapter 4.
#include "cpu/core.hpp"

namespace cbit::cpu {
namespace {

constexpr std::uint32_t table_indicator = 1 << 2;

bool is_null(std::uint16_t selector) { return (selector & ~3u) == 0; }

// APM vol. 2, figures 4-14 and 4-20.
Descriptor parse(std::uint64_t raw, std::uint16_t selector) {
  Descriptor descriptor{.selector = selector, .raw = raw};
  descriptor.attributes.raw = static_cast<std::uint16_t>((raw >> 40 & 0xff) | (raw >> 44 & 0xf00));
  descriptor.base = (raw >> 16 & 0xff'ffff) | (raw >> 32 & 0xff00'0000);
  descriptor.limit = static_cast<std::uint32_t>((raw & 0xffff) | (raw >> 32 & 0xf'0000));
  if (descriptor.attributes.get<SegmentAttributes::Granularity>())
    descriptor.limit = descriptor.limit << 12 | 0xfff;
  return descriptor;
}

// System descriptors: APM vol. 2, table 4-5.
constexpr unsigned type_ldt = 2;
constexpr unsigned type_tss_available = 9;
constexpr unsigned type_tss_busy = 11;
constexpr std::uint64_t busy_bit = 1ull << 41;
constexpr std::uint64_t accessed_bit = 1ull << 40;

// Offsets in task-state segments: APM vol. 2, figures 12-1 and 12-8.
constexpr std::uint64_t tss_esp0 = 4;
constexpr std::uint64_t tss_rsp0 = 4;
constexpr std::uint64_t tss_ist1 = 0x24;

}  // namespace

SegmentRegister Core::segment(isa::Segment which) const {
  SegmentRegister value = sys.segments[static_cast<std::size_t>(which)];
  value.base = which >= isa::Segment::fs ? regs.segment_base[static_cast<std::size_t>(which)] : value.base;
  return value;
}

// Bases of ES, CS, SS and DS count outside of 64-bit mode only; those of FS and GS always do.
void Core::set_segment(isa::Segment which, const SegmentRegister& value) {
  sys.segments[static_cast<std::size_t>(which)] = value;
  regs.segment_base[static_cast<std::size_t>(which)] = value.base;
}

std::uint64_t Core::linear(isa::Segment which, std::uint64_t offset) const {
  const std::uint64_t base = segment(which).base;
  if (mode_.is_64()) return which >= isa::Segment::fs ? base + offset : offset;
  return (base + offset) & 0xffff'ffff;
}

bool Core::look_up(std::uint16_t selector, std::optional<Descriptor>& to) {
  to.reset();
  if (is_null(selector)) return true;
  const bool local = (selector & table_indicator) != 0;
  const std::uint64_t base = local ? sys.ldtr.base : sys.gdtr.base;
  const std::uint64_t limit = local ? sys.ldtr.limit : sys.gdtr.limit;
  const std::uint64_t place = selector & ~7u;
  if (place + 7 > limit || (local && is_null(sys.ldtr.selector))) return true;
  std::uint64_t raw = 0;
  if (!read(system_set(), base + place, &raw, sizeof raw)) return false;
  Descriptor descriptor = parse(raw, selector);
  descriptor.address = base + place;
  // System descriptors have 16 bytes in long mode, call gates and tables alike.
  if (long_mode() && !descriptor.attributes.get<SegmentAttributes::Memory>()) {
    if (place + 15 > limit) return true;
    std::uint64_t upper = 0;
    if (!read(system_set(), base + place + 8, &upper, sizeof upper)) return false;
    descriptor.base |= upper << 32;
  }
  to = descriptor;
  return true;
}

std::optional<Descriptor> Core::descriptor_at(std::uint16_t selector, std::uint8_t fault_vector,
                                              std::uint32_t external) {
  const std::uint32_t error = (selector & ~3u) | external;
  std::optional<Descriptor> descriptor;
  if (!look_up(selector, descriptor)) return std::nullopt;
  if (!descriptor) (void)raise(is_null(selector) ? vector::gp : fault_vector, error);
  return descriptor;
}

bool Core::mark_accessed(Descriptor& descriptor) {
  if (descriptor.attributes.get<SegmentAttributes::Accessed>()) return true;
  descriptor.raw |= accessed_bit;
  descriptor.attributes = descriptor.attributes.with<SegmentAttributes::Accessed>(true);
  return write(system_set(), descriptor.address, &descriptor.raw, sizeof descriptor.raw);
}

void Core::load_code_segment(const Descriptor& descriptor, unsigned rpl) {
  const auto selector = static_cast<std::uint16_t>((descriptor.selector & ~3u) | rpl);
  set_segment(isa::Segment::cs, {selector, descriptor.attributes, descriptor.limit, descriptor.base});
}

// MOV, POP and their like; not CS. APM vol. 2, 4.10.1.
bool Core::load_data_segment(isa::Segment which, std::uint16_t selector) {
  if (!protected_mode()) {
    SegmentRegister value = segment(which);
    value.selector = selector;
    value.base = std::uint64_t{selector} << 4;
    set_segment(which, value);
    return true;
  }
  const bool is_stack = which == isa::Segment::ss;
  const unsigned rpl = selector & 3;
  if (is_null(selector)) {
    if (is_stack && !(mode_.is_64() && sys.cpl != 3 && rpl == sys.cpl)) return refuse(vector::gp, 0);
    SegmentRegister null{.selector = selector};
    // SS keeps the privilege level, and is usable.
    if (is_stack) {
      null = flat_data(selector);
      null.attributes = null.attributes.with<SegmentAttributes::Dpl>(static_cast<std::uint8_t>(sys.cpl));
    }
    set_segment(which, null);
    return true;
  }
  auto descriptor = descriptor_at(selector, vector::gp);
  if (!descriptor) return false;
  const SegmentAttributes attributes = descriptor->attributes;
  const std::uint32_t error = selector & ~3u;
  const unsigned dpl = attributes.get<SegmentAttributes::Dpl>();
  const bool code = attributes.get<SegmentAttributes::Code>();
  if (!attributes.get<SegmentAttributes::Memory>()) return refuse(vector::gp, error);
  if (is_stack) {
    if (code || !attributes.get<SegmentAttributes::Writable>() || dpl != sys.cpl || rpl != sys.cpl)
      return refuse(vector::gp, error);
    if (!attributes.get<SegmentAttributes::Present>()) return refuse(vector::ss, error);
  } else {
    if (code && !attributes.get<SegmentAttributes::Readable>()) return refuse(vector::gp, error);
    const bool conforming = code && attributes.get<SegmentAttributes::Conforming>();
    if (!conforming && (dpl < sys.cpl || dpl < rpl)) return refuse(vector::gp, error);
    if (!attributes.get<SegmentAttributes::Present>()) return refuse(vector::np, error);
  }
  if (!mark_accessed(*descriptor)) return false;
  set_segment(which, {selector, descriptor->attributes, descriptor->limit, descriptor->base});
  return true;
}

bool Core::load_ldt(std::uint16_t selector) {
  if (is_null(selector)) {
    sys.ldtr = {.selector = selector};
    return true;
  }
  if ((selector & table_indicator) != 0) return refuse(vector::gp, selector & ~3u);
  const auto descriptor = descriptor_at(selector, vector::gp);
  if (!descriptor) return false;
  const SegmentAttributes attributes = descriptor->attributes;
  if (attributes.get<SegmentAttributes::Memory>() || attributes.get<SegmentAttributes::Type>() != type_ldt)
    return refuse(vector::gp, selector & ~3u);
  if (!attributes.get<SegmentAttributes::Present>()) return refuse(vector::np, selector & ~3u);
  if (long_mode() && !is_canonical_address(descriptor->base)) return refuse(vector::gp, selector & ~3u);
  sys.ldtr = {selector, attributes, descriptor->limit, descriptor->base};
  return true;
}

bool Core::load_task(std::uint16_t selector) {
  const std::uint32_t error = selector & ~3u;
  if (is_null(selector)) return refuse(vector::gp, 0);
  if ((selector & table_indicator) != 0) return refuse(vector::gp, error);
  const auto descriptor = descriptor_at(selector, vector::gp);
  if (!descriptor) return false;
  const SegmentAttributes attributes = descriptor->attributes;
  if (attributes.get<SegmentAttributes::Memory>() ||
      attributes.get<SegmentAttributes::Type>() != type_tss_available)
    return refuse(vector::gp, error);
  if (!attributes.get<SegmentAttributes::Present>()) return refuse(vector::np, error);
  if (long_mode() && !is_canonical_address(descriptor->base)) return refuse(vector::gp, error);
  const std::uint64_t busy = descriptor->raw | busy_bit;
  if (!write(system_set(), descriptor->address, &busy, sizeof busy)) return false;
  sys.tr = {selector, attributes.with<SegmentAttributes::Type>(type_tss_busy), descriptor->limit,
            descriptor->base};
  return true;
}

std::optional<Core::StackPointer> Core::stack_for(unsigned cpl, unsigned ist, std::uint32_t external) {
  const std::uint32_t error = (sys.tr.selector & ~3u) | external;
  if (long_mode()) {
    const std::uint64_t place = ist != 0 ? tss_ist1 + 8 * (ist - 1) : tss_rsp0 + 8 * cpl;
    if (place + 7 > sys.tr.limit) {
      (void)raise(vector::ts, error);
      return std::nullopt;
    }
    const auto rsp = read<std::uint64_t>(system_set(), sys.tr.base + place);
    if (!rsp) return std::nullopt;
    if (!is_canonical_address(*rsp)) {
      (void)raise(vector::ss, external);
      return std::nullopt;
    }
    return StackPointer{.rsp = *rsp};
  }
  const std::uint64_t place = tss_esp0 + 8 * cpl;
  if (place + 5 > sys.tr.limit) {
    (void)raise(vector::ts, error);
    return std::nullopt;
  }
  const auto pair = read<std::uint64_t>(system_set(), sys.tr.base + place);
  if (!pair) return std::nullopt;
  return StackPointer{.rsp = *pair & 0xffff'ffff, .ss = static_cast<std::uint16_t>(*pair >> 32)};
}

// APM vol. 2, 4.12. A null selector has a segment that is not present.
bool Core::check_limit(isa::Segment which, std::uint32_t offset, unsigned bytes, bool write) {
  const std::uint8_t fault_vector = which == isa::Segment::ss ? vector::ss : vector::gp;
  const SegmentRegister value = segment(which);
  const SegmentAttributes attributes = value.attributes;
  const std::uint64_t last = std::uint64_t{offset} + bytes - 1;
  if (protected_mode()) {
    if (!attributes.get<SegmentAttributes::Present>()) return refuse(fault_vector, 0);
    const bool code = attributes.get<SegmentAttributes::Code>();
    if (write && (code || !attributes.get<SegmentAttributes::Writable>())) return refuse(vector::gp, 0);
    if (!write && code && !attributes.get<SegmentAttributes::Readable>()) return refuse(vector::gp, 0);
    if (!code && attributes.get<SegmentAttributes::Down>()) {
      const std::uint64_t top = attributes.get<SegmentAttributes::Big>() ? 0xffff'ffff : 0xffff;
      return offset > value.limit && last <= top ? true : refuse(fault_vector, 0);
    }
  }
  return last <= value.limit ? true : refuse(fault_vector, 0);
}

}  // namespace cbit::cpu
