// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/detail/backend.hpp>
#include <tessera/conv/detail/group_gemm_kernel.cuh>
#include <tessera/conv/detail/kernel_presence.cuh>
#include <tessera/kmap/tile_map.hpp>

#include <algorithm>
#include <climits>
#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Whether this program holds code of the shape's kernel that the device runs: compiled for sm_90a.
template <class Shape>
[[nodiscard]] bool has_group_gemm(Execution<Device> const& exec)
{
  return has_kernel<group_gemm_kernel<Shape>>(exec, [](cudaFuncAttributes const& attributes) {
    return attributes.ptxVersion >= 90 && attributes.sharedSizeBytes == 0;
  });
}

/// How a shape carries out a convolution.
struct GroupGemmConfig {
  GroupLayout layout;
  int few_tiles = 0;  // see GroupGemmProblem
  int stages = 3;
  std::size_t shared_bytes = 0;
};

/// The configuration of `Shape`, or one of more shared memory than a block may have.
template <class Shape>
[[nodiscard]] GroupGemmConfig configure_group(int volume, int in_channels, int out_channels, TileChoice tiles,
                                              std::size_t shared_limit)
{
  constexpr int long_kernel = 16;  // offsets from which two blocks may share a tile's
  constexpr std::size_t most_stages = 8;
  GroupGemmConfig config;
  auto& layout = config.layout;
  layout.volume = volume;
  layout.in_channels = in_channels;
  layout.out_channels = out_channels;
  layout.columns = Shape::columns;
  layout.depth = Shape::depth;
  layout.chunk_channels = group_chunk_channels<typename Shape::Scalar>;
  constexpr std::size_t least_stages = 3;
  config.few_tiles = volume >= long_kernel && tiles != TileChoice::warpgroup ? Shape::few_tiles : 0;
  if (tiles == TileChoice::warpgroup_pair) { config.few_tiles = volume > 1 ? INT_MAX : 0; }
  auto tile = config.few_tiles == INT_MAX ? Shape::shared_tile_bytes(volume)
                                          : Shape::tile_bytes(volume, config.few_tiles > 0);
  constexpr std::size_t stage = Shape::stage_size + 2 * sizeof(SharedBarrier);
  auto const room = std::min(shared_limit, Shape::shared_bytes);
  if (volume >= long_kernel && tile + least_stages * stage > room) {  // the lists of all offsets are too long
    config.few_tiles = INT_MAX;
    tile = Shape::shared_tile_bytes(volume);
  }
  auto const fitting = room > tile ? (room - tile) / stage : 0;
  config.stages = static_cast<int>(std::clamp(fitting, least_stages, most_stages));
  config.shared_bytes = static_cast<std::size_t>(config.stages) * stage + tile;
  return config;
}

/// Calls `body(shape)` with the shape for so many output channels and chunks. Times are microseconds of one
/// 3x3x3 layer of half features at the levels of a LiDAR scan, weights packed, with a residual, on an H100,
/// two blocks a tile; in brackets those of the warp kernel.
template <class Scalar, class Body>
[[nodiscard]] bool with_group_shape(int out_channels, int chunks, Body const& body)
{
  // Chunks read ahead hide the memory's latency, so the last of an odd number are filled up with zeros.
  bool const in_fours = chunks % 4 == 0 || (chunks % 4 == 3 && chunks % 3 != 0);
  auto const with_depth = [&](auto columns) {
    constexpr int n = decltype(columns)::value;
    if (in_fours) { return body(GroupShape<Scalar, n, n, 2, 4, 2>{}); }
    if (chunks == 1) { return body(GroupShape<Scalar, n, n, 2, 1, 2>{}); }
    return chunks % 3 != 0 && chunks % 2 == 0 ? body(GroupShape<Scalar, n, n, 2, 2, 2>{})
                                              : body(GroupShape<Scalar, n, n, 2, 3, 2>{});
  };
  if (out_channels <= 64) { return with_depth(std::integral_constant<int, 64>{}); }
  if (out_channels <= 96 || (out_channels > 128 && out_channels <= 192)) {
    return with_depth(std::integral_constant<int, 96>{});  // 94,590 rows C 96: 58 (72); 68,867 rows: 51 (66)
  }
  if (out_channels <= 128) {
    if (chunks == 1) { return body(GroupShape<Scalar, 128, 128, 3, 1, 1>{}); }
    return chunks % 3 == 0 && chunks % 2 != 0
               ? body(GroupShape<Scalar, 128, 128, 3, 3, 1>{})
               : body(GroupShape<Scalar, 128, 128, 2, 2, 2>{});  // 41,983 rows C 128: 52 (74), as above 60;
                                                                 // 21,458 rows: 32 (51)
  }
  // deeper ones leave no registers for products that overlap; 21,458 rows C 256: 99 (143); 9,505 rows: 51
  // (94)
  if (chunks == 1) { return body(GroupShape<Scalar, 256, 128, 2, 1, 1>{}); }
  return in_fours ? body(GroupShape<Scalar, 256, 128, 2, 4, 1>{})
                  : body(GroupShape<Scalar, 256, 128, 2, 3, 1>{});
}

