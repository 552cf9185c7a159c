// A mistake of the library's user, as the public face reports it.
#pragma once

#include <stdexcept>
#include <utility>

#include "base/result.hpp"

namespace cbit::api {

[[noreturn]] inline void refuse(const Error& error) {
  throw std::invalid_argument{error.hint.empty() ? error.message : error.message + "; " + error.hint};
}

template <class T>
T value_or_throw(OrError<T>&& result) {
  if (!result) refuse(result.error());
  return *std::move(result);
}

}  // namespace cbit::api
