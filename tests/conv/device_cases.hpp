// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "device_problem.hpp"
#include "device_rule_cases.hpp"

namespace device_cases {
#ifdef __CUDACC__

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
    arguments.more = {tail.data(), shape.num_in, shape.in_channels - first};
    REQUIRE(plan().reads_two_inputs == groups);
    if (groups) { CHECK(same_bits(run(), expected)); }
  }
}

/// Moves input row i to `to[i]`.
template <class Scalar>
Problem<Scalar> with_inputs_moved(Problem<Scalar> const& p, std::vector<std::int32_t> const& to)
{
  auto moved = p;
  auto const cin = static_cast<std::size_t>(p.shape.in_channels);
  for (std::size_t i = 0; i < to.size(); ++i) {
    std::copy_n(p.features.begin() + static_cast<std::ptrdiff_t>(i * cin), cin,
                moved.features.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(to[i]) * cin));
  }
  for (auto& in : moved.map) { in = in < 0 ? -1 : to[static_cast<std::size_t>(in)]; }
  return moved;
}

/// Row i of [rows, width] moved to `to[i]`.
template <class T>
std::vector<T> with_rows_moved(std::vector<T> const& values, std::vector<std::int32_t> const& to, int width)
{
  auto moved = values;
  for (std::size_t i = 0; i < to.size(); ++i) {
    std::copy_n(values.begin() + static_cast<std::ptrdiff_t>(i) * width, width,
                moved.begin() + static_cast<std::ptrdiff_t>(to[i]) * width);
  }
  return moved;
}

template <class Scalar>
void does_not_depend_on_the_order_of_rows(ts::MathMode math = ts::MathMode::exact)
{
  for (auto const& shape :
       {sized({500, 400, 27, 32, 48}), sized({333, 600, 45, 20, 24}), sized({90, 90, 125, 5, 3}),
        sized({400, 300, 27, 40, 96}), sized({300, 350, 27, 64, 232})}) {
    auto const p = random_problem<Scalar>(shape, 21);
    CAPTURE(shape.in_channels);
    Options options;
    options.math = math;
    std::mt19937 random{22};
    std::vector<std::int32_t> inputs(static_cast<std::size_t>(shape.num_in));
    std::iota(inputs.begin(), inputs.end(), 0);
    std::shuffle(inputs.begin(), inputs.end(), random);
    std::vector<std::int32_t> outputs(static_cast<std::size_t>(shape.num_out));
    std::iota(outputs.begin(), outputs.end(), 0);
    std::shuffle(outputs.begin(), outputs.end(), random);
    auto shuffled = with_inputs_moved(p, inputs);
    shuffled.map = with_rows_moved(shuffled.map, outputs, shape.volume);
    for (auto const& way : ways<Scalar>()) {
      CAPTURE(way.name);
      auto const straight = run(p, way, options);
      CHECK(same_bits(with_rows_moved(straight, outputs, shape.out_channels), run(shuffled, way, options)));
    }
  }
}

