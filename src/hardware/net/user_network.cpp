#include "net/user_network.hpp"

#include <arpa/inet.h>
#include <slirp/libslirp.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <limits>
#include <span>
#include <system_error>

#include "base/format.hpp"

namespace cbit::net {
namespace {

using HostClock = std::chrono::steady_clock;

// SLIRP_POLL_* and poll(2)'s, one for one.
constexpr std::pair<int, short> poll_bits[] = {{SLIRP_POLL_IN, POLLIN},
                                               {SLIRP_POLL_OUT, POLLOUT},
                                               {SLIRP_POLL_PRI, POLLPRI},
                                               {SLIRP_POLL_ERR, POLLERR},
                                               {SLIRP_POLL_HUP, POLLHUP}};

short poll_events(int slirp_events) {
  int events = 0;
  for (const auto& [ours, theirs] : poll_bits)
    if ((slirp_events & ours) != 0) events |= theirs;
  return static_cast<short>(events);
}

int slirp_events(short came) {
  int events = 0;
  for (const auto& [ours, theirs] : poll_bits)
    if ((came & theirs) != 0) events |= ours;
  return events;
}

in_addr address_of(Ipv4 address) { return {.s_addr = htonl(address)}; }

}  // namespace

std::optional<Ipv4> parse_ipv4(std::string_view text) {
  in_addr address{};
  if (inet_pton(AF_INET, std::string{text}.c_str(), &address) != 1) return std::nullopt;
  return ntohl(address.s_addr);
}

std::string to_text(Ipv4 address) {
  return fmt::format("{}.{}.{}.{}", address >> 24, address >> 16 & 0xff, address >> 8 & 0xff, address & 0xff);
}

// libslirp with the functions that it calls.
class UserNetwork::Stack {
 public:
  Stack(const UserNetworkOptions& options, std::function<void(ConstByteSpan)> send) : send_{std::move(send)} {
    SlirpConfig config{};
    config.version = 1;
    config.restricted = options.restricted ? 1 : 0;
    config.in_enabled = true;
    config.vnetwork = address_of(options.network);
    config.vnetmask = address_of(~Ipv4{0} << (32 - options.prefix_bits));
    config.vhost = address_of(options.host());
    config.vnameserver = address_of(options.name_server());
    config.vdhcp_start = address_of(options.guest());
    slirp_ = slirp_new(&config, &callbacks, this);
  }
  Stack(const Stack&) = delete;
  Stack& operator=(const Stack&) = delete;
  ~Stack() { slirp_cleanup(slirp_); }

  // errno, as slirp_add_hostfwd() leaves it; 0: it is forwarded.
  int forward(const PortForward& port) {
    errno = 0;
    const int failed =
        slirp_add_hostfwd(slirp_, port.protocol == PortForward::Protocol::udp ? 1 : 0, address_of(port.host),
                          port.host_port, address_of(port.guest), port.guest_port);
    return failed < 0 ? std::max(errno, 1) : 0;
  }

  void input(ConstByteSpan frame) {
    slirp_input(slirp_, reinterpret_cast<const std::uint8_t*>(frame.data()), static_cast<int>(frame.size()));
  }

  void prepare(os::PollSet& set) {
    std::uint32_t most_ms = std::numeric_limits<std::uint32_t>::max();
    slirp_pollfds_fill(
        slirp_, &most_ms,
        [](int fd, int events, void* to) {
          return static_cast<int>(static_cast<os::PollSet*>(to)->add(fd, poll_events(events)));
        },
        &set);
    set.limit(std::chrono::milliseconds{most_ms});
  }

  void serve(const os::PollSet& set) {
    slirp_pollfds_poll(
        slirp_, 0,
        [](int number, void* from) {
          return slirp_events(static_cast<const os::PollSet*>(from)->came(static_cast<std::size_t>(number)));
        },
        const_cast<os::PollSet*>(&set));
  }

 private:
  static const SlirpCb callbacks;

  std::function<void(ConstByteSpan)> send_;
  Slirp* slirp_;
};

const SlirpCb UserNetwork::Stack::callbacks = {
    .send_packet =
        [](const void* frame, std::size_t bytes, void* opaque) {
          static_cast<Stack*>(opaque)->send_(
              std::as_bytes(std::span{static_cast<const char*>(frame), bytes}));
          return static_cast<ssize_t>(bytes);
        },
    .guest_error = [](const char*, void*) {},
    .clock_get_ns =
        [](void*) {
          return std::int64_t{
              std::chrono::duration_cast<std::chrono::nanoseconds>(HostClock::now().time_since_epoch())
                  .count()};
        },
    // IPv6's router advertisements alone have a timer.
    .timer_new = nullptr,
    .timer_free = nullptr,
    .timer_mod = nullptr,
    .register_poll_fd = [](int, void*) {},
    .unregister_poll_fd = [](int, void*) {},
    .notify = [](void*) {},
    .init_completed = nullptr,
    .timer_new_opaque = nullptr,
};

UserNetwork::UserNetwork() = default;
UserNetwork::~UserNetwork() = default;

OrError<std::unique_ptr<UserNetwork>> UserNetwork::create(const UserNetworkOptions& options) {
  std::unique_ptr<UserNetwork> made{new UserNetwork};
  UserNetwork* const network = made.get();
  made->stack_ = std::make_unique<Stack>(options, [network](ConstByteSpan frame) { network->send(frame); });
  for (const PortForward& port : options.forwards)
    if (const int error = made->stack_->forward(port); error != 0)
      return bad_input(
          fmt::format("cannot forward {} port {} of {}: {}",
                      port.protocol == PortForward::Protocol::udp ? "UDP" : "TCP", port.host_port,
                      to_text(port.host), std::generic_category().message(error)),
          "use an address of this host's and a port that nobody has, above 1023 unless you are root");
  return made;
}

bool UserNetwork::receive(ConstByteSpan frame) {
  stack_->input(frame);
  deliver();
  return true;
}

void UserNetwork::prepare(os::PollSet& set) { stack_->prepare(set); }

void UserNetwork::serve(const os::PollSet& set) {
  stack_->serve(set);
  deliver();
}

}  // namespace cbit::net
