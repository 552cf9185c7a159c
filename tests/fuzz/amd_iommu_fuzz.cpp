// A hostile guest at an AMD IOMMU: the input is what it writes to registers and to the memory that they point
// to, and which accesses and interrupts its devices make.
//
// Held: nothing crashes; work per access is bounded; a translation leads to where the table in memory said at
// its fetch, within one page; what the log has is an event of a code that there is.
#include <cstdlib>

#include "fuzz_input.hpp"
#include "iommu/amd/amd_iommu.hpp"
#include "mem/memory.hpp"

namespace cbit::iommu {
namespace {

constexpr unsigned steps_max = 400;
constexpr std::uint64_t ram_bytes = 1 << 20;
constexpr unsigned c_bit = 51;

void require(bool holds) {
  if (!holds) std::abort();
}

class Guest {
 public:
  explicit Guest(FuzzInput& input) : input_{&input} {
    keys_.set_derived(mem::host_key, "sme");
    memory_ = std::move(*mem::Memory::create({.ram = {{PhysAddr{0}, ram_bytes}}}, keys_, tracer_));
    mem::KeyView view;
    if (input.flag()) {
      view.layout = mem::KeyLayout::amd(c_bit);
      view.encrypted_key = mem::host_key;
    }
    iommu_.emplace(AmdIommu::Config{view, 0x10}, *memory_, tracer_, [](const AmdIommuSignal&) {});
  }

  void step() {
    switch (input_->below(8)) {
      case 0:
      case 1: return write_register();
      case 2: return read_register();
      case 3:
      case 4: return write_memory();
      case 5:
      case 6: return access();
      default: return interrupt();
    }
  }

 private:
  // Registers lie at the two ends of the region; values are often what makes sense.
  std::uint64_t offset(std::uint64_t bytes) {
    const std::uint64_t at = input_->flag() ? input_->below(64) : 0x2000 + input_->below(64);
    return input_->flag() ? at : std::min<std::uint64_t>(input_->take<std::uint16_t>(), 0x4000 - bytes);
  }
  std::uint64_t value() {
    const std::uint64_t raw = input_->take<std::uint64_t>();
    return input_->flag() ? raw : raw & (0xff00'0000'0000'0fff | (ram_bytes - 1) | 1ull << c_bit);
  }
  void write_register() {
    const std::uint64_t what = value(), bytes = input_->flag() ? 8 : 1 + input_->below(8);
    iommu_->write(offset(bytes), bytes_of(what).first(bytes));
    if (input_->flag()) iommu_->write(0x18, bytes_of(std::uint64_t{0x5'1017}));  // all that runs, runs
  }
  void read_register() {
    std::array<std::byte, 8> raw{};
    iommu_->read(offset(raw.size()), raw);
  }
  void write_memory() {
    const std::uint64_t what = value();
    const PhysAddr at{input_->take<std::uint32_t>() % (ram_bytes - 8) & ~7ull};
    require(memory_->write(at, bytes_of(what), {{}, input_->flag() ? mem::host_key : no_key, 0}).has_value());
  }
  void access() {
    const auto requester = input_->take<std::uint8_t>();
    const DmaAddr at{input_->flag() ? input_->take<std::uint64_t>() : input_->take<std::uint16_t>()};
    const bool write = input_->flag();
    const auto found = iommu_->translate(requester, at, write);
    static_cast<void>(iommu_->peek(requester, at, write));
    if (!found || !found->translated) return;
    require(found->bytes != 0 && found->bytes <= page_size);
    require(found->phys.page_offset() == at.page_offset());
  }
  void interrupt() {
    const InterruptRequest request{{{0xfee0'0000 | input_->take<std::uint16_t>()}},
                                   {{input_->take<std::uint32_t>()}}};
    static_cast<void>(iommu_->remap(input_->take<std::uint8_t>(), request));
  }

  FuzzInput* input_;
  Clock clock_;
  Tracer tracer_{clock_};
  mem::KeyTable keys_{1, crypt::CipherMode::xex};
  std::unique_ptr<mem::Memory> memory_;
  std::optional<AmdIommu> iommu_;
};

}  // namespace
}  // namespace cbit::iommu

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  cbit::FuzzInput input{data, size};
  cbit::iommu::Guest guest{input};
  for (unsigned step = 0; step < cbit::iommu::steps_max && !input.empty(); ++step) guest.step();
  return 0;
}
