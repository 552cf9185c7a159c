// What the kernel says, loads and gives up: kernel/printk/printk.c, kernel/module/main.c, kernel/panic.c,
// drivers/base/dd.c.
#include <algorithm>

#include "base/format.hpp"
#include "linux/probes/context.hpp"

namespace cbit::linux {
namespace {

// ---- the log ---------------------------------------------------------------------------------------------

// include/linux/kernel printk's enum printk_info_flags.
constexpr std::uint32_t log_newline = 2;
constexpr std::uint32_t log_cont = 8;
constexpr std::size_t line_bytes_max = 4096;

std::string printable(ConstByteSpan bytes) {
  std::string text;
  for (const std::byte byte : bytes) {
    const auto ch = std::to_integer<unsigned char>(byte);
    text += (ch >= 0x20 && ch <= 0x7e) || ch == '\n' ? static_cast<char>(ch) : ch == '\t' ? ' ' : '?';
  }
  return text;
}

// text, flags; its length in AX, without level and newline. A piece that is no line of its own goes on where
// the last one ended, if nobody else has printed since.
void printk(ProbeContext& ctx, CallView& c) {
  Bytes raw(std::min<std::size_t>(static_cast<std::uint16_t>(c.result()), line_bytes_max));
  const auto flags = c.memory().load<std::uint32_t>(c.pointer(1));
  if (!flags || !c.memory().read(c.pointer(0), raw)) return;
  const bool continues = (*flags & log_cont) != 0 && ctx.open_line &&
                         ctx.open_line->stack == c.stack_number() &&
                         ctx.open_line->text.size() < line_bytes_max;
  if (!continues) {
    ctx.end_line();
    ctx.open_line = {c.stack_number(), c.agent(), {}};
  }
  ctx.open_line->text += printable(raw);
  if ((*flags & log_newline) != 0) ctx.end_line();
}

// ---- stops -----------------------------------------------------------------------------------------------

bool warning(ProbeContext& ctx, CallView& c) {
  ctx.observer().kernel_stops(KernelStop::warning, ctx.site_of(c.returns_to(), true));
  return false;
}
bool panic(ProbeContext& ctx, CallView& c) {
  ctx.observer().kernel_stops(KernelStop::panic, ctx.site_of(c.returns_to(), true));
  return false;
}
bool oops(ProbeContext& ctx, CallView& c) {
  ctx.observer().kernel_stops(KernelStop::oops, ctx.site_of(c.returns_to(), true));
  return false;
}

// ---- drivers ---------------------------------------------------------------------------------------------

std::string_view word_for(DmaDirection direction) {
  switch (direction) {
    case DmaDirection::bidirectional: return "DMA_BIDIRECTIONAL";
    case DmaDirection::to_device: return "DMA_TO_DEVICE";
    case DmaDirection::from_device: return "DMA_FROM_DEVICE";
    case DmaDirection::none: return "DMA_NONE";
  }
  return "?";
}

std::string_view word_for(DmaMappingKind kind) {
  switch (kind) {
    case DmaMappingKind::single:
    case DmaMappingKind::page: return "single";
    case DmaMappingKind::sg: return "scatter-gather";
    case DmaMappingKind::coherent: return "coherent";
    case DmaMappingKind::resource: return "resource";
  }
  return "?";
}

// dev: its driver has let go of it, and what was managed for it is freed. Debian's kernels do not look what
// is left (CONFIG_DMA_API_DEBUG: dma_debug_device_change()).
void unbound(ProbeContext& ctx, CallView& c) {
  const NameId device = ctx.name_of(c, c.pointer(0));
  const auto leak = ctx.ledger().leak(device);
  if (!leak) return;
  ctx.emit(c, DmaDebugReport{
                  .device = device,
                  .kind = DmaDebugKind::leak,
                  .dma = leak->dma,
                  .bytes = leak->entry.bytes,
                  .text = fmt::format("device driver has pending DMA allocations while released from device "
                                      "[count={}]\nOne of leaked entries details: [device address={:#018x}] "
                                      "[size={} bytes] [mapped with {}] [mapped as {}]",
                                      leak->count, leak->dma.value(), leak->entry.bytes,
                                      word_for(leak->entry.direction), word_for(leak->entry.kind))});
}

// ---- modules ---------------------------------------------------------------------------------------------

// mod: laid out and relocated, about to run.
bool enter_init_module(ProbeContext& ctx, CallView& c) {
  if (auto module = read_module(ctx.running().kernel(), c.memory(), c.pointer(0)))
    ctx.running().modules().add(*std::move(module));
  return true;
}

void init_module(ProbeContext& ctx, CallView& c) {
  const Module* const module = ctx.running().modules().at(c.pointer(0));
  if (module == nullptr) return;
  ctx.forget_sites(*module);
  ctx.running().modules().forget_init(c.pointer(0));
}

bool free_module(ProbeContext& ctx, CallView& c) {
  const Module* const module = ctx.running().modules().at(c.pointer(0));
  if (module == nullptr) return false;
  ctx.forget_sites(*module);
  ctx.running().modules().forget(c.pointer(0));
  return false;
}

void free_init_memory(ProbeContext& ctx, CallView&) { ctx.init_is_freed = true; }

bool leave(ProbeContext& ctx, CallView&) {
  ctx.leaving = true;
  return false;
}

constexpr ProbeRow kernel_calls[] = {
    {"printk_sprint", "text flags", "", nullptr, printk},
    {"__warn", "", "", warning},
    {"panic", "", "vpanic", panic},
    {"vpanic", "", "", panic},
    {"make_task_dead", "", "", oops},
    {"device_unbind_cleanup", "dev", "", nullptr, unbound},
    {"do_init_module", "mod", "", enter_init_module, init_module},
    {"free_module", "mod", "", free_module},
    {"free_initmem", "", "", nullptr, free_init_memory},
    {"machine_kexec", "", "", leave},
};

}  // namespace

std::span<const ProbeRow> kernel_rows() { return kernel_calls; }

}  // namespace cbit::linux
