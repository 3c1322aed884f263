// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/activation.hpp>
#include <tessera/conv/operation.hpp>
#include <tessera/conv/weight_view.hpp>
#include <tessera/core/scalar.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

namespace tessera {
inline namespace v0 {

/// How float products are made: exactly, or by tensor cores from operands rounded to TF32 (10 bits of
/// mantissa). Chosen explicitly, never by the hardware found; other scalars ignore it.
enum class MathMode : std::uint8_t { exact, tf32 };

/// The kernel that runs an implicit GEMM on the device; results differ by rounding at most.
///
/// | kernel         | what runs                                                                       |
/// |----------------|---------------------------------------------------------------------------------|
/// | automatic      | asked for only: what is fastest as a rule, or a kernel of SpecializedKernels    |
/// | block          | blocks, each with a tile of conv/tuning.hpp                                     |
/// | warp           | warps, 16 rows each, over a weight in shared memory: 16-bit scalars, sm_90      |
/// | warpgroup      | warpgroups, 64 rows each: 16-bit scalars and TF32, sm_90a; a block has its tile |
/// | warpgroup_pair | the same, two blocks sharing the offsets of a tile, where there are two offsets |
/// | specialized    | a kernel of SpecializedKernels; asked for, it means `automatic`                 |
///
/// Where the device or the operands do not allow the kernel asked for, the next one of `warpgroup`, `warp`
/// and `block` that they do allow runs; `warpgroup` shares tiles where a block cannot hold a list of all
/// offsets. Only AutoTile reads it: the host, the other dataflows and a Tile of a ConvPolicy ignore it.
enum class GemmKernel : std::uint8_t { automatic, block, warp, warpgroup, warpgroup_pair, specialized };

/// A convolution in numbers, without its pointers: all but the map that the choice of a kernel depends on.
///
/// A data gradient is a convolution of the output's gradient: `in_channels` are those of what is read.
struct ConvProblem {
  Operation operation = Operation::forward;
  bool has_operation = true;  ///< the dataflow asked for has it; else gather-scatter runs it
  DType in_type = DType::float32;
  DType weight_type = DType::float32;
  DType sum_type = DType::float32;
  DType out_type = DType::float32;
  WeightSteps weight_steps;
  MathMode math = MathMode::exact;
  GemmKernel kernel = GemmKernel::automatic;  ///< asked for
  int in_channels = 0;                        ///< of both inputs together
  int second_channels = 0;  ///< those of them that the second input has; 0: there is one input
  int out_channels = 0;
  int splits = 1;
  bool has_residual = false;
  Activation activation = Activation::none;
  bool has_specialized = false;  ///< SpecializedKernels has one for these channels on this device
  /// Whether the pointers are multiples of 16 bytes; those that are null count as such.
  bool aligned_inputs = true;
  bool aligned_weight = true;
  bool aligned_output = true;
  bool aligned_epilogue = true;  ///< bias and residual
};

/// What the choice of a kernel asks of a map.
struct MapSummary {
  std::int64_t num_out = 0;  ///< 0: not known yet, as where a weight is packed
  int volume = 1;
  bool is_identity = false;  ///< each row reads itself, or nothing
};

/// What the choice of a kernel asks of a device and of the program's code for it.
struct DeviceLimits {
  int compute_capability = 0;  ///< 90 for 9.0
  int multiprocessors = 1;
  std::size_t shared_bytes = 48 * 1024;  ///< of a block, at most
  bool has_warp = false;                 ///< the program has code of the warp kernel that the device runs
  bool has_warpgroup = false;            ///< and of the warpgroups'
  bool has_gradient_tiles = false;       ///< and of the tiles of a weight's gradient, for sm_80 or newer
};

}  // namespace v0
}  // namespace tessera