template <class Scalar>
void keeps_a_nan_where_it_is_read(ts::MathMode math = ts::MathMode::exact)
{
  for (auto const& shape :
       {sized({200, 200, 27, 32, 32}), sized({200, 150, 27, 3, 20}), sized({200, 170, 27, 40, 96}),
        sized({200, 210, 27, 64, 256}), sized({120, 130, 27, 160, 128})}) {
    auto p = random_problem<Scalar>(shape, 31);
    std::int32_t const poisoned = 77;
    p.features[poisoned * static_cast<std::size_t>(shape.in_channels) + 1] =
        rounded<Scalar>(std::numeric_limits<double>::quiet_NaN());
    p.features[(poisoned + 1) * static_cast<std::size_t>(shape.in_channels) - 1] =
        rounded<Scalar>(std::numeric_limits<double>::infinity());
    std::size_t const added = 5;  // of the residual
    p.residual[added] = rounded<Scalar>(std::numeric_limits<double>::quiet_NaN());
    for (auto const activation :
         {ts::Activation::none, ts::Activation::relu, ts::Activation::leaky_relu, ts::Activation::silu}) {
      CAPTURE(static_cast<int>(activation));
      Options options;
      options.math = math;
      options.activation = activation;
      options.residual = activation != ts::Activation::none;
      for (auto const& way : ways<Scalar>()) {
        CAPTURE(way.name);
        auto const output = run(p, way, options);
        std::size_t wrong = 0;
        for (std::size_t i = 0; i < output.size(); ++i) {
          auto const row = p.map.begin() + static_cast<std::ptrdiff_t>(i) / shape.out_channels * shape.volume;
          bool const reads = std::find(row, row + shape.volume, poisoned) != row + shape.volume ||
                             (options.residual && i == added);
          wrong += std::isnan(wide(output[i])) != reads ? 1 : 0;
        }
        CHECK(wrong == 0);
      }
    }
  }
}

template <class Scalar>
void is_the_bias_where_nothing_is_read(ts::MathMode math = ts::MathMode::exact)
{
  for (auto const& way : ways<Scalar>()) {
    CAPTURE(way.name);
    for (bool const bias : {false, true}) {
      Options options;
      options.bias = bias;
      options.math = math;
      // No inputs: features are null.
      for (auto const& shape :
           {Shape{0, 100, 27, 16, 24}, Shape{0, 300, 27, 32, 96}, Shape{0, 300, 27, 64, 256}}) {
        auto p = random_problem<Scalar>(shape, 41);
        auto const output = run(p, way, options);
        REQUIRE(output.size() == static_cast<std::size_t>(shape.num_out * shape.out_channels));
        for (std::size_t i = 0; i < output.size(); ++i) {
          REQUIRE(wide(output[i]) ==
                  (bias ? wide(p.bias[i % static_cast<std::size_t>(shape.out_channels)]) : 0));
          REQUIRE((bias || !std::signbit(wide(output[i]))));
        }
      }
      CHECK(run(random_problem<Scalar>({100, 0, 27, 16, 24}, 42), way, options).empty());
      CHECK(run(random_problem<Scalar>({0, 0, 27, 3, 5}, 43), way, options).empty());
    }
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

#else

// Where there is no nvcc the test cases are still there, and skip themselves before they call these.
struct Half;
struct BFloat16;
enum class Part { whole, few_splits, more_splits };
template <class Scalar>
void equals_the_definition(Part, tessera::MathMode = tessera::MathMode::exact)
{}
template <class Scalar>
void does_not_depend_on_the_order_of_rows(tessera::MathMode = tessera::MathMode::exact)
{}
template <class Scalar>
void keeps_a_nan_where_it_is_read(tessera::MathMode = tessera::MathMode::exact)
{}
template <class Scalar>
void is_the_bias_where_nothing_is_read(tessera::MathMode = tessera::MathMode::exact)
{}
template <class Scalar>
void has_the_same_bits_in_every_tile(tessera::MathMode = tessera::MathMode::exact)
{}
template <class Scalar>
void agrees_with_gather_scatter_on_many_rows()
{}
template <class Scalar>
void reads_the_weight_packed_for_any_number_of_rows()
{}
template <class Scalar>
void applies_the_epilogue(tessera::MathMode = tessera::MathMode::exact)
{}
template <class Scalar>
void reads_two_matrices_as_one(tessera::MathMode = tessera::MathMode::exact)
{}
template <class Scalar>
void equals_the_definition_in_all_tiles(tessera::MathMode = tessera::MathMode::exact)
{}
template <class Scalar>
void takes_the_tiles_asked_for_or_the_next(tessera::MathMode = tessera::MathMode::exact)
{}
template <class Scalar>
void reads_two_matrices_in_the_tiles_asked_for(tessera::MathMode = tessera::MathMode::exact)
{}

#endif

}  // namespace device_cases
