// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/detail/block_gemm/loader.cuh>
#include <tessera/conv/detail/block_gemm/multiply.cuh>
#include <tessera/conv/detail/block_gemm/problem.cuh>
#include <tessera/core/detail/device_attributes.cuh>
#include <tessera/core/launch.cuh>

#include <climits>
#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Calls `body(where, pair, channel, both)` for the pairs of sums of this thread's row number `i`, held in
/// `sums`, if the row exists, and for channels that exist; `where` counts elements of [num_out,
/// out_channels].
template <class Layout, class Sum, class Body>
__device__ void for_each_sum(int i, Sum (&sums)[TileSums<Layout>::channel_steps][2],
                             BlockGemmProblem<typename Layout::Scalar> const& problem,
                             BlockPlace<Layout> const& place, Body const& body)
{
  using Sums = TileSums<Layout>;
  int const row = Sums::row(i);
  if (row >= place.num_rows) { return; }
  auto const out = problem.order == nullptr ? place.first + row
                                            : std::int64_t{problem.order[place.tile * Layout::rows + row]};
#pragma unroll
  for (int j = 0; j < Sums::channel_steps; ++j) {
    int const channel = place.first_channel + Sums::channel(j);
    if (channel < problem.out_channels) {
      body(out * problem.out_channels + channel, sums[j], channel, channel + 1 < problem.out_channels);
    }
  }
}

/// The same for the sums of all rows.
template <class Layout, class Body>
__device__ void for_each_sum(TileSums<Layout>& sums, BlockGemmProblem<typename Layout::Scalar> const& problem,
                             BlockPlace<Layout> const& place, Body const& body)
{
#pragma unroll
  for (int i = 0; i < TileSums<Layout>::row_steps; ++i) {
    for_each_sum<Layout>(i, sums.values[i], problem, place, body);
  }
}

/// Reads or writes two neighbours, the second only if it exists; at once where `Aligned`.
template <bool Aligned, class T>
__device__ void write_pair(T* to, T first, T second, bool both)
{
  if constexpr (Aligned) {
    *reinterpret_cast<TwoElements<T>*>(to) = TwoElements<T>{{first, second}};
  } else {
    to[0] = first;
    if (both) { to[1] = second; }
  }
}

/// Writes the outputs of two neighbouring sums; for_each_sum() has the arguments.
template <ActivationSet Set, bool Aligned, class Scalar>
__device__ void store_pair(BlockGemmProblem<Scalar> const& problem, std::int64_t where,
                           accumulator_t<Scalar> const (&pair)[2], int channel, bool both)
{
  auto const& epilogue = problem.epilogue;
  int const next = both ? 1 : 0;
  Scalar bias[2];
  Scalar residual[2];
  Scalar outputs[2];
  if (epilogue.bias != nullptr) {
    bias[0] = epilogue.bias[channel];
    bias[1] = epilogue.bias[channel + next];
  }
  if (epilogue.residual != nullptr) {
    residual[0] = epilogue.residual[where];
    residual[1] = epilogue.residual[where + next];
  }
  epilogue.template run<Set>(pair, bias, residual, outputs);
  write_pair<Aligned>(problem.output + where, outputs[0], outputs[1], both);
}

/// Writes the outputs of this thread's sums, which are gone then.
template <bool Aligned, class Layout>
__device__ void store_outputs(TileSums<Layout>& sums,
                              BlockGemmProblem<typename Layout::Scalar> const& problem,
                              BlockPlace<Layout> const& place)
{
  using Sum = typename TileSums<Layout>::Sum;
  if (problem.epilogue.is_linear()) {
    for_each_sum(sums, problem, place, [&](std::int64_t where, Sum(&pair)[2], int channel, bool both) {
      store_pair<ActivationSet::linear, Aligned>(problem, where, pair, channel, both);
    });
    return;
  }
#pragma unroll 1
  for (int i = 0; i < TileSums<Layout>::row_steps; ++i) {
    for_each_sum<Layout>(i, sums.values[0], problem, place,
                         [&](std::int64_t where, Sum(&pair)[2], int channel, bool both) {
                           store_pair<ActivationSet::curved, Aligned>(problem, where, pair, channel, both);
                         });
    sums.shift();
  }
}

