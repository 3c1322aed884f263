// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
// expect: ConvPolicy: Downsample must be SpconvDownsample, MinkowskiDownsample or an empty type
#include <tessera/conv/policies.hpp>

#ifdef TESSERA_ACCEPTED
using Downsample = tessera::MinkowskiDownsample;
#else
using Downsample = tessera::Hashmap;
#endif

char const* const name =
    tessera::ConvPolicy<tessera::ConvMode<1>, tessera::HashmapOnTheFly, Downsample>::downsample::name;
