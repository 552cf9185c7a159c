#include <algorithm>
#include <stdexcept>

#include "api/bed.hpp"
#include "cbit/mktme.hpp"
#include "kernel/mktme/mktme.hpp"
#include "testbed/testbed.hpp"

namespace cbit {
namespace {

int status(const Result<void, int>& done) { return done ? 0 : -done.error(); }
std::int64_t address(const Result<VirtAddr, int>& at) {
  return at ? static_cast<std::int64_t>(at->value()) : -at.error();
}
VirtAddr at_address(std::int64_t at) { return VirtAddr{static_cast<std::uint64_t>(at)}; }

testbed::TestbedConfig mktme_bed_config(const MktmeProcess::Options& options) {
  testbed::TestbedConfig config = api::bed_config(options);
  config.machine.platform = Platform::mktme;
  config.machine.memory_bytes = 64ull << 20;
  return config;
}

}  // namespace

struct MktmeProcess::Impl {
  explicit Impl(const Options& options)
      : bed{api::make_bed(mktme_bed_config(options))},
        mktme{kernel::Mktme::create(bed->kernel(), {.has_system_call = options.has_system_call,
                                                    .has_device = options.has_device})
                  .value()},
        process{kernel::Process::create(bed->kernel()).value()} {}

  std::unique_ptr<testbed::Testbed> bed;
  std::unique_ptr<kernel::Mktme> mktme;
  std::unique_ptr<kernel::Process> process;
};

MktmeProcess::MktmeProcess() : MktmeProcess{Options{}} {}
MktmeProcess::MktmeProcess(const Options& options) : impl_{std::make_unique<Impl>(options)} {}
MktmeProcess::~MktmeProcess() = default;
MktmeProcess::MktmeProcess(MktmeProcess&&) noexcept = default;
MktmeProcess& MktmeProcess::operator=(MktmeProcess&&) noexcept = default;

int MktmeProcess::add_key(std::string_view description, std::string_view payload) {
  const auto serial = impl_->mktme->add_key(description, payload);
  return serial ? *serial : -serial.error();
}

std::int64_t MktmeProcess::mmap(std::uint64_t bytes) { return address(impl_->process->mmap(bytes)); }

int MktmeProcess::encrypt_mprotect(std::int64_t at, std::uint64_t bytes, int key) {
  return status(
      impl_->mktme->encrypt_mprotect(*impl_->process, at_address(at), bytes, kernel::prot_read_write, key));
}

std::int64_t MktmeProcess::mmap_device(std::uint64_t bytes, int key) {
  auto device = impl_->mktme->open_device(key, align_up(bytes, page_size) / page_size);
  if (!device) return -device.error();
  return address(impl_->process->mmap_backed(*std::move(device), 0, bytes));
}

bool MktmeProcess::write(std::int64_t to, std::span<const std::byte> from) {
  return impl_->process->write(at_address(to), from).has_value();
}

bool MktmeProcess::read(std::int64_t from, std::span<std::byte> to) {
  return impl_->process->read(at_address(from), to).has_value();
}

std::vector<std::byte> MktmeProcess::dram(std::int64_t at, std::size_t bytes) const {
  std::vector<std::byte> seen;
  while (seen.size() < bytes) {
    const VirtAddr from = at_address(at) + seen.size();
    const auto page = impl_->process->page_at(from);
    if (!page) return {};
    std::vector<std::byte> part(std::min<std::size_t>(bytes - seen.size(), page_size - from.page_offset()));
    if (!impl_->bed->memory().probe(*page + from.page_offset(), part)) return {};
    seen.insert(seen.end(), part.begin(), part.end());
  }
  return seen;
}

}  // namespace cbit
