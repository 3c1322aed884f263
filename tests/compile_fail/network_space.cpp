// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
// expect: layer<Dim, Scalar, Space>: Space must be Host or Device; the policy of a Conv comes after it
#include <tessera/models/sparse_resunet42.hpp>

#ifdef TESSERA_ACCEPTED
using Space = tessera::Host;
#else
using Space = tessera::RuntimePolicy;
#endif

std::size_t const size = sizeof(tessera::models::SparseResUNet42<3, float, Space>);
