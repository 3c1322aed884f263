// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#include <tessera/compiled.cuh>

TESSERA_COMPILED_CUB()
TESSERA_COMPILED_SPACE(, tessera::Device)
TESSERA_COMPILED_MAPS(, 3, tessera::Device)
