#include "net/tap.hpp"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <system_error>

#include "base/format.hpp"

namespace cbit::net {
namespace {

constexpr const char* driver = "/dev/net/tun";
constexpr unsigned frames_at_once = 64;

std::string words(int error) { return std::generic_category().message(error); }

tl::unexpected<Error> refused(const std::string& interface, int error) {
  const std::string message = fmt::format("cannot use the tap interface {}: {}", interface, words(error));
  if (error == EBUSY) return bad_input(message, "another program has it; give each its own");
  if (error == EPERM || error == EACCES)
    return bad_input(message,
                     fmt::format("let root make it for you: ip tuntap add {0} mode tap user $USER && "
                                 "ip link set {0} up; or use --net user, which needs no rights",
                                 interface));
  return bad_input(message, "ip tuntap show lists those that there are; it must be one of mode tap");
}

}  // namespace

OrError<std::unique_ptr<Tap>> Tap::open(const std::string& interface) {
  if (interface.empty() || interface.size() >= IFNAMSIZ)
    return usage_error(fmt::format("{:?} is no name of an interface", interface),
                       fmt::format("use one of 1 to {} characters, as in ifname=tap0", IFNAMSIZ - 1));
  os::Descriptor opened{os::retry([] { return ::open(driver, O_RDWR | O_NONBLOCK | O_CLOEXEC); })};
  if (!opened.is_open())
    return bad_input(fmt::format("cannot open {}: {}", driver, words(errno)),
                     errno == EACCES || errno == EPERM
                         ? "ask for the right to it, or use --net user, which needs none"
                         : "load the kernel's module tun, or use --net user");
  ifreq request{};
  request.ifr_flags = IFF_TAP | IFF_NO_PI;
  std::ranges::copy(interface, request.ifr_name);
  if (os::retry([&] { return ioctl(opened.fd(), TUNSETIFF, &request); }) < 0)
    return refused(interface, errno);
  return std::unique_ptr<Tap>{new Tap{std::move(opened)}};
}

bool Tap::receive(ConstByteSpan frame) {
  return os::retry([&] { return ::write(opened_.fd(), frame.data(), frame.size()); }) >= 0;
}

void Tap::prepare(os::PollSet& set) {
  if (!is_full()) set.add(opened_.fd(), POLLIN);
}

void Tap::serve(const os::PollSet&) {
  // One byte more shows a frame that is too long.
  std::array<std::byte, dev::tagged_frame_max + 1> frame;
  for (unsigned n = 0; n < frames_at_once && !is_full(); ++n) {
    const ssize_t bytes = os::retry([&] { return ::read(opened_.fd(), frame.data(), frame.size()); });
    if (bytes <= 0) break;
    send(ConstByteSpan{frame}.first(static_cast<std::size_t>(bytes)));
  }
  deliver();
}

}  // namespace cbit::net
