#include "explain/maps/user_buffer.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace cbit::explain {
namespace {

tl::unexpected<Error> no_room() {
  return usage_error("the machine has no room for the buffer", "use more --memory or less --size");
}

}  // namespace

OrError<void> UserBuffer::allocate(const Bytes& contents) {
  const std::uint64_t bytes = align_up(bench_.options.offset + bench_.options.size, page_size);
  auto process = kernel::Process::create(bench_.bed.kernel(), {.cap_ipc_lock = true});
  if (!process) return no_room();
  process_ = std::move(*process);
  const auto area = process_->mmap(bytes);
  if (!area) return no_room();
  if (bench_.options.key_id) CBIT_TRY(encrypt(*area, bytes));
  at_ = *area + bench_.options.offset;
  if (!write(contents)) return no_room();
  return {};
}

// A key takes the lowest KeyID that is free, so those below belong to others.
OrError<void> UserBuffer::encrypt(VirtAddr area, std::uint64_t bytes) {
  auto mktme = kernel::Mktme::create(bench_.bed.kernel());
  if (!mktme) return no_room();
  mktme_ = std::move(*mktme);
  kernel::KeySerial key = 0;
  while (mktme_->key_id(key) != *bench_.options.key_id) {
    const auto added =
        mktme_->add_key(fmt::format("key {}", mktme_->key_id(key) + 1), "type=cpu algorithm=aes-xts-128");
    if (!added) return no_room();
    key = *added;
  }
  if (!mktme_->encrypt_mprotect(*process_, area, bytes, kernel::prot_read_write, key)) return no_room();
  return {};
}

bool UserBuffer::write(const Bytes& contents) { return process_->write(at_, contents).has_value(); }

Bytes UserBuffer::read() {
  Bytes bytes(bench_.options.size);
  if (!process_->read(at_, bytes)) bytes.clear();
  return bytes;
}

std::vector<mem::PhysRange> UserBuffer::memory() const {
  std::vector<mem::PhysRange> places;
  for (std::uint64_t done = 0; done < bench_.options.size;) {
    const VirtAddr at = at_ + done;
    const std::uint64_t n = std::min(page_size - at.page_offset(), bench_.options.size - done);
    const auto page = process_->page_at(at);
    if (!page) return {};
    places.push_back({*page + at.page_offset(), n});
    done += n;
  }
  return places;
}

}  // namespace cbit::explain
