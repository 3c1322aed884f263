// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/problem.hpp>
#include <tessera/core/host_device.hpp>
#include <tessera/core/int_array.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Rows of the tile maps that the warp and warpgroup kernels read: those of one `mma.m16n8k16`.
inline constexpr int fragment_rows = 16;

/// Bytes of a barrier in shared memory.
inline constexpr std::size_t barrier_bytes = 8;

/// The order in which a kernel reads a weight: which kernel's it is, what shapes it, and in the last three
/// places the steps of the weight that it is packed from, 0 of a plain one. All zero for the plain order
/// [volume, in_channels, out_channels] itself.
using PackedLayout = std::array<std::int64_t, 11>;
inline constexpr int packed_for_warp = 1;
inline constexpr int packed_for_warpgroup = 2;
inline constexpr int packed_for_block = 3;  ///< the plain order, of a weight in another

/// `layout` of a weight with `steps`.
[[nodiscard]] inline PackedLayout packed_from(PackedLayout layout, WeightSteps const& steps)
{
  layout[8] = steps.offset;
  layout[9] = steps.in;
  layout[10] = steps.out;
  return layout;
}

/// The weight that `layout` is packed from, where `memory` is its first element in memory. So the
/// address of a weight is enough to pack it again, mirrored and transposed ones too.
template <class T>
[[nodiscard]] WeightView<T> packed_source(PackedLayout const& layout, T const* memory)
{
  auto view = plain_weight(memory, static_cast<int>(layout[1]), static_cast<int>(layout[2]),
                           static_cast<int>(layout[3]));
  WeightSteps const steps{layout[8], layout[9], layout[10]};
  if (!steps.is_plain()) {
    view.offset_step = steps.offset;
    view.in_step = steps.in;
    view.out_step = steps.out;
    if (steps.offset < 0) { view.data -= (view.volume - 1) * steps.offset; }
  }
  return view;
}

/// How a block's shared memory is cut into stages of weights.
struct PipelineSize {
  int stages = 1;
  int stage_chunks = 1;  ///< of the warp kernel
  int few_tiles = 0;  ///< of the warpgroups': up to these, times blocks of channels, two blocks share a tile
  std::size_t shared_bytes = 0;
};

/// Which kernel runs a convolution and what it needs: chosen once by select(), read by run(), pack(), the
/// choice of two inputs and the tuner.
struct KernelPlan {
  GemmKernel kernel = GemmKernel::automatic;  ///< automatic: the space has one kernel
  int tile_rows = 1;                          ///< of the tile map it reads, or 0: it reads none
  int shape = 0;                              ///< place in the kernel's list of shapes or tiles
  bool aligned = false;                       ///< block: all rows begin at multiples of 16 bytes
  bool reads_two_inputs = false;
  PackedLayout packed{};    ///< the weight it reads, or plain; with splits, warps and warpgroups keep none
  PipelineSize pipeline{};  ///< of a split of full length
  Operation operation = Operation::forward;
  /// The dataflow asked for lacks the operation: gather-scatter runs it, with this kernel for each offset.
  bool falls_back = false;
  bool gradient_tiles = false;  ///< of a weight's gradient: tiles of tensor cores, else multiply-adds

  /// Whether two plans do the same on maps of one form, whatever the channels.
  [[nodiscard]] friend bool operator==(KernelPlan const& a, KernelPlan const& b)
  {
    return a.kernel == b.kernel && a.tile_rows == b.tile_rows && a.shape == b.shape &&
           a.operation == b.operation && a.falls_back == b.falls_back && a.gradient_tiles == b.gradient_tiles;
  }
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
