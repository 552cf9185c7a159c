// The kinds of steps, as a table. To add one: a row in one of the tables below, and its function, which reads
// the step's keys and returns what is to be done at run time.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "lab/experiment/names.hpp"
#include "lab/experiment/run.hpp"

namespace cbit::lab {

struct StepKind {
  std::string_view name;                   // value of the key `do`
  std::span<const std::string_view> keys;  // besides the common ones
  OrError<Action> (*parse)(StepParser&);
};

inline constexpr std::string_view common_step_keys[] = {"do", "note", "fails"};

[[nodiscard]] std::span<const StepKind> memory_steps();  // buffers, CPU accesses, attributes
[[nodiscard]] std::span<const StepKind> dma_steps();     // the DMA API
[[nodiscard]] std::span<const StepKind> iova_steps();    // its two-step part
[[nodiscard]] std::span<const StepKind> device_steps();  // what devices and IOMMU do
[[nodiscard]] std::span<const StepKind> host_steps();    // what the host does
[[nodiscard]] std::span<const StepKind> virtio_steps();
[[nodiscard]] std::span<const StepKind> virtio_net_steps();
[[nodiscard]] std::span<const StepKind> viommu_steps();
[[nodiscard]] std::span<const StepKind> process_steps();  // a process' memory
[[nodiscard]] std::span<const StepKind> mktme_steps();
[[nodiscard]] std::span<const StepKind> rdma_steps();  // memory regions
[[nodiscard]] std::span<const StepKind> gpu_steps();   // buffer objects of graphics
[[nodiscard]] std::span<const StepKind> sev_steps();   // guests of an encrypting host
[[nodiscard]] std::span<const StepKind> expect_steps();

// The keys `buffer`, `offset` and `length` of a range that has one physical address.
[[nodiscard]] OrError<Part> contiguous_part(const StepParser& step);

// All of them, in the order of the documentation.
[[nodiscard]] const std::vector<StepKind>& step_kinds();

// The keys of the tables that are no steps.
inline constexpr std::string_view top_keys[] = {"title",  "source", "description", "machine",
                                                "device", "step",   "causes"};
inline constexpr std::string_view machine_keys[] = {
    "platform",      "iommu-kind",        "virtual-machine",
    "cbit",          "key-id-bits",       "memory",
    "cpus",          "kernel-version",    "iommu",
    "iommu-default", "swiotlb",           "swiotlb-dynamic",
    "coherent-pool", "direct-remap",      "cache",
    "cipher",        "paging-levels",     "seed",
    "sev-asids",     "sev-min-asid",      "rmp",
    "iommu-strict",  "migration-control", "dma-debug-all-errors"};

}  // namespace cbit::lab
