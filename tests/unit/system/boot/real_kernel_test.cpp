// Debian's own kernels, where this machine has some: in /boot, or in the folder that CBIT_TEST_KERNELS names.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "boot/bzimage.hpp"
#include "boot/files.hpp"
#include "boot/kernel_file.hpp"
#include "boot/sev_launch.hpp"
#include "support/boot_board.hpp"

namespace cbit::boot {
namespace {

namespace fs = std::filesystem;

std::vector<std::pair<fs::path, Bytes>> real_kernels() {
  std::vector<std::pair<fs::path, Bytes>> found;
  const char* const named = std::getenv("CBIT_TEST_KERNELS");
  std::error_code error;
  const auto options = fs::directory_options::skip_permission_denied;
  for (fs::recursive_directory_iterator at{named != nullptr ? named : "/boot", options, error}, end;
       !error && at != end; at.increment(error)) {
    if (!at->path().filename().string().starts_with("vmlinuz")) continue;
    auto bytes = read_file(at->path());
    if (bytes && is_bzimage(*bytes)) found.emplace_back(at->path(), std::move(*bytes));
  }
  return found;
}

TEST(RealKernel, IsReadAndLaunched) {
  const auto kernels = real_kernels();
  if (kernels.empty()) GTEST_SKIP() << "there is no kernel that can be read";
  for (const auto& [path, kernel] : kernels) {
    const auto image = read_bzimage(kernel, path.string());
    ASSERT_TRUE(image) << image.error().message;
    EXPECT_FALSE(image->release().empty()) << path;
    EXPECT_NE(compression_of(image->payload), Compression::unknown) << path;
    if (image->memory_encryption() == Answer::no) continue;
    const auto machine = machine::Machine::create({.platform = Platform::sev,
                                                   .memory_bytes = 256 << 20,
                                                   .key_source = machine::GuestKeySource::firmware});
    ASSERT_TRUE(machine);
    const auto plan = plan_image(board_of(**machine, {}),
                                 {.name = path.string(), .kernel = kernel, .command_line = "quiet"});
    ASSERT_TRUE(plan) << plan.error().message;
    ASSERT_TRUE(launch(**machine, *plan, {}));
    Bytes start(page_size);
    const PhysAddr at{plan->entry.rip - spec::linux_entry_64};
    ASSERT_TRUE((*machine)->memory().peek(at, start, mem::guest_key(machine::guest_asid)));
    EXPECT_TRUE(std::ranges::equal(start, image->protected_mode.first(page_size))) << path;
  }
}

}  // namespace
}  // namespace cbit::boot
