// A hostile guest in front of a virtio-iommu: the input is what it writes into the request queue, while
// devices perform DMA.
//
// Held: nothing crashes; every request that has a head and room for a tail is answered with a status that
// exists; and what devices reach is what a simple account of the answers says: pages whose MAP was answered
// OK, and that no UNMAP, DETACH or new ATTACH has taken away.
#include <cstdlib>
#include <map>
#include <memory>

#include "dev/virtio/virtio_iommu.hpp"
#include "fuzz_input.hpp"
#include "mem/memory.hpp"

namespace cbit {
namespace {

constexpr std::uint64_t ram_bytes = 256 * 1024;
constexpr std::uint64_t request_at = 0x8000;
constexpr std::uint64_t reply_at = 0x9000;
constexpr unsigned steps_max = 200;
constexpr std::uint64_t pages = 16;   // of I/O virtual addresses that the account watches
constexpr RequesterId endpoints = 4;  // 1 .. 4 exist
constexpr std::uint32_t domains = 4;

void require(bool holds) {
  if (!holds) std::abort();
}

struct Board {
  Board() {
    mem::MemoryConfig config;
    config.ram = {{PhysAddr{0}, ram_bytes}};
    memory = std::move(*mem::Memory::create(config, keys, tracer));
    bus = std::make_unique<bus::SystemBus>(*memory, tracer, mem::KeyView{});
    for (RequesterId id = 1; id <= endpoints; ++id) bus->add_requester(id);
  }
  Clock clock;
  Tracer tracer{clock};
  mem::KeyTable keys{1, crypt::CipherMode::xex};
  std::unique_ptr<mem::Memory> memory;
  std::unique_ptr<bus::SystemBus> bus;
};

// Mappings of one page each.
struct Account {
  struct Domain {
    bool bypass = false;
    std::map<std::uint64_t, std::uint64_t> mappings;  // page -> physical page
  };
  std::map<std::uint32_t, Domain> domains;
  std::map<std::uint32_t, std::uint32_t> attached;

  void leave(std::uint32_t endpoint) {
    const auto found = attached.find(endpoint);
    if (found == attached.end()) return;
    const std::uint32_t domain = found->second;
    attached.erase(found);
    for (const auto& [other, other_domain] : attached)
      if (other_domain == domain) return;
    domains.erase(domain);
  }
};

class HostileGuest {
 public:
  HostileGuest(Board& board, FuzzInput& input) : board_{&board}, input_{&input} {
    require(board.memory->fill(PhysAddr{0}, ram_bytes, std::byte{0}, {}).has_value());
    dev::VirtioIommuOptions options;
    options.virtio.event_idx = false;
    options.boot_bypass = false;
    options.domains.first_domain = 1;
    options.domains.last_domain = domains;
    options.queue_size = 8;
    device_ =
        std::move(*dev::VirtioIommu::create(*board.bus, {.device = "viommu", .requester = 99}, options));
    start();
  }

  void run() {
    for (unsigned step = 0; step < steps_max && !input_->empty(); ++step) {
      switch (input_->below(8)) {
        case 0: garbage(); break;
        case 1: attach(); break;
        case 2: detach(); break;
        case 3: unmap(); break;
        case 4:
          device_->write_config(input_->below(48), Bytes(input_->below(8), std::byte{input_->byte()}));
          break;
        default: map(); break;
      }
      if (device_->broken()) {
        start();
        account_ = {};
      }
      if (!device_->domains().bypass()) check();
    }
  }

 private:
  template <class T>
  void put(std::uint64_t at, const T& value) {
    require(board_->memory->write(PhysAddr{at}, bytes_of(value), {}).has_value());
  }
  template <class T>
  T get(std::uint64_t at) {
    std::array<std::byte, sizeof(T)> raw{};
    require(board_->memory->read(PhysAddr{at}, raw, {}).has_value());
    return load<T>(raw);
  }

  void start() {
    using namespace spec::virtio_status;
    device_->set_status(0);
    device_->set_driver_features(device_->device_features());
    device_->set_status(acknowledge | driver | features_ok);
    const spec::VringAreas areas{8};
    put(areas.avail_offset(), std::uint32_t{0});
    put(areas.used_offset(64), std::uint32_t{0});
    device_->enable_queue(0, {8, DmaAddr{0}, DmaAddr{areas.avail_offset()}, DmaAddr{areas.used_offset(64)}});
    device_->set_status(acknowledge | driver | features_ok | driver_ok);
    next_ = 0;
  }

