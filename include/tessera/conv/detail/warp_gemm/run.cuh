// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/arguments.hpp>
#include <tessera/conv/detail/kernel_presence.cuh>
#include <tessera/conv/detail/warp_gemm/kernel.cuh>
#include <tessera/conv/detail/warp_gemm/pack.cuh>
#include <tessera/conv/detail/warpgroup_gemm/run.cuh>
#include <tessera/core/sort.cuh>
#include <tessera/kmap/tile_map.hpp>

#include <algorithm>
#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Whether this program holds code of the shape's kernel that the device runs: compiled for sm_90 or newer.
template <class Shape>
[[nodiscard]] bool has_warp_gemm(Execution<Device> const& exec)
{
  return has_kernel<warp_gemm_kernel<Shape>>(
      exec, [](cudaFuncAttributes const& attributes) { return attributes.ptxVersion >= 90; });
}

/// How a shape carries out a convolution.
struct WarpGemmConfig {
  PackedLayout layout;
  int stage_chunks = 1;
  int stages = 1;
  std::size_t shared_bytes = 0;
};

/// The configuration of `Shape` for offsets [0, volume), or one of more shared memory than a block may have.
template <class Shape>
[[nodiscard]] WarpGemmConfig configure(int volume, int in_channels, int out_channels,
                                       std::size_t shared_limit)
{
  WarpGemmConfig config;
  auto& layout = config.layout;
  layout.volume = volume;
  layout.in_channels = in_channels;
  layout.out_channels = out_channels;
  layout.pack = Shape::pack;
  layout.block_channels = Shape::block_channels;
  layout.dealt = Shape::dealt;
  auto const steps = ceil_div(ceil_div(in_channels, 32), Shape::step_chunks);
  layout.chunks_per_offset = Shape::pack > 1 ? 1 : steps * Shape::step_chunks;
  constexpr std::size_t chunk_bytes = Shape::chunk_size * sizeof(typename Shape::Scalar);
  if constexpr (Shape::resident) {
    config.shared_bytes =
        static_cast<std::size_t>(layout.packed_offsets()) *
            (static_cast<std::size_t>(layout.chunks_per_offset) * chunk_bytes + sizeof(SharedBarrier)) +
        sizeof(int);
  } else {
    constexpr std::size_t most_bytes = 32 * 1024;  // of a stage
    config.stage_chunks = Shape::step_chunks;
    for (int n = 2; n <= steps; ++n) {
      bool const fits = n * Shape::step_chunks * chunk_bytes <= most_bytes;
      if (steps % n == 0 && fits) { config.stage_chunks = n * Shape::step_chunks; }
    }
    auto const stage_bytes =
        static_cast<std::size_t>(config.stage_chunks) * chunk_bytes + 2 * sizeof(SharedBarrier);
    auto const most_stages = std::min(shared_limit, Shape::shared_bytes) / stage_bytes;
    config.stages = static_cast<int>(std::clamp<std::size_t>(most_stages, 2, 8));
    config.shared_bytes = static_cast<std::size_t>(config.stages) * stage_bytes;
  }
  return config;
}

/// One split of a convolution by the warp kernel.
template <class Shape, class Scalar>
void launch_warp_gemm(WarpGemmProblem<Scalar> problem, WarpGemmConfig const& config, Scalar const* weight,
                      PackedWeightView<Scalar> const& given, KernelMap<Device> const& map,
                      Execution<Device> const& exec)
{
  auto const& layout = config.layout;
  Buffer<Scalar, Device> own;
  problem.packed = packed_weight(given, layout, own, exec, [&](Scalar* to) {
    for_each(layout.size() / 8, PackWeight<Scalar>{weight, to, layout}, exec);
  });
  problem.in_channels = layout.in_channels;
  problem.out_channels = layout.out_channels;
  problem.chunks_per_offset = layout.chunks_per_offset;
  problem.packed_offsets = layout.packed_offsets();
  problem.stage_chunks = config.stage_chunks;
  problem.stages = config.stages;
  auto const tiles = ceil_div(problem.num_pieces, Shape::row_steps * Shape::row_warps);
  auto blocks = tiles;
  if constexpr (Shape::resident) {
    auto const places = device_attribute(cudaDevAttrMultiProcessorCount, exec) * Shape::min_blocks;
    blocks = std::min(tiles, std::max(1, places / layout.channel_blocks()));
  }
  launch({1, may_overlap(map, !own.empty(), exec)}, warp_gemm_kernel<Shape>,
         dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(layout.channel_blocks())), Shape::threads,
         config.shared_bytes, exec, problem);
}

