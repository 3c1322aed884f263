// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#include <tessera/compiled.hpp>

TESSERA_COMPILED_SPACE(, tessera::Host)
TESSERA_COMPILED_MAPS(, 3, tessera::Host)
TESSERA_COMPILED_LAYERS(, 3, float, tessera::Host)
