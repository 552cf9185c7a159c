#pragma once
#include "kernel/dma/dma.hpp"
#include "kernel/version.hpp"
#include "machine/platform.hpp"