/// What the choice of a shape depends on.
struct WarpGemmTask {
  int volume = 1;  // of a split
  int in_channels = 0;
  int out_channels = 0;
  std::int64_t num_out = 0;
  std::size_t shared_limit = 0;  // of a block
};

/// The shapes of 16-bit scalars; all give the same bits. Times are microseconds of one 3x3x3 layer from C to
/// C channels on a LiDAR scan of 94,444 voxels at 5 cm, on an H100, ten in a graph, weights packed; in
/// brackets those of the kernel with copies of 16 bytes (Tile) in the same run.
template <class Scalar>
struct WarpShapes {
  using narrow_quads = WarpShape<Scalar, 1, 16, 16, 1, 1, 2, true, 2, 4>;
  using quads = WarpShape<Scalar, 1, 32, 16, 1, 1, 4, true, 1, 4>;          // 4 to 32 channels: 18.7 (43.4)
  using wide_quads = WarpShape<Scalar, 1, 64, 16, 1, 1, 2, true, 1, 4>;     // not timed by itself
  using narrow_packed = WarpShape<Scalar, 1, 16, 16, 1, 1, 2, true, 2, 2>;  // C 16: 14.6 (19.4)
  using packed = WarpShape<Scalar, 1, 32, 16, 1, 1, 4, true, 1, 2>;
  using narrow = WarpShape<Scalar, 1, 32, 16, 1, 1, 4, true, 1, 1>;  // C 32: 17.3 (25.1)
  using medium =
      WarpShape<Scalar, 1, 64, 16, 1, 2, 1, true, 1, 1>;  // C 64: 24.4 (35.6); 68,841 rows: 25.0 (40.0)
  using staged = WarpShape<Scalar, 1, 64, 4, 1, 2, 1, false, 4, 1>;  // C 64: 30.2
  using broad = WarpShape<Scalar, 1, 96, 4, 1, 3, 1, false, 3, 1>;
  using wide = WarpShape<Scalar, 1, 128, 4, 1, 2, 1, false, 3, 1>;   // C 128: 69.8 (87.1)
  using deep = WarpShape<Scalar, 1, 128, 4, 1, 4, 1, false, 2, 1>;   // C 256: 212 (273); 9,504 rows: 91 (111)
  using large = WarpShape<Scalar, 2, 128, 4, 2, 1, 2, false, 1, 1>;  // C 256 on 252,392 rows: 1522 (2111)
};

/// Calls `body(shape, config)` with the shape for the task; false if there is none.
template <class Scalar, class Body>
[[nodiscard]] bool with_warp_shape(WarpGemmTask const& task, Body const& body)
{
  using Shapes = WarpShapes<Scalar>;
  auto const run = [&](auto shape) {
    auto const config =
        configure<decltype(shape)>(task.volume, task.in_channels, task.out_channels, task.shared_limit);
    if (config.shared_bytes > task.shared_limit) { return false; }
    return body(shape, config);
  };
  int const in = task.in_channels;
  int const out = task.out_channels;
  if (in <= 8) {
    if (out > 32 && run(typename Shapes::wide_quads{})) { return true; }
    return out <= 16 ? run(typename Shapes::narrow_quads{}) : run(typename Shapes::quads{});
  }
  if (in <= 16) { return out <= 16 ? run(typename Shapes::narrow_packed{}) : run(typename Shapes::packed{}); }
  auto const chunks = ceil_div(in, 32);
  if (chunks % 2 == 0 && out > 32 && out <= 64 && run(typename Shapes::medium{})) { return true; }
  if ((out <= 32 || chunks == 1) && run(typename Shapes::narrow{})) { return true; }
  if (out <= 64) { return run(typename Shapes::staged{}); }
  if (out <= 96 && chunks % 3 == 0) { return run(typename Shapes::broad{}); }
  constexpr std::int64_t many = 128 * 1024;
  if (task.num_out > many && out > 128 && run(typename Shapes::large{})) { return true; }
  if (chunks % 4 == 0 && run(typename Shapes::deep{})) { return true; }
  return run(typename Shapes::wide{});
}

