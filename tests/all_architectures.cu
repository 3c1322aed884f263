// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// One translation unit of everything, compiled for each supported architecture: what an older or a newer one
// than that of the tests refuses shows here. Templates are instantiated explicitly, so that their kernels are
// compiled.
#include <tessera/tessera.cuh>

int main() {}
