// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// Random problems of the device's convolution, the definition in nested loops, and the dataflows that are held to it.

#include "../support/small.hpp"
#include "../support/spaces.hpp"

#include <tessera/conv/convolution_kernels.cuh>
#include <tessera/conv/policies.hpp>

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

}  // namespace device_cases
