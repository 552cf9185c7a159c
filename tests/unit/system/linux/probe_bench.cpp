#include "probe_bench.hpp"

namespace cbit::test {

using linux::CpuView;

ProbeBench::ProbeBench(Style style, bool start) : kernel{TestKernel::of(style)} {
  kernel.load_into(guest, slide);
  guest.write(stack - 0x1000, Bytes(0x1100));
  set_variable("page_offset_base", direct_map);
  set_variable("vmemmap_base", vmemmap);
  set_variable("io_tlb_default_mem", 0);
  set_up_device();
  set_up_pool();
  cpu.gpr[CpuView::rsp] = stack.value();
  tracer.attach(log);
  probes = std::make_unique<linux::Probes>(kernel.kernel(), tracer, *this, *this);
  if (start) execute(at("x86_64_start_kernel"));
}

void ProbeBench::set_up_device() {
  guest.write(pci, Bytes(0x2000));
  guest.put_text(pci + 0x1000, "0000:00:02.0");
  set_device("kobj.name", (pci + 0x1000).value());
  set_device("bus", at("pci_bus_type").value());
  set_device("dma_mask", (pci + 0x1400).value());
  set_mask(~std::uint64_t{0});
  set_device("coherent_dma_mask", ~std::uint64_t{0});
  set_device("dma_parms", (pci + 0x1480).value());
  set_device("dma_io_tlb_mem", tlb.value());
  const VirtAddr bus = pci + 0x1200;
  guest.put(pci + kernel.offset("pci_dev", "bus"), bus.value());
  guest.put(pci + kernel.offset("pci_dev", "devfn"), std::uint32_t{0x10});
}

void ProbeBench::set_up_pool() {
  guest.write(tlb, Bytes(0x6000));
  const std::string in = kernel.style() == Style::v6_1 ? "" : "defpool.";
  const auto put = [&](const std::string& member, const auto& value) {
    guest.put(tlb + kernel.offset("io_tlb_mem", member), value);
  };
  put(in + "start", pool.value());
  put(in + "end", (pool + pool_slots * 2048).value());
  put(in + "nareas", std::uint32_t{2});
  put(in + "area_nslabs", static_cast<std::uint32_t>(pool_slots / 2));
  put(in + "areas", (tlb + 0x800).value());
  put(in + "slots", slots_at.value());
  put("nslabs", pool_slots);
  put("force_bounce", std::uint8_t{1});
  for (std::uint64_t i = 0; i < pool_slots; ++i)
    set_slot(i, ~std::uint64_t{0}, 0, static_cast<std::uint32_t>(128 - i % 128));
}

void ProbeBench::set_slot(std::uint64_t index, std::uint64_t orig, std::uint64_t alloc_size,
                          std::uint32_t list) {
  guest.put(slot(index), orig);
  guest.put(slot(index) + 8, alloc_size);
  guest.put(slot(index) + 16, list);  // of 6.12 the upper half is pad_slots
}

void ProbeBench::use_iommu() {
  if (kernel.style() == Style::v6_1) set_device("dma_ops", at("iommu_dma_ops").value());
  if (kernel.style() == Style::v6_12)
    guest.put(device() + kernel.offset("device", "dma_iommu"), std::uint8_t{1u << 6});
  if (kernel.style() == Style::v7_3) set_device("flags", 1u << 1);
}

// ---- the CPU ---------------------------------------------------------------------------------------------

void ProbeBench::execute(VirtAddr rip) {
  cpu.rip = rip.value();
  if (probed.contains(rip)) probes->on_execute(cpu);
}

void ProbeBench::set_arguments(const std::vector<std::uint64_t>& arguments) {
  constexpr CpuView::Register registers[] = {CpuView::rdi, CpuView::rsi, CpuView::rdx,
                                             CpuView::rcx, CpuView::r8,  CpuView::r9};
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (i < std::size(registers))
      cpu.gpr[registers[i]] = arguments[i];
    else
      guest.put(cpu.stack() + 8 * (i - std::size(registers)), arguments[i]);
  }
}

void ProbeBench::call(std::string_view function, std::vector<std::uint64_t> arguments, const Body& inside) {
  // A place for arguments on the stack, so that the ones of nested calls do not overwrite what is below them.
  const VirtAddr before = cpu.stack();
  cpu.gpr[CpuView::rsp] -= 0x20;
  const VirtAddr returns_to = at("driver_queue") + 0x10 + kernel.at(function).page_offset() / 0x100;
  set_arguments(arguments);
  cpu.gpr[CpuView::rsp] -= 8;
  const VirtAddr frame = cpu.stack();
  guest.put(frame, returns_to.value());
  execute(at(function));
  cpu.gpr[CpuView::rax] = inside();
  cpu.gpr[CpuView::rsp] = frame.value() + 8;
  execute(returns_to);
  cpu.gpr[CpuView::rsp] = before.value();
}

void ProbeBench::tail_call(std::string_view function, std::vector<std::uint64_t> arguments,
                           const Body& inside) {
  const VirtAddr frame = cpu.stack();
  set_arguments(arguments);
  execute(at(function));
  cpu.gpr[CpuView::rax] = inside();
  cpu.gpr[CpuView::rsp] = frame.value();
}

std::vector<std::string> ProbeBench::event_names() const {
  std::vector<std::string> names;
  for (const Event& event : log.events())
    names.emplace_back(std::visit([](const auto& payload) { return payload.name; }, event.payload));
  return names;
}

// ---- calls that belong together --------------------------------------------------------------------------

std::vector<std::uint64_t> ProbeBench::map_single_arguments(PhysAddr orig, std::uint64_t bytes) const {
  if (kernel.style() == Style::v6_1) return {dev(), orig.value(), bytes, bytes, 0, 1, 0};
  return {dev(), orig.value(), bytes, 0, 1, 0};
}

void ProbeBench::bounce(PhysAddr orig, std::uint64_t bytes, DmaDirection, std::uint64_t index) {
  const PhysAddr bounce = pool + index * 2048;
  call("swiotlb_tbl_map_single", map_single_arguments(orig, bytes), [&] {
    for (std::uint64_t i = 0; i * 2048 < bytes; ++i)
      set_slot(index + i, orig.value() + i * 2048, bytes - i * 2048, 0);
    std::vector<std::uint64_t> copy{dev(), bounce.value(), bytes, 1};
    if (kernel.style() != Style::v6_1) copy.push_back(tlb.value());
    call("swiotlb_bounce", copy);
    return bounce.value();
  });
}

void ProbeBench::release(PhysAddr bounce, std::uint64_t bytes, DmaDirection direction) {
  const bool back = direction != DmaDirection::to_device;
  const Body inside = [&] {
    std::vector<std::uint64_t> copy{dev(), bounce.value(), bytes, 2};
    if (kernel.style() != Style::v6_1) copy.push_back(tlb.value());
    if (back) call("swiotlb_bounce", copy);
    return std::uint64_t{0};
  };
  std::vector<std::uint64_t> arguments{dev(), bounce.value(), bytes, static_cast<std::uint64_t>(direction),
                                       0};
  if (kernel.style() == Style::v6_1) return tail_call("swiotlb_tbl_unmap_single", arguments, inside);
  arguments.push_back(tlb.value());
  call("__swiotlb_tbl_unmap_single", arguments, inside);
}

}  // namespace cbit::test
