#include "boot/kernel_source/kernel_tree.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <string_view>

#include "boot/files.hpp"

namespace cbit::boot {
namespace {

namespace fs = std::filesystem;

bool is_there(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

// The second word of "# Linux/arm64 6.1.0 Kernel Configuration", as the mainmenu of Linux' Kconfig has it.
std::string architecture_of(std::string_view config) {
  constexpr std::string_view before = "# Linux/";
  const std::size_t at = config.find(before);
  if (at == std::string_view::npos) return "another machine";
  config.remove_prefix(at + before.size());
  const std::string name{config.substr(0, config.find_first_of(" \n"))};
  return name == "x86" ? "32-bit x86" : name;
}

OrError<void> check_architecture(const fs::path& folder) {
  const Bytes bytes = CBIT_TRY(read_file(folder / ".config"));
  const std::string_view config{reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  if (config.find("\nCONFIG_X86_64=y\n") != std::string_view::npos) return {};
  return bad_input(fmt::format("{} is configured for {}, and the machine is x86-64", folder.string(),
                               architecture_of(config)),
                   "make ARCH=x86_64 defconfig there, and build it, or name another kernel");
}

}  // namespace

bool is_kernel_tree(const fs::path& folder) {
  if (is_there(folder / "arch/x86/boot/bzImage")) return true;
  return is_there(folder / "include/config/auto.conf") ||
         (is_there(folder / "Kconfig") && is_there(folder / "arch/x86/Kconfig"));
}

OrError<fs::path> kernel_of_tree(const fs::path& folder) {
  if (is_there(folder / ".config")) CBIT_TRY(check_architecture(folder));
  for (const std::string_view image : {"arch/x86/boot/bzImage", "vmlinux"})
    if (fs::path path = folder / image; is_there(path)) return path;
  return bad_input(fmt::format("{} is a kernel's tree in which no kernel is built", folder.string()),
                   "make it there (with CONFIG_AMD_MEM_ENCRYPT=y for --sev), or name a bzImage");
}

}  // namespace cbit::boot
