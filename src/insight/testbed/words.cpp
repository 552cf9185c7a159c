#include "testbed/words.hpp"

#include <cerrno>

namespace cbit::testbed {

std::string_view errno_name(kernel::Errno code) {
  switch (code) {
    case kernel::Errno::eperm: return "-EPERM";
    case kernel::Errno::enoent: return "-ENOENT";
    case kernel::Errno::eio: return "-EIO";
    case kernel::Errno::enxio: return "-ENXIO";
    case kernel::Errno::enomem: return "-ENOMEM";
    case kernel::Errno::eacces: return "-EACCES";
    case kernel::Errno::efault: return "-EFAULT";
    case kernel::Errno::ebusy: return "-EBUSY";
    case kernel::Errno::enodev: return "-ENODEV";
    case kernel::Errno::einval: return "-EINVAL";
    case kernel::Errno::enospc: return "-ENOSPC";
    case kernel::Errno::erange: return "-ERANGE";
    case kernel::Errno::enosys: return "-ENOSYS";
    case kernel::Errno::eopnotsupp: return "-EOPNOTSUPP";
    case kernel::Errno::etimedout: return "-ETIMEDOUT";
    case kernel::Errno::eremoteio: return "-EREMOTEIO";
  }
  return "?";
}

std::string_view errno_name(int error) {
  return error == ENOKEY ? "-ENOKEY" : errno_name(static_cast<kernel::Errno>(error));
}

}  // namespace cbit::testbed
