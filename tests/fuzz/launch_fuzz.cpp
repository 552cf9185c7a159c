// What cbit launch takes apart: firmware images, IGVM files, the values of --disk and --net, and what a
// program answers to -version. A plan of any of it is printed and read back as the same words.
#include <cstdlib>
#include <string_view>

#include "cli/launch_options.hpp"
#include "launch/igvm.hpp"
#include "launch/plan_render.hpp"
#include "launch/qemu_program.hpp"

namespace {

void check_firmware(const unsigned char* data, std::size_t size) {
  const auto firmware =
      cbit::launch::parse_firmware("image", {reinterpret_cast<const std::byte*>(data), size});
  const bool says_more = firmware.sev_snp || firmware.tdx || firmware.sev_hash_bytes != 0;
  if (firmware.bytes != size || (says_more && !firmware.ovmf)) std::abort();
}

void check_igvm(const unsigned char* data, std::size_t size) {
  const auto igvm = cbit::launch::parse_igvm({reinterpret_cast<const std::byte*>(data), size});
  if ((igvm.sev_snp || igvm.tdx) && !igvm.valid) std::abort();
}

void check_plan(std::string_view text) {
  const cbit::launch::LaunchSite site{.support = {.kvm = {.usable = true}, .sev = {.usable = true}},
                                      .qemu = {9, 1}};
  cbit::launch::LaunchRequest request{.protection = cbit::launch::Protection::none, .firmware = "default"};
  if (const auto disk = cbit::cli::parse_disk(text)) request.disks.push_back(*disk);
  if (const auto net = cbit::cli::parse_net(text); net && *net) request.nets.push_back(**net);
  const auto plan = cbit::launch::plan_launch(request, site);
  if (!plan) return;
  // QEMU and a shell's words cannot hold a zero byte; main() never gets one.
  if (text.find('\0') != text.npos) return;
  const auto words = cbit::launch::shell_words(cbit::launch::to_shell(*plan));
  if (!words || *words != cbit::launch::to_words(cbit::launch::command_of(*plan))) std::abort();
  (void)cbit::launch::to_libvirt(*plan, true);
  (void)cbit::launch::to_json(*plan, {});
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const std::string_view text{reinterpret_cast<const char*>(data), size};
  check_firmware(data, size);
  check_igvm(data, size);
  check_plan(text);
  if (const auto version = cbit::launch::parse_qemu_version(text); version && text.find('.') == text.npos)
    std::abort();
  return 0;
}
