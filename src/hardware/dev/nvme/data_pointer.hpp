// Where a command's data lie: PRP entries or an SGL as pieces of memory. NVM Express Base Specification 1.4,
// 4.3 and 4.4.
//
// Lists are read from the guest's memory, so everything in them is hostile: what is read of them is bounded
// by the transfer (PRP) or by sgl_descriptors_max. Threading: as DmaPort.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.hpp"
#include "bus/dma_port.hpp"
#include "spec/nvme.hpp"

namespace cbit::dev {

// An error is the status that the command ends with.
template <class T>
using OrNvmeStatus = Result<T, spec::nvme::Status>;

[[nodiscard]] inline tl::unexpected<spec::nvme::Status> refused(spec::nvme::Status status) {
  return tl::unexpected{status};
}

struct NvmePiece {
  DmaAddr at;
  std::uint64_t bytes = 0;
  bool in_bucket = false;  // of data for the host: it wants them nowhere
};

// Of one command, more than a driver has use for.
inline constexpr std::uint32_t sgl_descriptors_max = 16384;

// The pieces are `bytes` long together; neighbours are one piece. `page_bytes`: what CC.MPS says.
// Errors: prp_invalid_offset; data_transfer_error where a list cannot be read.
[[nodiscard]] OrNvmeStatus<std::vector<NvmePiece>> pieces_of_prp(bus::DmaPort& port,
                                                                 std::span<const std::uint64_t, 2> prp,
                                                                 std::uint64_t bytes,
                                                                 std::uint64_t page_bytes);
// Errors: sgl_invalid_segment, sgl_invalid_count, sgl_invalid_length where it is not `bytes` long,
// sgl_invalid_type, also for a bit bucket where the host gives data; data_transfer_error.
[[nodiscard]] OrNvmeStatus<std::vector<NvmePiece>> pieces_of_sgl(bus::DmaPort& port,
                                                                 const spec::nvme::SglDescriptor& first,
                                                                 std::uint64_t bytes, bool to_host);

// Moves as many bytes as there are, from the pieces' offset on, which they reach.
// Errors: data_transfer_error.
OrNvmeStatus<void> move_to_host(bus::DmaPort& port, std::span<const NvmePiece> pieces, std::uint64_t offset,
                                ConstByteSpan from);
OrNvmeStatus<void> move_from_host(bus::DmaPort& port, std::span<const NvmePiece> pieces, std::uint64_t offset,
                                  ByteSpan to);

}  // namespace cbit::dev
