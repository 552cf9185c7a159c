// A captured tree that a test writes into a folder of its own, which goes with it.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "facts/host_tree.hpp"

namespace cbit::testing {

class CapturedTree {
 public:
  CapturedTree() {
    std::string name = (std::filesystem::temp_directory_path() / "cbit-tree-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::filesystem::filesystem_error{name, {}};
    root_ = name;
    file("/cbit/capture.json", "{\"version\": 1}\n");
  }
  CapturedTree(const CapturedTree&) = delete;
  CapturedTree& operator=(const CapturedTree&) = delete;
  ~CapturedTree() {
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
  }

  CapturedTree& file(std::string_view path, std::string_view contents) {
    std::ofstream{place(path), std::ios::binary} << contents;
    return *this;
  }
  CapturedTree& folder(std::string_view path) {
    std::filesystem::create_directories(place(path));
    return *this;
  }
  CapturedTree& link(std::string_view path, std::string_view target) {
    std::filesystem::create_symlink(target, place(path));
    return *this;
  }

  [[nodiscard]] const std::filesystem::path& root() const { return root_; }
  // Where `path` lies outside the tree; its folder exists.
  [[nodiscard]] std::filesystem::path place(std::string_view path) const {
    std::filesystem::path at = root_ / path.substr(1);
    std::filesystem::create_directories(at.parent_path());
    return at;
  }

  [[nodiscard]] facts::HostTree open() const {
    auto tree = facts::HostTree::open(root_.string());
    EXPECT_TRUE(tree) << (tree ? "" : tree.error().message);
    return std::move(*tree);
  }

 private:
  std::filesystem::path root_;
};

}  // namespace cbit::testing