/// A block multiplies a tile of gathered rows with the weights of each active offset; see ImplicitGemm.
///
/// Each sum is one chain over offsets, then channels, ascending, from 0 or the sum before; zeros in the place
/// of absent rows and channels change no sum, so a row's result depends on nothing but its neighbours.
/// @tparam Aligned  all rows begin at multiples of 16 bytes
template <class Scalar, MathMode Math, class Tile, bool Aligned>
__global__ void __launch_bounds__(TileLayout<Scalar, Tile>::threads)
    block_gemm_kernel(__grid_constant__ BlockGemmProblem<Scalar> const problem)
{
  using Layout = TileLayout<Scalar, Tile>;
  using Sum = accumulator_t<Scalar>;
  extern __shared__ __align__(16) unsigned char shared_bytes[];
  auto* const shared = reinterpret_cast<Scalar*>(shared_bytes);
  BlockPlace<Layout> const place{problem};

  TileSums<Layout> sums{};
  if (problem.continue_sums) {
    for_each_sum(sums, problem, place, [&](std::int64_t where, Sum(&pair)[2], int, bool both) {
      pair[0] = problem.sums[where];
      if (both) { pair[1] = problem.sums[where + 1]; }
    });
  }

  // Every iteration closes one group, empty or not, so that the number under way tells which have arrived.
  StageLoader<Layout, Aligned> loader{problem, place};
  int loaded = 0;
  for (int stage = 0; stage < Layout::stages - 1; ++stage) {
    if (!loader.done()) {
      loader.load(shared + stage * Layout::stage_size);
      ++loaded;
    }
    close_copies();
  }
  int reading = 0;
  int writing = Layout::stages - 1;
  for (int step = 0; step < loaded; ++step) {
    wait_for_copies<Layout::stages - 2>();
    __syncthreads();  // the stage has arrived for all threads, and all have read the one that is written next
    if (!loader.done()) {
      loader.load(shared + writing * Layout::stage_size);
      ++loaded;
    }
    close_copies();
    TileMultiply<Layout, Math>::run(sums, shared + reading * Layout::stage_size);
    reading = reading + 1 == Layout::stages ? 0 : reading + 1;
    writing = writing + 1 == Layout::stages ? 0 : writing + 1;
  }

  if (problem.sums != nullptr) {
    auto* const out = problem.sums + place.split * problem.num_out * problem.out_channels;
    for_each_sum(sums, problem, place, [&](std::int64_t where, Sum(&pair)[2], int, bool both) {
      write_pair<Aligned>(out + where, pair[0], pair[1], both);
    });
    return;
  }
  store_outputs<Aligned>(sums, problem, place);
}

/// Enqueues one tile map's or pair list's work. A function template of its own, so that common instantiations
/// can be compiled apart with `extern template`.
/// @throws invalid_argument  the tile needs more shared memory than the device has
template <class Scalar, MathMode Math, class Tile, bool Aligned>
void launch_block_gemm(BlockGemmProblem<Scalar> const& problem, Execution<Device> const& exec)
{
  using Layout = TileLayout<Scalar, Tile>;
  if constexpr (Layout::shared_bytes > 48 * 1024) {
    int const limit = device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, exec);
    expects(Layout::shared_bytes <= static_cast<std::size_t>(limit), "convolution: a tile of ", Tile::rows,
            " x ", Tile::channels, " x ", Tile::depth, " with ", Tile::stages, " stages needs ",
            Layout::shared_bytes, " bytes of shared memory, but a block of this device has at most ", limit);
  }
  auto const channel_tiles = ceil_div(problem.out_channels, Tile::channels);
  auto const blocks = problem.num_tiles * problem.splits * channel_tiles;
  expects(blocks <= INT_MAX, "convolution: ", problem.num_tiles, " tiles, ", problem.splits, " splits and ",
          channel_tiles, " blocks of channels are more than one launch can have");
  launch(block_gemm_kernel<Scalar, Math, Tile, Aligned>, dim3(static_cast<unsigned>(blocks)), Layout::threads,
         Layout::shared_bytes, exec, problem);
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
