#pragma once
#include "base/dma_types.hpp"
