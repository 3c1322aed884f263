// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// Convolutions on the device: this and what conv/convolution.hpp and the layers of nn/conv.hpp need of it.

#include <tessera/conv/convolution.hpp>
#include <tessera/conv/convolution_kernels.cuh>
#include <tessera/core/detail/work_event.cuh>
#include <tessera/kmap/build.cuh>
