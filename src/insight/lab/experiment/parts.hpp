// One object of each type that asks for it. Kinds of steps that belong together (RDMA, graphics, ...) keep in
// one what they share, and nobody else has to know of it.
#pragma once

#include <map>
#include <memory>
#include <typeindex>

namespace cbit::lab {

class Parts {
 public:
  // Made on first use; stays where it is.
  template <class T>
  [[nodiscard]] T& get() {
    std::shared_ptr<void>& part = parts_[std::type_index{typeid(T)}];
    if (part == nullptr) part = std::make_shared<T>();
    return *static_cast<T*>(part.get());
  }

 private:
  std::map<std::type_index, std::shared_ptr<void>> parts_;
};

}  // namespace cbit::lab
