// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// What the tests of the device's convolution share: random problems, the definition in nested loops, and the
// checks, which device_<scalar>_test.cpp run for one scalar each.

#include "../support/small.hpp"
#include "../support/spaces.hpp"

#include <tessera/conv/policies.hpp>
#ifdef __CUDACC__
#include <tessera/conv/detail/convolution_device.cuh>
#endif

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace device_cases {

#ifdef __CUDACC__

namespace ts = tessera;

using Half = __half;
using BFloat16 = __nv_bfloat16;

template <class Scalar>
Scalar rounded(double value)
{
  if constexpr (std::is_same_v<Scalar, __half>) {
    return __double2half(value);
  } else if constexpr (std::is_same_v<Scalar, __nv_bfloat16>) {
    return __double2bfloat16(value);
  } else {
    return static_cast<Scalar>(value);
  }
}
inline double wide(__half value)
{
  return double{__half2float(value)};
}
inline double wide(__nv_bfloat16 value)
{
  return double{__bfloat162float(value)};
}
inline double wide(double value)
{
  return value;
}

/// `value` rounded to 10 bits of mantissa, to nearest, halves away from zero.
inline float tf32(float value)
{
  auto const bits = ts::detail::bit_cast<std::uint32_t>(value);
  return ts::detail::bit_cast<float>((bits + 0x1000U) & ~0x1fffU);
}

struct Shape {
  std::int64_t num_in;
  std::int64_t num_out;
  int volume;
  int in_channels;
  int out_channels;
};

/// `shape`, or what is left of it in a test of small sets: tiles are still cut at every border.
inline Shape sized(Shape shape)
{
  if (!test::small_sets()) { return shape; }
  auto const rows = [](std::int64_t count) { return count > 150 ? 100 + count % 50 : count; };
  auto const channels = [](int count) { return count > 96 && count % 64 == 0 ? 64 : count; };
  auto const out_channels = [](int count) {
    return count > 192 ? 200 : count > 96 ? 104 + count % 16 : count;
  };
  return {rows(shape.num_in), rows(shape.num_out), shape.volume, channels(shape.in_channels),
          out_channels(shape.out_channels)};
}

/// A convolution on the host: `map` is [num_out, volume]. Values are multiples of a scalar's own precision.
template <class Scalar>
struct Problem {
  Shape shape{};
  std::vector<std::int32_t> map;
  std::vector<Scalar> features;
  std::vector<Scalar> weight;
  std::vector<Scalar> bias;
  std::vector<Scalar> residual;  // [num_out, out_channels]
};

/// Random, with a share of neighbours that differs by offset, rows without any, and every offset used at most
/// once by an input row, as in a real map.
template <class Scalar>
Problem<Scalar> random_problem(Shape const& shape, unsigned seed)
{
  std::mt19937 random{seed};
  std::uniform_real_distribution<double> value{-1, 1};
  Problem<Scalar> p;
  p.shape = shape;
  auto const fill = [&](std::int64_t size, double scale) {
    std::vector<Scalar> values(static_cast<std::size_t>(size));
    for (auto& v : values) { v = rounded<Scalar>(scale * value(random)); }
    return values;
  };
  p.features = fill(shape.num_in * shape.in_channels, 1);
  p.weight = fill(std::int64_t{shape.volume} * shape.in_channels * shape.out_channels, 0.5);
  p.bias = fill(shape.out_channels, 1);
  p.map.assign(static_cast<std::size_t>(shape.num_out * shape.volume), -1);
  std::vector<std::int32_t> rows(static_cast<std::size_t>(shape.num_in));
  std::iota(rows.begin(), rows.end(), 0);
  std::vector<bool> lonely(static_cast<std::size_t>(shape.num_out));
  for (std::size_t o = 0; o < lonely.size(); ++o) { lonely[o] = random() % 8 == 0; }
  for (int k = 0; k < shape.volume; ++k) {
    std::shuffle(rows.begin(), rows.end(), random);
    double const share = 0.5 * (value(random) + 1);
    for (std::size_t o = 0; o < lonely.size() && o < rows.size(); ++o) {
      bool const present = !lonely[o] && 0.5 * (value(random) + 1) < share;
      if (present) {
        p.map[o * static_cast<std::size_t>(shape.volume) + static_cast<std::size_t>(k)] = rows[o];
      }
    }
  }
  p.residual = fill(shape.num_out * shape.out_channels, 1);
  return p;
}

struct Sums {
  std::vector<double> value;
  std::vector<double> magnitude;  // sum of |products|, which bounds the rounding of the sum
};

/// The definition.
template <class Scalar>
Sums by_definition(Problem<Scalar> const& p, bool bias, ts::MathMode math)
{
  auto const cin = static_cast<std::size_t>(p.shape.in_channels);
  auto const cout = static_cast<std::size_t>(p.shape.out_channels);
  auto const volume = static_cast<std::size_t>(p.shape.volume);
  auto const num_out = static_cast<std::size_t>(p.shape.num_out);
  auto const operand = [&](Scalar v) {
    if constexpr (std::is_same_v<Scalar, float>) {
      if (math == ts::MathMode::tf32) { return double{tf32(v)}; }
    }
    return wide(v);
  };
  Sums sums{std::vector<double>(num_out * cout), std::vector<double>(num_out * cout)};
  for (std::size_t o = 0; o < num_out; ++o) {
    for (std::size_t c = 0; c < cout; ++c) {
      double sum = bias ? wide(p.bias[c]) : 0;
      double magnitude = std::abs(sum);
      for (std::size_t k = 0; k < volume; ++k) {
        auto const in = p.map[o * volume + k];
        if (in < 0) { continue; }
        for (std::size_t i = 0; i < cin; ++i) {
          double const product = operand(p.features[static_cast<std::size_t>(in) * cin + i]) *
                                 operand(p.weight[(k * cin + i) * cout + c]);
          sum += product;
          magnitude += std::abs(product);
        }
      }
      sums.value[o * cout + c] = sum;
      sums.magnitude[o * cout + c] = magnitude;
    }
  }
  return sums;
}

/// A dataflow with its name, for the messages.
template <class Scalar>
struct Way {
  std::string name;
  void (*run)(ts::ConvolutionArguments<Scalar> const&, ts::KernelMap<ts::Device>&,
              ts::Execution<ts::Device> const&);
};

template <class Scalar, class Dataflow>
Way<Scalar> way(std::string const& name)
{
  return {name, &Dataflow::template forward<Scalar, ts::Device>};
}

template <bool Sort, int Splits, class Scalar>
void run_implicit_gemm(ts::ConvolutionArguments<Scalar> const& arguments, ts::KernelMap<ts::Device>& map,
                       ts::Execution<ts::Device> const& exec)
{
  ts::detail::ConvolutionBackend<ts::Device>::implicit_gemm<ts::AutoTile>(arguments, map, Sort, Splits, exec);
}

/// Parts of the dataflows, so that a tool that makes kernels a thousand times slower gets through each.
enum class Part { whole, few_splits, more_splits, all };

/// Every dataflow; the first num_ways_of_one_chain() have the same bits.
template <class Scalar>
std::vector<Way<Scalar>> ways(Part part = Part::all)
{
  std::vector<Way<Scalar>> const all{way<Scalar, ts::ConvMode<0>>("mode 0"),
                                     way<Scalar, ts::ConvMode<1>>("mode 1"),
                                     way<Scalar, ts::FetchOnDemand>("fetch on demand"),
                                     way<Scalar, ts::ConvMode<2>>("mode 2"),
                                     {"unsorted, 2 splits", run_implicit_gemm<false, 2, Scalar>},
                                     {"sorted, 4 splits", run_implicit_gemm<true, 4, Scalar>},
                                     {"sorted, 5 splits", run_implicit_gemm<true, 5, Scalar>},
                                     way<Scalar, ts::GatherScatter>("gather-scatter")};
  switch (part) {
    case Part::whole: return {all.begin(), all.begin() + 3};
    case Part::few_splits: return {all.begin() + 3, all.begin() + 5};
    case Part::more_splits: return {all.begin() + 5, all.end()};
    default: return all;
  }
}
/// The implicit GEMM of 16-bit scalars and of TF32 may add products in another order than fetch-on-demand.
template <class Scalar>
std::size_t num_ways_of_one_chain(ts::MathMode math)
{
  return sizeof(Scalar) == 2 || math == ts::MathMode::tf32 ? 2 : 3;
}

struct Options {
  bool bias = true;
  ts::MathMode math = ts::MathMode::exact;
  int shift = 0;  // elements by which the operands are moved off their alignment
  bool residual = false;
  ts::Activation activation = ts::Activation::none;
};

/// The output of `way` in memory that held NaNs before.
template <class Scalar>
std::vector<Scalar> run(Problem<Scalar> const& p, Way<Scalar> const& way, Options const& options)
{
  ts::Execution<ts::Device> const exec;
  auto const shifted = [&](std::vector<Scalar> values) {
    values.insert(values.begin(), static_cast<std::size_t>(options.shift), rounded<Scalar>(0));
    return ts::upload(values, exec);
  };
  auto const features = shifted(p.features);
  auto const weight = shifted(p.weight);
  auto const bias = shifted(p.bias);
  auto const residual = shifted(p.residual);
  auto const size = p.shape.num_out * p.shape.out_channels;
  ts::Buffer<Scalar, ts::Device> output{size + options.shift, exec};
  ts::fill_bytes(output, 0xff, exec);
  ts::KernelMap<ts::Device> map{ts::upload(p.map, exec), p.shape.num_in, p.shape.num_out, p.shape.volume, -1};
  ts::ConvolutionArguments<Scalar> arguments;
  arguments.features = features.data() + options.shift;
  arguments.weight = weight.data() + options.shift;
  arguments.bias = options.bias ? bias.data() + options.shift : nullptr;
  arguments.output = output.data() + options.shift;
  arguments.in_channels = p.shape.in_channels;
  arguments.out_channels = p.shape.out_channels;
  arguments.math = options.math;
  if (options.residual) {
    arguments.epilogue.residual = {residual.data() + options.shift, p.shape.num_out, p.shape.out_channels};
  }
  arguments.epilogue.activation = options.activation;
  way.run(arguments, map, exec);
  return ts::download(output.data() + options.shift, size, exec);
}

template <class Scalar>
bool same_bits(std::vector<Scalar> const& a, std::vector<Scalar> const& b)
{
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(Scalar)) == 0);
}

