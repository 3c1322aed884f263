// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

/// Marks a function that both the host and the device call; nothing where no CUDA compiler reads it.
#if defined(__CUDACC__)
#define TESSERA_HOST_DEVICE __host__ __device__
#else
#define TESSERA_HOST_DEVICE
#endif
