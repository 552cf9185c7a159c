// FXSAVE, XSAVE and what restores them. APM vol. 2, 11.4.4 and 11.5; vol. 4 and 5.
#include <cstring>

#include "cpu/helpers.hpp"

namespace cbit::cpu::helpers {
namespace {

using isa::SavedState;

constexpr std::size_t legacy_bytes = 512;
constexpr std::size_t header_bytes = 64;
using Image = std::array<std::byte, legacy_bytes + header_bytes>;

using fxsave::mxcsr_at;
using fxsave::mxcsr_mask_at;
using fxsave::xmm_at;
// In the header: figure 11-9.
constexpr std::size_t present_at = legacy_bytes;
constexpr std::size_t compaction_at = legacy_bytes + 8;
constexpr std::uint64_t is_compact = 1ull << 63;

constexpr std::uint64_t component_x87 = 1;
constexpr std::uint64_t component_sse = 2;

unsigned xmm_count(const Core& core) { return core.mode().is_64() ? 16 : 8; }

void put_xmm(const Core& core, Image& image) {
  std::memcpy(image.data() + xmm_at, core.regs.xmm.data(), xmm_count(core) * sizeof(isa::Xmm));
}
void get_xmm(Core& core, const Image& image) {
  std::memcpy(core.regs.xmm.data(), image.data() + xmm_at, xmm_count(core) * sizeof(isa::Xmm));
}

void put_mxcsr(const Core& core, Image& image) {
  std::memcpy(image.data() + mxcsr_at, &core.mxcsr.raw, 4);
  std::memcpy(image.data() + mxcsr_mask_at, &fp::mxcsr_mask, 4);
}
std::uint32_t mxcsr_in(const Image& image) {
  std::uint32_t value = 0;
  std::memcpy(&value, image.data() + mxcsr_at, sizeof value);
  return value;
}

std::uint64_t quad_at(const Image& image, std::size_t at) {
  std::uint64_t value = 0;
  std::memcpy(&value, image.data() + at, sizeof value);
  return value;
}

bool read_image(Core& core, const isa::Op& op, Image& image, std::size_t bytes) {
  for (std::size_t at = 0; at < bytes; at += 8)
    if (!core.read(core.data_set(), address_of(core, &op) + at, image.data() + at, 8, op.stack_fault))
      return false;
  return true;
}

// What [first, first + bytes) of the image has goes to memory.
bool write_image(Core& core, const isa::Op& op, const Image& image, std::size_t first, std::size_t bytes) {
  for (std::size_t at = first; at < first + bytes; at += 8)
    if (!core.write(core.data_set(), address_of(core, &op) + at, image.data() + at, 8, op.stack_fault))
      return false;
  return true;
}

bool probe_image(Core& core, const isa::Op& op, std::size_t bytes) {
  const std::uint64_t first = address_of(core, &op);
  return core.probe_write(core.data_set(), first, 1, op.stack_fault) &&
         core.probe_write(core.data_set(), first + bytes - 1, 1, op.stack_fault);
}

// The alignment that an image needs, or #GP.
bool is_aligned(Core& core, const isa::Op& op, SavedState which) {
  const std::uint64_t alignment = which == SavedState::fxsave ? 16 : 64;
  return address_of(core, &op) % alignment == 0 ? true : core.refuse(vector::gp, 0);
}

Outcome save_legacy(Core& core, const isa::Op& op, bool wide) {
  Image image{};
  if (!probe_image(core, op, legacy_bytes) || !read_image(core, op, image, legacy_bytes))
    return Outcome::fault;
  core.x87.fxsave(std::span{image}.first(legacy_bytes), wide);
  put_mxcsr(core, image);
  put_xmm(core, image);
  // Bytes 511:416 are the system's own.
  return write_image(core, op, image, 0, 416) ? Outcome::next : Outcome::fault;
}

Outcome restore_legacy(Core& core, const isa::Op& op, bool wide) {
  Image image{};
  if (!read_image(core, op, image, legacy_bytes)) return Outcome::fault;
  if ((mxcsr_in(image) & ~fp::mxcsr_mask) != 0) return core.raise(vector::gp, 0);
  core.x87.fxrstor(std::span{image}.first(legacy_bytes), wide);
  core.mxcsr.raw = mxcsr_in(image);
  get_xmm(core, image);
  return Outcome::next;
}

}  // namespace

// The components that EDX:EAX asks for and XCR0 allows. All count as in use, so that all are written.
Outcome save_state(Core& core, const isa::Op& op) {
  const auto with = isa::Choose<SavedState>::unpacked(op.imm);
  const bool wide = with.bytes == 8;
  if (!is_aligned(core, op, with.choice)) return Outcome::fault;
  if (with.choice == SavedState::fxsave) return save_legacy(core, op, wide);

  const std::uint64_t requested = get_pair_32(core) & core.sys.xcr0;
  const bool compact = with.choice == SavedState::xsavec;
  Image image{};
  if (!probe_image(core, op, image.size()) || !read_image(core, op, image, image.size()))
    return Outcome::fault;
  if ((requested & component_x87) != 0) core.x87.fxsave(std::span{image}.first(legacy_bytes), wide);
  if ((requested & component_sse) != 0) {
    put_mxcsr(core, image);
    put_xmm(core, image);
  }
  const std::uint64_t kept = compact ? 0 : quad_at(image, present_at) & ~requested;
  const std::uint64_t present = kept | requested;
  std::memcpy(image.data() + present_at, &present, sizeof present);
  if (compact) {
    const std::uint64_t format = is_compact | requested;
    std::memcpy(image.data() + compaction_at, &format, sizeof format);
  }
  return write_image(core, op, image, 0, 416) && write_image(core, op, image, legacy_bytes, compact ? 16 : 8)
             ? Outcome::next
             : Outcome::fault;
}

namespace {

// APM vol. 4, XRSTOR: what of the header is #GP.
bool is_valid_header(const Core& core, const Image& image) {
  const std::uint64_t present = quad_at(image, present_at);
  const std::uint64_t format = quad_at(image, compaction_at);
  if ((present & ~core.sys.xcr0) != 0) return false;
  for (std::size_t at = compaction_at + 8; at < image.size(); at += 8) {
    const bool may_be_set = at >= compaction_at + 16 && (format & is_compact) == 0;
    if (!may_be_set && quad_at(image, at) != 0) return false;
  }
  if ((format & is_compact) == 0) return format == 0;
  return core.config.model.features.has(isa::Feature::xsavec) &&
         (format & ~is_compact & ~core.sys.xcr0) == 0 && (present & ~format) == 0;
}

}  // namespace

Outcome restore_state(Core& core, const isa::Op& op) {
  const auto with = isa::Choose<SavedState>::unpacked(op.imm);
  const bool wide = with.bytes == 8;
  if (!is_aligned(core, op, with.choice)) return Outcome::fault;
  if (with.choice == SavedState::fxsave) return restore_legacy(core, op, wide);

  Image image{};
  if (!read_image(core, op, image, image.size())) return Outcome::fault;
  if (!is_valid_header(core, image)) return core.raise(vector::gp, 0);
  const std::uint64_t requested = get_pair_32(core) & core.sys.xcr0;
  const std::uint64_t present = quad_at(image, present_at);
  const bool compact = (quad_at(image, compaction_at) & is_compact) != 0;
  // MXCSR comes with SSE; in the standard format also where SSE itself is in its initial state.
  const bool with_mxcsr = (requested & component_sse) != 0 && (!compact || (present & component_sse) != 0);
  if (with_mxcsr && (mxcsr_in(image) & ~fp::mxcsr_mask) != 0) return core.raise(vector::gp, 0);
  if ((requested & component_x87) != 0) {
    if ((present & component_x87) != 0)
      core.x87.fxrstor(std::span{image}.first(legacy_bytes), wide);
    else
      core.x87 = {};
  }
  if ((requested & component_sse) != 0) {
    core.mxcsr = with_mxcsr ? fp::Mxcsr{{mxcsr_in(image)}} : fp::mxcsr_at_reset;
    if ((present & component_sse) != 0)
      get_xmm(core, image);
    else
      std::fill_n(core.regs.xmm.begin(), xmm_count(core), isa::Xmm{});
  }
  return Outcome::next;
}

}  // namespace cbit::cpu::helpers
