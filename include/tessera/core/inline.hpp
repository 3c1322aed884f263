// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

/// Before a host function that a header declares and a *_body.hpp defines: nothing where the library of
/// tessera::compiled is compiled, so that it has the function.
#ifdef TESSERA_COMPILED_SOURCE
#define TESSERA_INLINE
#else
#define TESSERA_INLINE inline
#endif

/// Defined where a header ends with these bodies: not where tessera::compiled has them, and not where nvcc compiles
/// for the device, because none of them launches anything.
#if !defined(TESSERA_COMPILED) && !defined(__CUDA_ARCH__)
#define TESSERA_NEEDS_HOST_BODIES
#endif