/// A weight as `layout` says: `given`, if it is that already, else laid out into `own`.
template <class Scalar, class Layout, class Pack>
[[nodiscard]] Scalar const* packed_weight(PackedWeightView<Scalar> const& given, Layout const& layout,
                                          Buffer<Scalar, Device>& own, Execution<Device> const& exec,
                                          Pack const& pack)
{
  if (given.values != nullptr && given.layout == layout.key()) { return given.values; }
  own = Buffer<Scalar, Device>{layout.size(), exec};
  pack(own.data());
  return own.data();
}

template <class Scalar>
void pack_group_weight(Scalar const* weight, Scalar* packed, GroupLayout const& layout,
                       Execution<Device> const& exec)
{
  constexpr std::int64_t elements = 16 / static_cast<std::int64_t>(sizeof(Scalar));
  for_each(layout.size() / elements, PackGroupWeight<Scalar>{weight, packed, layout}, exec);
}

/// Whether a convolution's kernel may begin while the one before still runs: it reads its map, weight and
/// bias before it waits. So the map must come from a side that the stream waited for before an earlier
/// kernel, and the weight from a layer that keeps it.
[[nodiscard]] inline bool may_overlap(KernelMap<Device> const& map, bool packs_weight,
                                      Execution<Device> const& exec)
{
  return CUDART_VERSION >= 12030 && exec.sides() != nullptr && exec.sides()->may_overlap() && !packs_weight &&
         map.parts().side.streams == exec.sides();
}

/// The slope below 0 that stands for an activation in kernels: 0 of relu, 1 of none.
template <class Scalar>
[[nodiscard]] float slope_of(Epilogue<Scalar> const& epilogue)
{
  if (epilogue.activation == Activation::relu) { return 0.0F; }
  return epilogue.activation == Activation::leaky_relu ? epilogue.slope : 1.0F;
}

/// Calls `body(shape, shared_limit)` if a convolution of `volume` offsets in a split can be carried out by
/// warpgroups.
template <class Scalar, class Body>
[[nodiscard]] bool with_group_gemm(ConvolutionArguments<Scalar> const& arguments, int volume,
                                   Execution<Device> const& exec, Body const& body)
{
  constexpr int chunk = group_chunk_channels<Scalar>;
  auto const first = arguments.in_channels - static_cast<int>(arguments.more.columns);
  bool const has_more = arguments.more.data != nullptr;
  if (arguments.in_channels % chunk != 0 || !is_aligned(arguments.features) || volume > UINT16_MAX ||
      (has_more && (first % chunk != 0 || !is_aligned(arguments.more.data)))) {
    return false;
  }
  auto const limit =
      static_cast<std::size_t>(device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, exec));
  return with_group_shape<Scalar>(arguments.out_channels, arguments.in_channels / chunk, [&](auto shape) {
    using Shape = decltype(shape);
    auto const config =
        configure_group<Shape>(volume, arguments.in_channels, arguments.out_channels, arguments.tiles, limit);
    if (config.shared_bytes > limit || !has_group_gemm<Shape>(exec)) { return false; }
    return body(shape, limit);
  });
}

/// Whether the warpgroups' kernel is the one for a convolution that it could carry out: it is not for few
/// channels of 16 bits, where another keeps the whole weight in shared memory.
template <class Scalar>
[[nodiscard]] bool prefers_group_gemm(ConvolutionArguments<Scalar> const& arguments, int volume)
{
  constexpr int few_channels = 64;  // up to these the warp kernel keeps the whole weight in shared memory
  if constexpr (sizeof(Scalar) == 4) {
    return arguments.math == MathMode::tf32;
  } else {
    return volume == 1 || arguments.out_channels > few_channels || arguments.out_channels % 8 != 0;
  }
}

/// Which offsets rank 0 has where two blocks share a tile: every other one from the commonest to the rarest,
/// so that both have about as many of a tile's. Whole halves leave one to wait for the other: of a LiDAR
/// scan's tiles of 128 rows the one with more has 1.14 to 1.27 times their mean, of these 1.06 to 1.22 times.
[[nodiscard]] inline std::uint32_t rank_bits(OffsetOrder const& order, int volume)
{
  std::uint32_t bits = 0;
  for (int place = 0; place < volume; place += 2) { bits |= std::uint32_t{1} << order.offset_at[place]; }
  return bits;
}

