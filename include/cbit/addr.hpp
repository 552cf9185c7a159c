#pragma once
#include "base/addr.hpp"
