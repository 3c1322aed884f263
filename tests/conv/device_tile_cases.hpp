// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// What every kernel of the device's implicit GEMM is held to, whichever is asked for.

#include "device_problem.hpp"

namespace device_cases {

/// A convolution whose operands lie on the device, in a residual block's epilogue, with any GemmKernel.
template <class Scalar>
class TiledProblem {
 public:
  using Backend = ts::detail::ConvolutionBackend<ts::Device>;
  using Map = ts::KernelMap<ts::Device>;

  TiledProblem(Problem<Scalar> const& p, ts::MathMode math)
      : shape_{p.shape},
        features_{ts::upload(p.features, exec_)},
        weight_{ts::upload(p.weight, exec_)},
        bias_{ts::upload(p.bias, exec_)},
        residual_{ts::upload(p.residual, exec_)},
        entries_{p.map}
  {
    forget_tile_maps();
    arguments_.features = features_.data();
    arguments_.weight = weight_.data();
    arguments_.bias = bias_.data();
    arguments_.in_channels = shape_.in_channels;
    arguments_.out_channels = shape_.out_channels;
    arguments_.math = math;
    arguments_.epilogue.residual = {residual_.data(), shape_.num_out, shape_.out_channels};
    arguments_.epilogue.activation = ts::Activation::relu;
  }

  /// Puts a map of the same entries into the place of the one that keeps its tile maps.
  void forget_tile_maps()
  {
    map_ =
        std::make_unique<Map>(ts::upload(entries_, exec_), shape_.num_in, shape_.num_out, shape_.volume, -1);
  }

  /// Lets every row read itself.
  void let_map_be_identity()
  {
    std::vector<std::int32_t> rows(static_cast<std::size_t>(shape_.num_out));
    std::iota(rows.begin(), rows.end(), 0);
    map_ = std::make_unique<Map>(ts::upload(rows, exec_), shape_.num_in, shape_.num_out, 1, 0);
  }

  [[nodiscard]] ts::detail::KernelPlan plan(ts::GemmKernel kernel, int splits = 1)
  {
    arguments_.kernel = kernel;
    return Backend::plan(arguments_, ts::detail::summary_of(*map_), splits, exec_);
  }

  /// The output in memory that held NaNs before.
  /// @param packs  whether the weight is packed first
  [[nodiscard]] std::vector<Scalar> run(ts::GemmKernel tiles, bool sort, int splits, bool packs)
  {
    arguments_.kernel = tiles;
    ts::detail::PackedWeight<Scalar, ts::Device> packed;
    if (packs) {
      auto const plan = Backend::plan(arguments_, {0, shape_.volume}, 1, exec_);
      packed = ts::detail::pack_weight(plan, ts::detail::weight_of(arguments_, shape_.volume), exec_);
    }
    arguments_.packed = packed.view();
    ts::Buffer<Scalar, ts::Device> output{shape_.num_out * shape_.out_channels, exec_};
    ts::fill_bytes(output, 0xff, exec_);
    arguments_.output = output.data();
    Backend::implicit_gemm<ts::AutoTile>(arguments_, *map_, sort, splits, exec_);
    auto result = ts::download(output, exec_);
    arguments_.output = nullptr;
    arguments_.packed = {};
    return result;
  }

  /// Whether there is a tile map of so many rows per tile; from then on there is, an empty one.
  [[nodiscard]] bool has_tile_map(bool sort, int splits, int rows)
  {
    bool made = false;
    ts::detail::TileMapKey<ts::Device> const key{sort, splits, rows};
    static_cast<void>(ts::detail::access(*map_).cache().get_or_make(key, [&] {
      made = true;
      return std::make_shared<ts::TileMap<ts::Device>>();
    }));
    return !made;
  }

