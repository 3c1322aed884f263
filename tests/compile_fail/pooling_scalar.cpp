// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
// expect: layer<Dim, Scalar, Space>: Scalar must be float, double, __half or __nv_bfloat16
#include <tessera/nn/pooling.hpp>

#ifdef TESSERA_ACCEPTED
using Scalar = double;
#else
using Scalar = int;
#endif

tessera::nn::GlobalMaxPool<3, Scalar, tessera::Host> const pool;
