// The virtio-iommu driver: drivers/iommu/virtio-iommu.c. Probed before the devices behind the IOMMU, it
// becomes the IOMMU of those that are added afterwards.
//
// Each request is one notification and is waited for. A domain's mappings are kept here as well, so
// iova_to_phys asks nobody. An identity domain is an ATTACH with the bypass flag where BYPASS_CONFIG was
// negotiated, else 1:1 mappings of everything but the endpoint's reserved regions.
//
// Of the feature bits Linux negotiates all but BYPASS (3). Results, as the driver has them:
//   -ENODEV   probe: no VERSION_1 or no MAP_UNMAP; what VirtioBinding::negotiate() says
//   -EINVAL   probe: the device has no page sizes
//   the errno of a request's status: UNSUPP -ENOSYS, INVAL -EINVAL, RANGE -ERANGE, NOENT -ENOENT, FAULT
//   -EFAULT,
//   NOMEM -ENOMEM, others -EIO, which is also what a device that does not answer gives. Threading: one
//   thread.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "kernel/dma/iommu_ops.hpp"
#include "kernel/virtio/vring.hpp"
#include "spec/virtio_iommu.hpp"

namespace cbit::kernel {

class VirtioIommuDriver final : public IommuOps {
 public:
  // Everything outlives the driver, and the driver its devices' mappings. `parent` is the function of the
  // virtio-iommu itself.
  static Result<std::unique_ptr<VirtioIommuDriver>, Errno> probe(Kernel& kernel, dev::VirtioDevice& hardware,
                                                                 Device& parent,
                                                                 const VirtioDriverOptions& options = {});
  ~VirtioIommuDriver() override;
  VirtioIommuDriver(const VirtioIommuDriver&) = delete;
  VirtioIommuDriver& operator=(const VirtioIommuDriver&) = delete;

  Result<std::unique_ptr<IommuMappings>, Errno> attach(const Device& dev, bool identity) override;
  void release(const Device& dev) override;
  [[nodiscard]] std::vector<iommu::ViommuRange> reserved(const Device& dev) const override;

  // iommu_map and iommu_unmap in a domain of one's own choice, for experiments: the status comes back as
  // errno.
  Result<void, Errno> send_map(std::uint32_t domain, iommu::ViommuRange range, PhysAddr phys,
                               std::uint32_t flags);
  Result<void, Errno> send_unmap(std::uint32_t domain, iommu::ViommuRange range);
  Result<void, Errno> send_attach(std::uint32_t domain, std::uint32_t endpoint, std::uint32_t flags);
  Result<void, Errno> send_detach(std::uint32_t domain, std::uint32_t endpoint);

  // The domain that the device was given; 0 for a device that was not attached.
  [[nodiscard]] std::uint32_t domain_of(const Device& dev) const;
  [[nodiscard]] const VirtioBinding& binding() const { return binding_; }

 private:
  class Domain;
  struct Endpoint {
    std::uint32_t domain = 0;
    std::vector<spec::VirtioIommuResvMem> reserved;
  };

  VirtioIommuDriver(Kernel& kernel, dev::VirtioDevice& hardware, Device& parent,
                    const VirtioDriverOptions& options);
  Result<void, Errno> start(paging::Mmu& cpu);
  Result<void, Errno> fill_event_queue(paging::Mmu& cpu);
  Result<void, Errno> probe_endpoint(std::uint32_t endpoint, std::vector<spec::VirtioIommuResvMem>& reserved);
  Result<void, Errno> map_identity(const Endpoint& endpoint);
  template <class Request>
  Result<void, Errno> send(const Request& request);
  // viommu_send_req_sync. `reply` is the device-written part before the tail.
  Result<void, Errno> send_sync(ConstByteSpan request, ByteSpan reply);
  void event_interrupt();
  void handle_fault(const spec::VirtioIommuFaultReport& fault);
  [[nodiscard]] paging::Mmu& cpu() const { return binding_.kernel().cpu(0); }

  VirtioBinding binding_;
  std::unique_ptr<Vring> requests_, events_;
  VirtAddr request_page_;  // 0: none. The request, and at reply_offset what the device answers
  VirtAddr event_pages_;
  std::uint64_t event_page_count_ = 0;
  iommu::ViommuRange input_{DmaAddr{0}, DmaAddr{~std::uint64_t{0}}};
  std::uint64_t granule_ = page_size;
  std::uint32_t probe_size_ = 0;
  std::uint32_t next_domain_ = 0;
  std::uint32_t last_domain_ = ~std::uint32_t{0};
  bool live_ = false;
  std::map<RequesterId, Endpoint> endpoints_;
  SiteId site_;
};

}  // namespace cbit::kernel
