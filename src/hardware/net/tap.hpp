// A network interface of the host's, made by its TUN/TAP driver: what the guest sends arrives there, and what
// the host sends there is the guest's. Linux, Documentation/networking/tuntap.rst.
//
// Threading: one thread.
#pragma once

#include <memory>
#include <string>

#include "base/result.hpp"
#include "dev/net_backend.hpp"
#include "os/descriptor.hpp"

namespace cbit::net {

class Tap final : public dev::NetBackend {
 public:
  // An interface that is there and that this user may use; who may administer the network gets a new one,
  // which is gone at the end. Errors (usage): a name that is none; (input): no rights, no driver, in use.
  static OrError<std::unique_ptr<Tap>> open(const std::string& interface);

  bool receive(ConstByteSpan frame) override;
  void prepare(os::PollSet& set) override;
  void serve(const os::PollSet& set) override;

 private:
  explicit Tap(os::Descriptor opened) : opened_{std::move(opened)} {}

  os::Descriptor opened_;
};

}  // namespace cbit::net