template <class Scalar>
[[nodiscard]] WarpGemmTask warp_gemm_task(ConvolutionArguments<Scalar> const& arguments, int volume,
                                          std::int64_t num_out, Execution<Device> const& exec)
{
  WarpGemmTask task;
  task.volume = volume;
  task.in_channels = arguments.in_channels;
  task.out_channels = arguments.out_channels;
  task.num_out = num_out;
  task.shared_limit =
      static_cast<std::size_t>(device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, exec));
  return task;
}

/// Whether the warp kernel reads the operands as they are.
template <class Scalar>
[[nodiscard]] bool takes_warp_operands(ConvolutionArguments<Scalar> const& arguments, std::int64_t num_out)
{
  bool const few = arguments.in_channels <= 8;
  return (arguments.in_channels % 8 == 0 || few) && arguments.out_channels % 8 == 0 &&
         arguments.more.data == nullptr && is_aligned(arguments.features) && is_aligned(arguments.output) &&
         is_aligned(arguments.bias) && is_aligned(arguments.epilogue.residual.data) &&
         num_out <= INT32_MAX - piece_rows;
}

/// Carries out a convolution of 16-bit scalars by the warp kernel, where the device and the operands allow
/// it.
/// @param make_sums  called with the number of splits when sums are stored: where they go, [splits, num_out,
/// out]
/// Stream: enqueues a kernel a split, one more where the weight is not laid out yet, and the tile map's the
/// first time. Does not wait.
template <class Scalar, class MakeSums>
[[nodiscard]] bool run_warp_gemm(ConvolutionArguments<Scalar> const& arguments, KernelMap<Device>& map,
                                 bool sort, int splits, Execution<Device> const& exec,
                                 MakeSums const& make_sums)
{
  if (!takes_warp_operands(arguments, map.num_out())) { return false; }
  auto const task = warp_gemm_task(arguments, ceil_div(map.volume(), splits), map.num_out(), exec);
  return with_warp_shape<Scalar>(task, [&](auto shape, WarpGemmConfig const& whole) {
    using Shape = decltype(shape);
    if (!has_warp_gemm<Shape>(exec)) { return false; }
    auto const tiles = tile_map(map, sort, splits, piece_rows, exec);
    auto const length = tiles->split_length;
    bool const to_sums = splits > 1 || arguments.epilogue.activation == Activation::silu;
    float* const sums = to_sums ? make_sums(splits) : nullptr;
    for (int split = 0; split < splits; ++split) {
      auto config = whole;
      config.layout.volume = std::min(length, map.volume() - split * length);
      WarpGemmProblem<Scalar> problem;
      problem.features = arguments.features;
      problem.bias = arguments.bias;
      problem.output = arguments.output;
      problem.residual = arguments.epilogue.residual.data;
      problem.slope = slope_of(arguments.epilogue);
      problem.sums = to_sums ? sums + split * map.num_out() * arguments.out_channels : nullptr;
      problem.num_pieces = static_cast<int>(tiles->num_tiles);
      auto const first_piece = split * tiles->num_tiles;
      problem.map = tiles->map.data() + first_piece * length * piece_rows;
      problem.order = tiles->order.data() + first_piece * piece_rows;
      problem.masks = tiles->masks.data() + first_piece * tiles->words;
      problem.split_length = length;
      problem.words = tiles->words;
      auto const first_weight = std::int64_t{split} * length * arguments.in_channels * arguments.out_channels;
      launch_warp_gemm<Shape>(problem, config, arguments.weight + first_weight,
                              splits > 1 ? PackedWeightView<Scalar>{} : arguments.packed, map, exec);
    }
    return true;
  });
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
