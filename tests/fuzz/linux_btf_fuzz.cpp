// Types of a kernel and of a module that somebody has damaged: every question ends, and no answer is absurd.
#include <cstdlib>

#include "fuzz_input.hpp"
#include "linux/fields.hpp"
#include "patched_file.hpp"
#include "support/linux/btf_writer.hpp"

namespace {

using namespace cbit;

void require(bool holds) {
  if (!holds) std::abort();
}

test::BtfWriter valid_types() {
  test::BtfWriter writer;
  const auto u64 = writer.integer("u64", 8), flag = writer.integer("bool", 1, 4);
  const auto rows = writer.array(u64, 7);
  const auto inner = writer.structure("kobject", 16, {{"name", u64, 0}, {"rows", rows, 64}});
  const auto unnamed = writer.union_type("", 8, {{"mask", u64, 0}, {"low", flag, 0}});
  writer.structure("device", 64, {{"kobj", inner, 0}, {"", unnamed, 128}, {"bit", flag, 192, 1}});
  writer.enumeration("struct_device_flags", "DEV_FLAG_DMA_IOMMU");
  writer.alias("device_t", writer.alias("", writer.next_id() - 1, 10));
  writer.function("map", u64, {{"dev", writer.pointer(inner)}, {"size", u64}});
  return writer;
}

void ask(const linux::Btf& btf) {
  for (const char* const path : {"kobj.name", "kobj.rows", "mask", "low", "bit", "kobj.nothing"})
    if (const auto field = btf.field("device", path)) require(!field->bit_field || field->bits > 0);
  (void)btf.field("device_t", "kobj.name");
  (void)btf.enumerator("struct_device_flags", "DEV_FLAG_DMA_IOMMU");
  if (const auto function = btf.function("map")) {
    (void)function->position("size");
    (void)btf.scalar(function->returns);
  }
  for (linux::BtfId id = 0; id < btf.end() + 2; ++id) (void)btf.size_of(id);
  const linux::Fields fields{btf};
  (void)fields.has(linux::Field::device_name);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static test::BtfWriter types = valid_types();
  static const Bytes section = types.section();
  FuzzInput input{data, size};
  const bool whole_kernel = input.flag();
  const Bytes damaged = patched(section, input);
  const auto kernel = linux::Btf::open(whole_kernel ? section : damaged, "fuzz");
  if (!kernel) return 0;
  ask(*kernel);
  if (const auto module = linux::Btf::open_module(damaged, *kernel, "fuzz")) ask(*module);
  return 0;
}