/// Relative error of one rounding to `Scalar`, and of one to what sums are kept in. Tensor cores cut instead
/// of rounding, hence four times a rounding's half unit.
template <class Scalar>
double result_error()
{
  return std::is_same_v<Scalar, __half>          ? std::ldexp(1.0, -11)
         : std::is_same_v<Scalar, __nv_bfloat16> ? std::ldexp(1.0, -8)
         : std::is_same_v<Scalar, float>         ? std::ldexp(1.0, -24)
                                                 : std::ldexp(1.0, -53);
}
template <class Scalar>
double sum_error()
{
  return std::is_same_v<Scalar, double> ? std::ldexp(1.0, -51) : std::ldexp(1.0, -22);
}

/// Checks an output against the definition, with the bound that the arithmetic allows.
template <class Scalar>
void check_close(std::vector<Scalar> const& output, Sums const& expected, Shape const& shape)
{
  // Errors of a chain add up at most; those of random values grow like the root of its length.
  double const steps = 8 + std::sqrt(double(shape.volume) * shape.in_channels);
  double const least = std::is_same_v<Scalar, __half> ? std::ldexp(1.0, -25) : 0;
  double worst = 0;
  for (std::size_t i = 0; i < output.size(); ++i) {
    double const bound = result_error<Scalar>() * std::abs(expected.value[i]) +
                         steps * sum_error<Scalar>() * expected.magnitude[i] + least;
    double const error = std::abs(wide(output[i]) - expected.value[i]);
    worst = std::max(worst, std::isnan(error) ? 1e9 : bound > 0 ? error / bound : error > 0 ? 1e9 : 0);
  }
  CHECK(worst <= 1);
}

