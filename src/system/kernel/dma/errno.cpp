#include <cerrno>

#include "kernel/dma/dma.hpp"

namespace cbit::kernel {

std::string_view errno_name(Errno code) {
  switch (code) {
    case Errno::eperm: return "-EPERM";
    case Errno::enoent: return "-ENOENT";
    case Errno::eio: return "-EIO";
    case Errno::enxio: return "-ENXIO";
    case Errno::enomem: return "-ENOMEM";
    case Errno::eacces: return "-EACCES";
    case Errno::efault: return "-EFAULT";
    case Errno::ebusy: return "-EBUSY";
    case Errno::enodev: return "-ENODEV";
    case Errno::einval: return "-EINVAL";
    case Errno::enospc: return "-ENOSPC";
    case Errno::erange: return "-ERANGE";
    case Errno::enosys: return "-ENOSYS";
    case Errno::eopnotsupp: return "-EOPNOTSUPP";
    case Errno::eaddrinuse: return "-EADDRINUSE";
    case Errno::etimedout: return "-ETIMEDOUT";
    case Errno::eremoteio: return "-EREMOTEIO";
  }
  return "?";
}

std::string_view errno_name(int error) {
  return error == ENOKEY ? "-ENOKEY" : errno_name(static_cast<Errno>(error));
}

}  // namespace cbit::kernel