 private:
  ts::Execution<ts::Device> exec_;
  Shape shape_;
  ts::Buffer<Scalar, ts::Device> features_;
  ts::Buffer<Scalar, ts::Device> weight_;
  ts::Buffer<Scalar, ts::Device> bias_;
  ts::Buffer<Scalar, ts::Device> residual_;
  std::vector<std::int32_t> entries_;
  std::unique_ptr<Map> map_;
  ts::ConvolutionArguments<Scalar> arguments_;
};

inline constexpr ts::GemmKernel all_tiles[] = {ts::GemmKernel::automatic, ts::GemmKernel::block,
                                               ts::GemmKernel::warp, ts::GemmKernel::warpgroup,
                                               ts::GemmKernel::warpgroup_pair};

/// Kernels of one voxel, of one too many for a block's lists, of as many offsets as a block copies the rows
/// of at once and more, and channels that some kernels do not take.
inline std::vector<Shape> shapes_for_tiles()
{
  if (test::few_cases()) { return {{90, 70, 27, 96, 96}, {64, 50, 1, 96, 128}, {40, 50, 8, 20, 81}}; }
  return {{200, 230, 27, 96, 96},  {130, 150, 27, 64, 64},  {100, 120, 27, 4, 32},   {90, 130, 8, 20, 81},
          {100, 170, 1, 96, 128},  {140, 130, 1, 96, 19},   {90, 120, 2, 32, 40},    {100, 130, 3, 64, 33},
          {190, 230, 27, 72, 88},  {70, 90, 343, 32, 64},   {60, 50, 27, 128, 256},  {120, 90, 15, 192, 224},
          {200, 230, 31, 128, 96}, {150, 230, 32, 128, 96}, {150, 140, 33, 128, 96}, {90, 140, 31, 64, 256},
          {90, 140, 32, 64, 256}};
}

/// Whatever tiles are asked for: the definition, the same bits from a weight that was laid out for them, and
/// from the tiles that are said to come to the same.
template <class Scalar>
void equals_the_definition_in_all_tiles(ts::MathMode math = ts::MathMode::exact)
{
  unsigned seed = 200;
  for (auto const& full : shapes_for_tiles()) {
    auto const shape = sized(full);
    auto const p = random_problem<Scalar>(shape, ++seed);
    CAPTURE(seed);
    CAPTURE(shape.volume);
    CAPTURE(shape.in_channels);
    CAPTURE(shape.out_channels);
    auto expected = by_definition(p, true, math);
    for (std::size_t i = 0; i < expected.value.size(); ++i) {
      double const x = expected.value[i] + wide(p.residual[i]);
      expected.magnitude[i] += std::abs(wide(p.residual[i]));
      expected.value[i] = std::max(x, 0.0);
    }
    TiledProblem<Scalar> problem{p, math};
    for (int const splits : {1, 3}) {
      CAPTURE(splits);
      for (auto const tiles : all_tiles) {
        CAPTURE(static_cast<int>(tiles));
        auto const output = problem.run(tiles, true, splits, false);
        check_close(output, expected, shape);
        CHECK(same_bits(output, problem.run(tiles, false, splits, false)));
        CHECK(same_bits(output, problem.run(tiles, true, splits, true)));
        auto const used_splits =
            ts::detail::ceil_div(shape.volume, ts::detail::ceil_div(shape.volume, splits));
        auto const how = problem.plan(tiles, used_splits);
        CHECK(how.kernel != ts::GemmKernel::automatic);
        CHECK(problem.plan(how.kernel, used_splits) == how);
        CHECK(same_bits(output, problem.run(how.kernel, true, splits, false)));
        CHECK((how.tile_rows == 0 || how.tile_rows == 16 || how.tile_rows == 32 || how.tile_rows == 64 ||
               how.tile_rows == 128));
        problem.forget_tile_maps();
        CHECK(same_bits(output, problem.run(tiles, true, splits, false)));
        for (int const rows : {16, 32, 64, 128}) {
          CAPTURE(rows);
          CHECK(problem.has_tile_map(true, used_splits, rows) == (rows == how.tile_rows));
        }
        problem.forget_tile_maps();
      }
    }
  }
}

/// Tiles are those that were asked for, or the next that can be.
template <class Scalar>
void takes_the_tiles_asked_for_or_the_next(ts::MathMode math = ts::MathMode::exact)
{
  using Tiles = ts::GemmKernel;
  auto const problem = [&](Shape const& shape) {
    return TiledProblem<Scalar>{random_problem<Scalar>(shape, 300), math};
  };
  auto usual = problem({100, 120, 27, 96, 96});
  bool const groups = usual.plan(Tiles::warpgroup).kernel == Tiles::warpgroup;
  bool const warps = usual.plan(Tiles::warp).kernel == Tiles::warp;
  auto const without_groups = warps ? Tiles::warp : Tiles::block;
  CHECK(usual.plan(Tiles::block).kernel == Tiles::block);
  CHECK(usual.plan(Tiles::warpgroup).kernel == (groups ? Tiles::warpgroup : without_groups));
  CHECK(usual.plan(Tiles::warpgroup_pair).kernel == (groups ? Tiles::warpgroup_pair : without_groups));
  CHECK((sizeof(Scalar) == 2 || !warps));
  CHECK((sizeof(Scalar) == 2 || math == ts::MathMode::tf32 || !groups));

  auto odd = problem({100, 120, 27, 20, 33});  // nothing but tiles of blocks reads these
  for (auto const tiles : all_tiles) { CHECK(odd.plan(tiles).kernel == Tiles::block); }

  auto one_offset = problem({120, 120, 1, 96, 96});  // nothing to share
  auto const alone = groups ? Tiles::warpgroup : without_groups;
  CHECK(one_offset.plan(Tiles::warpgroup_pair).kernel == alone);
  one_offset.let_map_be_identity();
  CHECK((one_offset.plan(Tiles::warpgroup).tile_rows == 0) == groups);
  CHECK(one_offset.plan(Tiles::block).tile_rows > 0);

  auto two_offsets = problem({100, 120, 2, 96, 96});
  CHECK(two_offsets.plan(Tiles::warpgroup_pair).kernel == (groups ? Tiles::warpgroup_pair : without_groups));
  CHECK(two_offsets.plan(Tiles::warpgroup_pair, 2).kernel == alone);

  auto many_offsets = problem({50, 40, 343, 32, 64});  // no block holds all of their lists
  CHECK(many_offsets.plan(Tiles::warpgroup).kernel == (groups ? Tiles::warpgroup_pair : without_groups));
}

/// The input channels from two matrices are taken where the kernel asked for does, and give the bits that
/// they give side by side.
template <class Scalar>
void reads_two_matrices_in_the_tiles_asked_for(ts::MathMode math = ts::MathMode::exact)
{
  ts::Execution<ts::Device> const exec;
  using Backend = ts::detail::ConvolutionBackend<ts::Device>;
  auto const shape = sized({200, 230, 27, 160, 104});
  int const first = shape.in_channels / 2 / 32 * 32;
  auto const p = random_problem<Scalar>(shape, 91);
  auto const parts = first_and_other_channels(p.features, shape.in_channels, first);
  auto const whole = ts::upload(p.features, exec);
  auto const head = ts::upload(parts[0], exec);
  auto const tail = ts::upload(parts[1], exec);
  auto const weight = ts::upload(p.weight, exec);
  ts::KernelMap<ts::Device> map{ts::upload(p.map, exec), shape.num_in, shape.num_out, shape.volume, -1};
  for (auto const tiles : all_tiles) {
    CAPTURE(static_cast<int>(tiles));
    ts::ConvolutionArguments<Scalar> arguments;
    arguments.weight = weight.data();
    arguments.in_channels = shape.in_channels;
    arguments.out_channels = shape.out_channels;
    arguments.math = math;
    arguments.kernel = tiles;
    arguments.features = whole.data();
    auto const run = [&] {
      ts::Buffer<Scalar, ts::Device> output{shape.num_out * shape.out_channels, exec};
      ts::fill_bytes(output, 0xff, exec);
      arguments.output = output.data();
      Backend::implicit_gemm<ts::AutoTile>(arguments, map, true, 1, exec);
      return ts::download(output, exec);
    };
    auto const expected = run();
    auto const plan = [&] { return Backend::plan(arguments, ts::detail::summary_of(map), 1, exec); };
    auto const kernel = plan().kernel;
    bool const groups = kernel == ts::GemmKernel::warpgroup || kernel == ts::GemmKernel::warpgroup_pair;
    arguments.features = head.data();
    arguments.second_features = {tail.data(), shape.num_in, shape.in_channels - first};
    REQUIRE(plan().reads_two_inputs == groups);
    if (groups) { CHECK(same_bits(run(), expected)); }
  }
}

template <class Scalar>
void has_the_same_bits_in_every_tile(ts::MathMode math = ts::MathMode::exact)
{
  for (auto const& shape : {sized({400, 500, 27, 64, 160}), sized({300, 300, 27, 20, 81})}) {
    auto const p = random_problem<Scalar>(shape, 51);
    Options options;
    options.math = math;
    Way<Scalar> const tiles[] = {
        way<Scalar, ts::ImplicitGemm<true, 1, ts::Tile<32, 48, 16, 2>>>("32 x 48 x 16, 2"),
        way<Scalar, ts::ImplicitGemm<false, 1, ts::Tile<64, 16, 48, 2>>>("64 x 16 x 48, 2"),
        way<Scalar, ts::ImplicitGemm<true, 1, ts::Tile<128, 80, 32, 3>>>("128 x 80 x 32, 3"),
        way<Scalar, ts::ImplicitGemm<true, 1, ts::Tile<128, 128, 16, 4>>>("128 x 128 x 16, 4")};
    auto const expected = run(p, tiles[0], options);
    for (auto const& tile : tiles) {
      CAPTURE(tile.name);
      CHECK(same_bits(run(p, tile, options), expected));
    }
    if (sizeof(Scalar) > 2 && math == ts::MathMode::exact) {
      CHECK(same_bits(run(p, way<Scalar, ts::ConvMode<1>>("mode 1"), options), expected));
    }
  }
}

/// Sizes for which shapes of blocks are chosen that small problems never reach; held against another
/// dataflow.
template <class Scalar>
void agrees_with_gather_scatter_on_many_rows()
{
  for (auto const& shape : {Shape{140000, 140000, 3, 64, 136}, Shape{140000, 140000, 2, 128, 96}}) {
    auto const p = random_problem<Scalar>(shape, 61);
    CAPTURE(shape.out_channels);
    Options const options;
    auto const expected = run(p, way<Scalar, ts::GatherScatter>("gather-scatter"), options);
    auto const output = run(p, way<Scalar, ts::ConvMode<1>>("mode 1"), options);
    double worst = 0;
    for (std::size_t i = 0; i < output.size(); ++i) {
      double const error = std::abs(wide(output[i]) - wide(expected[i]));
      worst = std::max(worst, std::isnan(error) ? 1e9 : error / (std::abs(wide(expected[i])) + 0.01));
    }
    CHECK(worst <= 2.1 * result_error<Scalar>());  // each was rounded once
  }
}

/// The warp kernel's shape for many rows reads the weight that is packed before the rows are known: with two
/// and three blocks of channels, even and odd numbers of chunks.
template <class Scalar>
void reads_the_weight_packed_for_any_number_of_rows()
{
  for (auto const& shape : {Shape{132000, 132000, 2, 64, 136}, Shape{132000, 132000, 2, 96, 256},
                            Shape{132000, 132000, 2, 160, 384}, Shape{132000, 132000, 3, 128, 200}}) {
    CAPTURE(shape.in_channels);
    CAPTURE(shape.out_channels);
    TiledProblem<Scalar> problem{random_problem<Scalar>(shape, 63), ts::MathMode::exact};
    auto const expected = problem.run(ts::GemmKernel::block, true, 1, false);
    auto const output = problem.run(ts::GemmKernel::warp, true, 1, false);
    double worst = 0;
    for (std::size_t i = 0; i < output.size(); ++i) {
      double const error = std::abs(wide(output[i]) - wide(expected[i]));
      worst = std::max(worst, std::isnan(error) ? 1e9 : error / (std::abs(wide(expected[i])) + 0.01));
    }
    CHECK(worst <= 2.1 * result_error<Scalar>());  // each was rounded once
    CHECK(same_bits(output, problem.run(ts::GemmKernel::warp, true, 1, true)));
    if (problem.plan(ts::GemmKernel::warp).kernel == ts::GemmKernel::warp) {
      CHECK(problem.plan(ts::GemmKernel::warp).shape == ts::detail::warp_shape::large);
    }
  }
}

}  // namespace device_cases
