// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// Voxels of detectors on the device.

#include <tessera/coords/coordinate_set.cuh>
#include <tessera/coords/voxelize.hpp>

#ifndef TESSERA_COMPILED
#include <tessera/coords/detail/hard_voxels_device.cuh>
#else  // the kernels are in the library of tessera::compiled
extern template tessera::HardVoxels<tessera::Device> tessera::hard_voxelize<tessera::Device>(
    tessera::PointsView<float> const&, tessera::VoxelizeOptions const&,
    tessera::Execution<tessera::Device> const&, tessera::VoxelOutputs const&);
#endif