/// Rows around a tile's size, small and large volumes, every kind of channel count.
inline std::vector<Shape> shapes()
{
  if (test::few_cases()) {  // one for each kernel and way of reading
    return {{100, 120, 27, 4, 32},   {100, 90, 27, 64, 64}, {90, 130, 8, 20, 81},     {100, 129, 27, 96, 96},
            {100, 150, 16, 96, 128}, {90, 80, 45, 96, 200}, {140, 150, 27, 160, 104}, {64, 65, 27, 16, 16}};
  }
  std::vector<Shape> result{
      {1, 1, 1, 1, 1},          {40, 50, 1, 96, 20},      {300, 300, 27, 4, 32},   {130, 200, 27, 64, 64},
      {500, 64, 8, 32, 128},    {64, 65, 125, 16, 16},    {90, 127, 70, 20, 81},   {257, 129, 27, 128, 256},
      {700, 700, 27, 32, 32},   {30, 700, 33, 3, 5},      {300, 300, 27, 8, 40},   {200, 333, 27, 128, 64},
      {200, 300, 27, 96, 96},   {200, 260, 27, 160, 128}, {300, 290, 27, 48, 72},  {90, 80, 45, 96, 200},
      {250, 240, 27, 5, 24},    {100, 120, 27, 7, 16},    {200, 180, 27, 6, 40},   {64, 81, 125, 8, 16},
      {190, 230, 27, 72, 88},   {150, 170, 16, 384, 256}, {140, 200, 1, 96, 19},   {90, 200, 70, 40, 136},
      {150, 190, 27, 160, 160}, {140, 130, 27, 224, 256}, {110, 150, 8, 160, 104}, {120, 90, 27, 192, 224},
      {180, 170, 27, 3, 64}};
  int const channels[] = {1, 3, 5, 16, 20, 32, 64, 81, 128};
  int const volumes[] = {1, 2, 3, 5, 8, 27, 32, 45, 64, 125};
  std::mt19937 random{7};
  for (int i = 0; i < (test::small_sets() ? 4 : 24); ++i) {
    result.push_back({1 + static_cast<int>(random() % 300), 1 + static_cast<int>(random() % 300),
                      volumes[random() % 10], channels[random() % 9], channels[random() % 9]});
  }
  return result;
}