/// Enqueues one split of a convolution.
/// @param overlaps  see may_overlap()
template <class Shape>
void launch_group_gemm(GroupGemmProblem<typename Shape::Scalar> problem, GroupGemmConfig const& config,
                       bool overlaps, Execution<Device> const& exec)
{
  auto const& layout = config.layout;
  problem.volume = layout.volume;
  problem.rank_volume = ceil_div(layout.volume, 2);
  problem.few_tiles = config.few_tiles;
  problem.out_channels = layout.out_channels;
  problem.used_chunks = layout.used_chunks();
  problem.chunks = layout.chunks();
  problem.stages = config.stages;
  auto const tiles = ceil_div(problem.num_pieces, Shape::pieces);
  auto const channel_blocks = layout.channel_blocks();
  auto const most_shared = std::min(tiles, config.few_tiles / channel_blocks);
  // There are few whatever the device knows: blocks need not wait to read it.
  if (most_shared == tiles || config.few_tiles == 0) { problem.count = nullptr; }
  // Where only the device knows, the grid is enough for either way.
  bool const may_share = problem.count != nullptr || problem.shares(tiles, channel_blocks);
  auto const blocks = may_share ? std::max(2 * most_shared, (tiles + 1) / 2 * 2) : tiles;
  launch({may_share ? 2 : 1, overlaps}, group_gemm_kernel<Shape>,
         dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(channel_blocks)), Shape::threads,
         config.shared_bytes, exec, problem);
}

/// Carries out a convolution by warpgroups, where the device and the operands allow it. A kernel of one voxel
/// needs no tile map.
/// @param make_sums  called with the number of splits when sums are stored: where they go, [splits, num_out,
/// out]
/// Stream: enqueues a kernel a split, one more where the weight is not packed, and the tile map's the first
/// time. Does not wait.
template <class Scalar, class MakeSums>
[[nodiscard]] bool run_group_gemm(ConvolutionArguments<Scalar> const& arguments, KernelMap<Device>& map,
                                  bool sort, int splits, Execution<Device> const& exec,
                                  MakeSums const& make_sums)
{
  if (map.num_out() > INT_MAX - 1024) { return false; }
  bool const to_sums = splits > 1 || arguments.epilogue.activation == Activation::silu;
  return with_group_gemm(arguments, ceil_div(map.volume(), splits), exec, [&](auto shape, std::size_t limit) {
    using Shape = decltype(shape);
    auto const more = static_cast<int>(arguments.more.columns);
    GroupGemmProblem<Scalar> problem;
    problem.features[0] = arguments.features;
    problem.features[1] = arguments.more.data;
    problem.in_channels[0] = arguments.in_channels - more;
    problem.in_channels[1] = more;
    problem.first_chunks = ceil_div(problem.in_channels[0], group_chunk_channels<Scalar>);
    problem.bias = arguments.bias;
    problem.output = arguments.output;
    problem.residual = arguments.epilogue.residual.data;
    problem.slope = slope_of(arguments.epilogue);
    problem.whole_packs = arguments.out_channels % 8 == 0 && is_aligned(arguments.output) &&
                          is_aligned(arguments.bias) && is_aligned(arguments.epilogue.residual.data);
    problem.num_out = static_cast<int>(map.num_out());
    problem.count = map.parts().out_count;
    float* const sums = to_sums ? make_sums(splits) : nullptr;
    auto const run = [&](int volume, std::int64_t first_weight) {
      auto const config = configure_group<Shape>(volume, arguments.in_channels, arguments.out_channels,
                                                 arguments.tiles, limit);
      Buffer<Scalar, Device> own;
      auto const given = splits > 1 ? PackedWeightView<Scalar>{} : arguments.packed;
      problem.packed = packed_weight(given, config.layout, own, exec, [&](Scalar* to) {
        pack_group_weight(arguments.weight + first_weight, to, config.layout, exec);
      });
      launch_group_gemm<Shape>(problem, config, may_overlap(map, !own.empty(), exec), exec);
    };
    if (map.is_identity()) {
      problem.identity = map.pinned_out_in(exec);
      problem.num_pieces = ceil_div(problem.num_out, piece_rows);
      problem.sums = sums;
      run(1, 0);
      return true;
    }
    auto const tiles = tile_map(map, sort, splits, piece_rows, exec);
    auto const length = tiles->split_length;
    problem.num_pieces = static_cast<int>(tiles->num_tiles);
    problem.map_length = length;
    problem.words = tiles->words;
    if (splits == 1 && map.volume() <= OffsetOrder::most) {
      problem.rank_bits = rank_bits(map.parts().offset_order, map.volume());
    }
    for (int split = 0; split < splits; ++split) {
      if (sums != nullptr) { problem.sums = sums + split * map.num_out() * arguments.out_channels; }
      auto const first_piece = split * tiles->num_tiles;
      problem.map = tiles->map.data() + first_piece * length * piece_rows;
      problem.order = tiles->order.data() + first_piece * piece_rows;
      problem.masks = tiles->masks.data() + first_piece * tiles->words;
      run(std::min(length, map.volume() - split * length),
          std::int64_t{split} * length * arguments.in_channels * arguments.out_channels);
    }
    return true;
  });
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
