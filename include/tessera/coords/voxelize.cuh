// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// Voxels of detectors on the device.

#include <tessera/coords/coordinate_set.cuh>
#include <tessera/coords/voxelize.hpp>

#ifndef TESSERA_COMPILED  // whose library has hard_voxelize()
#include <tessera/coords/detail/hard_voxels_device.cuh>
#endif
