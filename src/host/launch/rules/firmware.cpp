// What the guest boots from: flash, -bios, an IGVM file; and what their images say of themselves.
#include "launch/firmware.hpp"

#include <algorithm>

#include "base/format.hpp"
#include "launch/igvm.hpp"
#include "launch/rules/case.hpp"
#include "launch/rules/rule_table.hpp"

namespace cbit::launch {
namespace {

std::string_view base_name(std::string_view path) { return path.substr(path.rfind('/') + 1); }

bool is_seabios(std::string_view file) {
  const std::string_view name = base_name(file);
  return name.starts_with("bios") || name.starts_with("seabios") || name.starts_with("qboot");
}

struct Flash {
  const QemuOption* option = nullptr;
  std::string file;  // empty: not known
  bool raw = true;   // else an image format such as qcow2
};

struct BootImages {
  Flash code, variables;
  const QemuOption* rom = nullptr;  // -bios
};

// -blockdev behind a pflash property: the file of the node, or of the node's node.
Flash flash_of_node(const Case& guest, const QemuOption* option, std::string_view node) {
  Flash flash{.option = option};
  for (int step = 0; step < 2; ++step)
    for (const QemuOption* const block : guest.all("blockdev")) {
      if (block->value("node-name") != node) continue;
      const auto driver = block->value("driver").value_or("raw");
      if (driver == "file") {
        flash.file = block->value("filename").value_or("");
        return flash;
      }
      flash.raw = flash.raw && driver == "raw";
      if (const auto file = block->value("file.filename")) {
        flash.file = *file;
        return flash;
      }
      node = block->value("file").value_or("");
      break;
    }
  return flash;
}

BootImages boot_images(const Case& guest) {
  BootImages found;
  found.rom = guest.last("bios");
  if (const QemuOption* const flash = guest.last("pflash")) found.code = {flash, flash->text, true};
  for (const QemuOption* const drive : guest.all("drive"))
    if (drive->value("if") == "pflash") {
      Flash& flash = drive->value("unit") == "1" ? found.variables : found.code;
      // Without unit= the next that is free.
      Flash& place = !drive->value("unit") && found.code.option != nullptr ? found.variables : flash;
      place = {drive, std::string{drive->value("file").value_or("")},
               drive->value("format").value_or("raw") == "raw"};
    }
  if (const auto node = guest.machine("pflash0"))
    found.code = flash_of_node(guest, guest.machine_with("pflash0"), *node);
  if (const auto node = guest.machine("pflash1"))
    found.variables = flash_of_node(guest, guest.machine_with("pflash1"), *node);
  return found;
}

std::string loader_text(const Case& guest) {
  if (guest.has_private_memory())
    return guest.in_language("-bios OVMF.fd", "<loader type='rom'>OVMF.amdsev.fd</loader>",
                             "firmware = \"OVMF.fd\"");
  return guest.in_language("-drive if=pflash,format=raw,unit=0,readonly=on,file=OVMF_CODE.fd",
                           "<loader readonly='yes' type='pflash'>OVMF_CODE.fd</loader>");
}

// What an image lacks for a protection; empty: nothing. target/i386/sev.c: sev_es_find_reset_vector(),
// sev_snp_launch_finish(); hw/i386/tdvf.c: tdvf_parse_metadata().
std::string_view lacking(const Firmware& image, Protection protection) {
  const bool amd_state = protection == Protection::sev_es || protection == Protection::sev_snp;
  if (amd_state && !image.sev_es) return "no SEV-ES reset block";
  if (protection == Protection::sev_snp && !image.sev_snp) return "no SEV metadata";
  if (protection == Protection::tdx && !image.tdx) return "no TDX metadata";
  return {};
}

bool asks_for_kernel_hashes(const Case& guest) {
  return guest.object() != nullptr && guest.protection() != Protection::tdx &&
         is_on(guest.object()->value("kernel-hashes")) && guest.last("kernel") != nullptr;
}

void judge_kernel_hashes(Case& guest, const Firmware& image) {
  if (asks_for_kernel_hashes(guest) && !has_room_for_hashes(image))
    guest.find(rule("kernel-hashes-need-a-hash-table"), guest.object(),
               fmt::format(
                   "{} has {}", base_name(image.path),
                   image.sev_hash_bytes == 0 ? "no table of hashes" : "a table of hashes that is too small"));
}

void judge_image(Case& guest, const QemuOption& option, const std::string& file) {
  const auto read = guest.context().read_firmware;
  if (read == nullptr || file.empty()) return;
  const OrError<Firmware> image = read(guest.path_of(file));
  if (!image) return guest.find(rule("firmware-not-read"), &option, image.error().message);
  if (const auto what = lacking(*image, guest.protection()); !what.empty())
    guest.find(rule("firmware-lacks-metadata"), &option, fmt::format("{} has {}", base_name(file), what));
  else if (!image->ovmf)
    guest.find(rule("firmware-without-a-table"), &option, std::string{base_name(file)});
  judge_kernel_hashes(guest, *image);
}

// An image with room for hashes is one of OvmfPkg/AmdSev: only AmdSevX64.fdf gives the table an address.
void judge_variables(Case& guest, const BootImages& images) {
  const auto read = guest.context().read_firmware;
  if (images.variables.option == nullptr || read == nullptr || images.code.file.empty()) return;
  const OrError<Firmware> image = read(guest.path_of(images.code.file));
  if (image && image->sev_hash_bytes != 0)
    guest.find(rule("variables-beside-amdsev"), images.variables.option,
               fmt::format("{} is an AmdSev image", base_name(images.code.file)));
}

// target/i386/sev.c: sev_kvm_type(); arch/x86/include/asm/kvm_host.h: kvm_arch_has_readonly_mem().
// debug-swap= needs KVM_SEV_INIT2, hence the newer type.
bool has_new_vm_type(const Case& guest) {
  if (guest.protection() != Protection::sev_es || guest.object() == nullptr) return false;
  return is_off(guest.object()->value("legacy-vm-type")) ||
         (is_on(guest.object()->value("debug-swap")) && !is_on(guest.object()->value("legacy-vm-type")));
}

void judge_flash(Case& guest, const BootImages& images) {
  const QemuOption* const flash =
      images.code.option != nullptr ? images.code.option : images.variables.option;
  if (flash == nullptr) return;
  if (guest.has_private_memory())
    return guest.find(rule("pflash-with-snp-or-tdx"), flash, {}, loader_text(guest));
  if (has_new_vm_type(guest))
    return guest.find(
        rule("pflash-needs-the-legacy-vm-type"), flash,
        is_off(guest.object()->value("legacy-vm-type")) ? "legacy-vm-type=off" : "debug-swap=on",
        guest.in_language("-bios OVMF.fd", "<loader type='rom'>OVMF.fd</loader>"));
  if (images.code.file.empty()) return;
  if (!images.code.raw)
    return guest.find(rule("firmware-not-read"), flash,
                      fmt::format("{} is no raw image", base_name(images.code.file)));
  judge_image(guest, *flash, images.code.file);
  judge_variables(guest, images);
}

// backends/igvm.c: qigvm_supported_platform_compat_mask(); hw/i386/pc_sysfw.c: pc_system_firmware_init().
void judge_igvm_file(Case& guest, const QemuOption& object) {
  const auto file = object.value("file");
  if (!file || file->empty()) return guest.find(rule("igvm-object-missing"), &object, "it has no file=");
  if (guest.context().read_igvm == nullptr) return;
  const OrError<IgvmFile> igvm = guest.context().read_igvm(guest.path_of(std::string{*file}));
  if (!igvm) return guest.find(rule("firmware-not-read"), &object, igvm.error().message);
  if (guest.protection() == Protection::sev_snp && igvm->valid && !igvm->sev_snp)
    guest.find(rule("igvm-of-another-platform"), &object, fmt::format("{} has no SEV-SNP", *file));
  if (!igvm->valid)
    guest.find(rule("igvm-of-another-platform"), &object, fmt::format("{} is no IGVM file", *file));
}

void judge_igvm(Case& guest, const BootImages& images, std::string_view id) {
  const QemuOption* const machine = guest.machine_with("igvm-cfg");
  const QemuOption* const flash =
      images.code.option != nullptr ? images.code.option : images.variables.option;
  if (flash != nullptr) guest.find(rule("igvm-with-pflash"), flash);
  if (images.rom != nullptr) guest.find(rule("igvm-with-bios"), images.rom);
  if (guest.protection() == Protection::tdx) guest.find(rule("igvm-with-tdx"), machine);
  if (asks_for_kernel_hashes(guest))
    guest.find(rule("igvm-with-kernel-hashes"), guest.object(), {},
               guest.in_language(Case::with(*guest.object(), {}, {"kernel-hashes"}), ""));
  const QemuOption* const object = guest.object_of_id(id);
  if (object == nullptr || object->value("qom-type") != "igvm-cfg")
    return guest.find(
        rule("igvm-object-missing"), machine,
        object == nullptr ? fmt::format("no -object has id={}", id)
                          : fmt::format("the object {} is no igvm-cfg", id),
        guest.in_language(fmt::format("-object igvm-cfg,id={},file=coconut-qemu.igvm", id), ""));
  judge_igvm_file(guest, *object);
}

}  // namespace

void judge_firmware(Case& guest) {
  const BootImages images = boot_images(guest);
  // An IGVM file brings the firmware along.
  if (const auto igvm = guest.machine("igvm-cfg")) return judge_igvm(guest, images, *igvm);
  judge_flash(guest, images);
  if (images.code.option != nullptr || images.variables.option != nullptr) return;
  if (images.rom == nullptr || is_seabios(images.rom->text))
    return guest.find(
        rule("firmware-missing"), images.rom,
        images.rom != nullptr ? fmt::format("{} is a BIOS", base_name(images.rom->text)) : std::string{},
        loader_text(guest));
  judge_image(guest, *images.rom, images.rom->text);
}

}  // namespace cbit::launch