  // The status of the answer; nullopt: the device has stopped.
  std::optional<std::uint8_t> send(ConstByteSpan request, std::uint32_t room) {
    require(board_->memory->write(PhysAddr{request_at}, request, {}).has_value());
    put(reply_at + room, std::uint32_t{0xffff'ffff});
    const auto bytes = static_cast<std::uint32_t>(request.size());
    put(0, spec::VringDesc{request_at, bytes, spec::vring_flag::next, 1});
    put(16, spec::VringDesc{reply_at, room + 4, spec::vring_flag::write, 0});
    const spec::VringAreas areas{8};
    put(areas.avail_offset() + spec::VringAreas::avail_ring(next_ % 8), std::uint16_t{0});
    put(areas.avail_offset() + spec::VringAreas::idx, ++next_);
    device_->notify(0);
    if (device_->broken()) return std::nullopt;
    require(get<std::uint16_t>(areas.used_offset(64) + spec::VringAreas::idx) == next_);
    const auto status = get<std::uint8_t>(reply_at + room);
    require(status <= static_cast<std::uint8_t>(iommu::ViommuStatus::nomem));
    return status;
  }
  template <class Request>
  bool accepted(const Request& request) {
    return send(bytes_of(request), 0) == std::uint8_t{0};
  }

  // Bytes without meaning, of any length; those that happen to be right are forgotten with the account.
  void garbage() {
    Bytes bytes(1u + input_->below(80));
    for (std::byte& b : bytes) b = std::byte{input_->byte()};
    (void)send(bytes, input_->flag() ? dev::VirtioIommu::probe_bytes : input_->below(8));
    start();
    account_ = {};
  }
  void attach() {
    spec::VirtioIommuAttach request;
    request.domain = input_->below(domains + 2);
    request.endpoint = input_->below(endpoints + 2);
    request.flags = input_->below(4) == 0 ? 1 : 0;
    const bool ok = accepted(request);
    const bool exists = request.endpoint >= 1 && request.endpoint <= endpoints;
    const bool in_range = request.domain >= 1 && request.domain <= domains;
    if (!exists || !in_range) return require(!ok);
    account_.leave(request.endpoint);
    const auto [place, is_new] =
        account_.domains.try_emplace(request.domain, Account::Domain{request.flags != 0, {}});
    const bool fits = place->second.bypass == (request.flags != 0);
    require(ok == fits);
    if (fits) account_.attached[request.endpoint] = request.domain;
  }
  void detach() {
    spec::VirtioIommuDetach request;
    request.domain = 1u + input_->below(domains);
    request.endpoint = 1u + input_->below(endpoints);
    const auto found = account_.attached.find(request.endpoint);
    const bool right = found != account_.attached.end() && found->second == request.domain;
    require(accepted(request) == right);
    if (right) account_.leave(request.endpoint);
  }
  void map() {
    spec::VirtioIommuMap request;
    request.domain = 1u + input_->below(domains);
    const std::uint64_t page = input_->below(pages);
    request.virt_start = page * page_size;
    request.virt_end = request.virt_start + page_size - 1;
    request.phys_start = page_size * input_->below(32);
    request.flags = iommu::viommu_flag::map_read;
    const auto domain = account_.domains.find(request.domain);
    const bool free =
        domain != account_.domains.end() && !domain->second.bypass && !domain->second.mappings.contains(page);
    require(accepted(request) == free);
    if (free) domain->second.mappings[page] = request.phys_start;
  }
  void unmap() {
    spec::VirtioIommuUnmap request;
    request.domain = 1u + input_->below(domains);
    const std::uint64_t first = input_->below(pages);
    const std::uint64_t last = first + input_->below(4);
    request.virt_start = first * page_size;
    request.virt_end = (last + 1) * page_size - 1;
    const auto domain = account_.domains.find(request.domain);
    const bool right = domain != account_.domains.end() && !domain->second.bypass;
    require(accepted(request) == right);
    if (right)
      std::erase_if(domain->second.mappings,
                    [&](const auto& m) { return first <= m.first && m.first <= last; });
  }

  void check() const {
    for (RequesterId endpoint = 1; endpoint <= endpoints; ++endpoint) {
      const auto attached = account_.attached.find(endpoint);
      for (std::uint64_t page = 0; page < pages; ++page) {
        const auto found = device_->domains().peek(endpoint, DmaAddr{page * page_size}, false);
        if (attached == account_.attached.end()) {
          require(!found);
          continue;
        }
        const Account::Domain& domain = account_.domains.at(attached->second);
        const auto mapping = domain.mappings.find(page);
        require(found.has_value() == (domain.bypass || mapping != domain.mappings.end()));
        if (found) require(found->phys.value() == (domain.bypass ? page * page_size : mapping->second));
      }
    }
  }

  Board* board_;
  FuzzInput* input_;
  std::unique_ptr<dev::VirtioIommu> device_;
  Account account_;
  std::uint16_t next_ = 0;
};

}  // namespace
}  // namespace cbit

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static cbit::Board board;
  cbit::FuzzInput input{data, size};
  cbit::HostileGuest{board, input}.run();
  return 0;
}