// --- the checks --------------------------------------------------------------------------------------------

template <class Scalar>
void equals_the_definition(Part part, ts::MathMode math = ts::MathMode::exact)
{
  unsigned seed = 100;
  for (auto const& full : shapes()) {
    auto const shape = sized(full);
    auto const p = random_problem<Scalar>(shape, ++seed);
    CAPTURE(seed);
    CAPTURE(shape.num_in);
    CAPTURE(shape.num_out);
    CAPTURE(shape.volume);
    CAPTURE(shape.in_channels);
    CAPTURE(shape.out_channels);
    Options options;
    options.bias = seed % 2 == 0;
    options.math = math;
    options.shift = seed % 5 == 0 ? 1 : 0;
    auto const expected = by_definition(p, options.bias, math);
    std::vector<Scalar> first;
    auto const all = ways<Scalar>(part);
    for (std::size_t i = 0; i < all.size(); ++i) {
      CAPTURE(all[i].name);
      auto const output = run(p, all[i], options);
      check_close(output, expected, shape);
      if (i == 0) { first = output; }
      if (part == Part::whole && i < num_ways_of_one_chain<Scalar>(math)) { CHECK(same_bits(output, first)); }
      if (!test::small_sets()) { CHECK(same_bits(output, run(p, all[i], options))); }
    }
  }
}

/// Every activation, with and without a residual, in every dataflow.
template <class Scalar>
void applies_the_epilogue(ts::MathMode math = ts::MathMode::exact)
{
  unsigned seed = 70;
  for (auto const& shape :
       {Shape{300, 290, 27, 64, 64}, Shape{130, 140, 27, 96, 96}, Shape{140, 150, 27, 64, 128},
        Shape{200, 190, 27, 16, 16}, Shape{60, 90, 27, 128, 40}, Shape{90, 80, 8, 3, 5},
        Shape{70, 100, 27, 32, 200}, Shape{90, 110, 1, 64, 83}}) {
    auto const p = random_problem<Scalar>(shape, ++seed);
    CAPTURE(seed);
    auto const sums = by_definition(p, true, math);
    for (auto const activation :
         {ts::Activation::none, ts::Activation::relu, ts::Activation::leaky_relu, ts::Activation::silu}) {
      CAPTURE(static_cast<int>(activation));
      Options options;
      options.math = math;
      options.activation = activation;
      options.residual = activation != ts::Activation::leaky_relu;
      options.shift = activation == ts::Activation::silu && seed % 2 == 0 ? 1 : 0;
      auto expected = sums;
      for (std::size_t i = 0; i < expected.value.size(); ++i) {
        double const x = expected.value[i] + (options.residual ? wide(p.residual[i]) : 0);
        expected.magnitude[i] = 2 * (expected.magnitude[i] + std::abs(x));
        expected.value[i] = activation == ts::Activation::relu         ? std::max(x, 0.0)
                            : activation == ts::Activation::leaky_relu ? std::max(x, double{0.01F} * x)
                            : activation == ts::Activation::silu       ? x / (1 + std::exp(-x))
                                                                       : x;
      }
      for (auto const& way : ways<Scalar>()) {
        CAPTURE(way.name);
        check_close(run(p, way, options), expected, shape);
      }
    }
  }
}

