// Trees as `make defconfig` and `make bzImage` of Linux 6.1 leave them; the first lines of .config are those
// of scripts/kconfig/confdata.c.
#include "boot/kernel_source/kernel_tree.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

namespace cbit::boot {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class KernelTreeTest : public testing::Test {
 protected:
  KernelTreeTest()
      : folder{fs::path{testing::TempDir()} / "cbit kernel tree" /
               testing::UnitTest::GetInstance()->current_test_info()->name()} {
    fs::remove_all(folder);
    fs::create_directories(folder);
  }
  ~KernelTreeTest() override { fs::remove_all(folder); }
  void write(const std::string& path, std::string_view text) const {
    fs::create_directories((folder / path).parent_path());
    std::ofstream{folder / path} << text;
  }
  [[nodiscard]] std::string refusal() const {
    const auto kernel = kernel_of_tree(folder);
    return kernel ? "none" : kernel.error().message;
  }

  fs::path folder;
};

TEST_F(KernelTreeTest, IsOneWithSourcesOrWithWhatWasBuilt) {
  EXPECT_FALSE(is_kernel_tree(folder));
  EXPECT_FALSE(is_kernel_tree(folder / "absent"));
  write("Kconfig", "");
  EXPECT_FALSE(is_kernel_tree(folder)) << "other projects have a Kconfig, too";
  write("arch/x86/Kconfig", "");
  EXPECT_TRUE(is_kernel_tree(folder));
  fs::remove_all(folder);
  write("include/config/auto.conf", "");
  EXPECT_TRUE(is_kernel_tree(folder)) << "what make O= leaves";
}

TEST_F(KernelTreeTest, GivesItsBzimageAndElseItsVmlinux) {
  write(".config", "# Linux/x86 6.1.0 Kernel Configuration\n#\nCONFIG_X86_64=y\n");
  EXPECT_THAT(refusal(), HasSubstr("no kernel is built"));
  write("vmlinux", "");
  EXPECT_EQ(*kernel_of_tree(folder), folder / "vmlinux");
  write("arch/x86/boot/bzImage", "");
  EXPECT_EQ(*kernel_of_tree(folder), folder / "arch/x86/boot/bzImage");
}

TEST_F(KernelTreeTest, NamesTheMachineThatItIsForInstead) {
  write("vmlinux", "");
  write(".config", "# Linux/arm64 6.1.0 Kernel Configuration\nCONFIG_ARM64=y\n");
  EXPECT_THAT(refusal(), HasSubstr("is configured for arm64, and the machine is x86-64"));
  write(".config", "# Linux/x86 6.1.0 Kernel Configuration\n# CONFIG_64BIT is not set\nCONFIG_X86_32=y\n");
  EXPECT_THAT(refusal(), HasSubstr("is configured for 32-bit x86"));
  write(".config", std::string_view{"\0\1\2", 3});
  EXPECT_THAT(refusal(), HasSubstr("is configured for another machine"));
}

}  // namespace
}  // namespace cbit::boot
