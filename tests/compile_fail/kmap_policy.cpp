// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
// expect: ConvPolicy: Kmap must be HashmapOnTheFly, Hashmap or an empty type with `name` and
#include <tessera/conv/policies.hpp>

#ifdef TESSERA_ACCEPTED
using Kmap = tessera::Hashmap;
#else
using Kmap = tessera::SpconvDownsample;
#endif

char const* const name = tessera::ConvPolicy<tessera::ConvMode<1>, Kmap>::kmap::name;
