#include "launch/libvirt_devices.hpp"

#include <map>
#include <pugixml.hpp>

#include "base/format.hpp"

namespace cbit::launch {
namespace {

using pugi::xml_node;
using Properties = std::vector<QemuProperty>;

std::string_view attribute(const xml_node& node, const char* name) { return node.attribute(name).value(); }

// "virtio-transitional" asks for the same device with another suffix.
std::string suffix_of(std::string_view model) {
  if (model.ends_with("-non-transitional")) return "-non-transitional";
  return model.ends_with("-transitional") ? "-transitional" : "";
}

// What <driver iommu=...> says of any virtio device.
QemuOption virtio(const xml_node& node, std::string_view driver, std::string_view model) {
  QemuOption option{"device", {{"driver", fmt::format("{}{}", driver, suffix_of(model))}}, {}};
  if (const auto iommu = attribute(node.child("driver"), "iommu"); !iommu.empty())
    option.properties.push_back({"iommu_platform", std::string{iommu}});
  return option;
}

QemuOption plain(std::string_view driver) { return {"device", {{"driver", std::string{driver}}}, {}}; }

using Options = std::vector<QemuOption>;

Options disk(const xml_node& node) {
  if (attribute(node, "type") == "vhostuser") return {virtio(node, "vhost-user-blk-pci", "")};
  const std::string_view bus = attribute(node.child("target"), "bus");
  if (bus == "virtio") return {virtio(node, "virtio-blk-pci", attribute(node, "model"))};
  if (bus == "nvme") return {plain("nvme")};
  return {};
}

Options interface(const xml_node& node) {
  const std::string_view type = attribute(node, "type"), model = attribute(node.child("model"), "type");
  if (type == "hostdev") return {plain("vfio-pci")};
  Options options;
  if (type == "vhostuser") options.push_back({"netdev", {{"type", "vhost-user"}}, {}});
  if (type == "vdpa") options.push_back({"netdev", {{"type", "vhost-vdpa"}}, {}});
  if (attribute(node.child("driver"), "name") == "vhost")
    options.push_back({"netdev", {{"type", "tap"}, {"vhost", "on"}}, {}});
  QemuOption card = model.starts_with("virtio") ? virtio(node, "virtio-net-pci", model)
                                                : plain(model.empty() ? "rtl8139" : model);
  const xml_node rom = node.child("rom");
  if (attribute(rom, "enabled") == "no" || attribute(rom, "bar") == "off")
    card.properties.push_back({"romfile", ""});
  options.push_back(std::move(card));
  return options;
}

Options controller(const xml_node& node) {
  const std::string_view type = attribute(node, "type"), model = attribute(node, "model");
  if (type == "scsi" && model.starts_with("virtio")) return {virtio(node, "virtio-scsi-pci", model)};
  if (type == "virtio-serial") return {virtio(node, "virtio-serial-pci", model)};
  if (type == "usb" && model == "qemu-xhci") return {plain("qemu-xhci")};
  if (type == "sata") return {plain("ich9-ahci")};
  return {};
}

Options balloon(const xml_node& node) {
  const std::string_view model = attribute(node, "model");
  return model.starts_with("virtio") ? Options{virtio(node, "virtio-balloon-pci", model)} : Options{};
}

Options random_source(const xml_node& node) {
  return {virtio(node, "virtio-rng-pci", attribute(node, "model"))};
}

Options filesystem(const xml_node& node) {
  const std::string_view model = attribute(node, "model");
  const bool fs = attribute(node.child("driver"), "type") == "virtiofs";
  return {virtio(node, fs ? "vhost-user-fs-pci" : "virtio-9p-pci", fs ? "" : model)};
}

Options socket(const xml_node& node) {
  return {virtio(node, "vhost-vsock-pci",
                 attribute(node, "model") == "virtio-non-transitional" ? "virtio-non-transitional" : "")};
}

Options input(const xml_node& node) {
  if (attribute(node, "bus") != "virtio") return {};
  return {virtio(node, fmt::format("virtio-{}-pci", attribute(node, "type")), "")};
}

Options video(const xml_node& node) {
  if (attribute(node.child("model"), "type") != "virtio") return {};
  return {virtio(node, "virtio-vga", "")};
}

Options host_device(const xml_node& node) {
  const std::string_view type = attribute(node, "type");
  if (type != "pci" && type != "mdev") return {};
  // What the domain says of all its devices (libvirt 12.2), a device may say otherwise.
  const std::string_view own = attribute(node.child("driver"), "iommufd");
  const std::string_view all = attribute(node.root().child("domain").child("iommufd"), "enabled");
  if ((own.empty() ? all : own) != "yes") return {plain("vfio-pci")};
  QemuOption device = plain("vfio-pci");
  device.properties.push_back({"iommufd", "iommufd0"});
  return {{"object", {{"qom-type", "iommufd"}, {"id", "iommufd0"}}, {}}, std::move(device)};
}

Options tpm(const xml_node& node) {
  return {{"tpmdev", {{"type", std::string{attribute(node.child("backend"), "type")}}}, {}}};
}

Options memory(const xml_node& node) {
  const std::string_view model = attribute(node, "model");
  if (model == "dimm") return {plain("pc-dimm")};
  if (model == "nvdimm") return {plain("nvdimm")};
  return model.starts_with("virtio-") ? Options{virtio(node, fmt::format("{}-pci", model), "")} : Options{};
}

Options shared_memory(const xml_node& node) {
  const std::string_view model = attribute(node.child("model"), "type");
  return {plain(model == "ivshmem-doorbell" ? "ivshmem-doorbell" : "ivshmem-plain")};
}

Options iommu(const xml_node& node) {
  const std::string_view model = attribute(node, "model");
  return {plain(model == "virtio" ? "virtio-iommu-pci" : model == "amd" ? "amd-iommu" : "intel-iommu")};
}

struct Kind {
  std::string_view element;
  Options (*options)(const xml_node&);
};
constexpr Kind kinds[] = {
    {"disk", disk},
    {"interface", interface},
    {"controller", controller},
    {"memballoon", balloon},
    {"rng", random_source},
    {"filesystem", filesystem},
    {"vsock", socket},
    {"input", input},
    {"video", video},
    {"hostdev", host_device},
    {"memory", memory},
    {"shmem", shared_memory},
    {"iommu", iommu},
    {"tpm", tpm},
};

}  // namespace

std::vector<LibvirtDevice> libvirt_devices(const xml_node& devices) {
  std::vector<LibvirtDevice> result;
  std::map<std::string_view, unsigned> seen;
  for (const xml_node node : devices.children()) {
    const unsigned number = ++seen[node.name()];
    for (const Kind& kind : kinds)
      if (kind.element == node.name())
        for (QemuOption& option : kind.options(node))
          result.push_back({fmt::format("devices/{}[{}]", kind.element, number), std::move(option)});
  }
  // libvirt gives a domain a balloon unless it says <memballoon model='none'/>.
  if (!devices.child("memballoon"))
    result.push_back({"devices/memballoon (libvirt adds it)", plain("virtio-balloon-pci")});
  return result;
}

}  // namespace cbit::launch