/// Two matrices that have the first `first` channels and the others.
template <class Scalar>
[[nodiscard]] std::array<std::vector<Scalar>, 2> first_and_other_channels(std::vector<Scalar> const& features,
                                                                          int channels, int first)
{
  std::array<std::vector<Scalar>, 2> parts;
  for (std::size_t i = 0; i < features.size(); ++i) {
    parts[static_cast<int>(i % static_cast<std::size_t>(channels)) < first ? 0 : 1].push_back(features[i]);
  }
  return parts;
}

/// The input channels from two matrices, where that can be, give the bits that they give side by side.
template <class Scalar>
void reads_two_matrices_as_one(ts::MathMode math = ts::MathMode::exact)
{
  ts::Execution<ts::Device> const exec;
  using Backend = ts::detail::ConvolutionBackend<ts::Device>;
  std::pair<Shape, int> const cases[] = {{sized({200, 230, 27, 96, 96}), 64},
                                         {sized({130, 150, 27, 72, 200}), 32},
                                         {sized({100, 170, 1, 96, 128}), 64},
                                         {sized({100, 130, 27, 160, 104}), 96}};
  for (auto const& one : cases) {
    auto const& shape = one.first;
    int const first = one.second;
    auto const p = random_problem<Scalar>(shape, 91);
    CAPTURE(shape.out_channels);
    auto const parts = first_and_other_channels(p.features, shape.in_channels, first);
    auto const whole = ts::upload(p.features, exec);
    auto const head = ts::upload(parts[0], exec);
    auto const tail = ts::upload(parts[1], exec);
    auto const weight = ts::upload(p.weight, exec);
    ts::KernelMap<ts::Device> map{ts::upload(p.map, exec), shape.num_in, shape.num_out, shape.volume, -1};
    auto const size = shape.num_out * shape.out_channels;
    ts::ConvolutionArguments<Scalar> arguments;
    arguments.weight = weight.data();
    arguments.in_channels = shape.in_channels;
    arguments.out_channels = shape.out_channels;
    arguments.math = math;
    auto const run = [&] {
      ts::Buffer<Scalar, ts::Device> output{size, exec};
      ts::fill_bytes(output, 0xff, exec);
      arguments.output = output.data();
      Backend::implicit_gemm<ts::AutoTile>(arguments, map, true, 1, exec);
      return ts::download(output, exec);
    };
    arguments.features = whole.data();
    auto const expected = run();
    auto const plan = [&] { return Backend::plan(arguments, {0, shape.volume}, 1, exec); };
    auto const packed = ts::detail::pack_weight(plan(), ts::detail::weight_of(arguments, shape.volume), exec);
    arguments.packed = packed.view();
    CHECK(same_bits(run(), expected));
    arguments.features = head.data();
    arguments.more = {tail.data(), shape.num_in, shape.in_channels - first};
    if (!plan().reads_two_inputs) { continue; }
    CHECK(same_bits(run(), expected));
    arguments.packed = {};
    CHECK(same_bits(run(), expected));
  }
}

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

  /// Whether there is a tile map of so many rows a tile; from then on there is, an empty one.
  [[nodiscard]] bool has_tile_map(bool sort, int splits, int rows)
  {
    bool made = false;
    ts::detail::TileMapKey<ts::Device> const key{sort, splits, rows};
    static_cast<void>(detail::access(*map_).cache().get_or_make(key, [&] {
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
