// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// Random convolutions for the tests of the host's dataflows, and how they are run.

#include "../support/oracle.hpp"

#include <tessera/conv/detail/convolution_host.hpp>
#include <tessera/conv/policies.hpp>

#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

namespace host_cases {

namespace ts = tessera;

struct Shape {
  int num_in;
  int num_out;
  int volume;
  int in_channels;
  int out_channels;
};

template <class Scalar>
struct Problem {
  Shape shape{};
  std::vector<std::int32_t> map;  // [num_out, volume]
  std::vector<Scalar> features;
  std::vector<Scalar> weight;
  std::vector<Scalar> bias;  // or empty
};

inline std::size_t size_of(int a, int b, int c = 1)
{
  return static_cast<std::size_t>(a) * static_cast<std::size_t>(b) * static_cast<std::size_t>(c);
}

/// Values in [-1, 1]; offsets differ in how often they are present, and every eighth row has no neighbour.
template <class Scalar>
Problem<Scalar> random_problem(Shape const& shape, unsigned seed)
{
  std::mt19937 random{seed};
  std::uniform_real_distribution<float> value{-1.F, 1.F};
  auto const fill = [&](std::size_t size) {
    std::vector<Scalar> values(size);
    for (auto& v : values) { v = static_cast<Scalar>(value(random)); }
    return values;
  };
  Problem<Scalar> p;
  p.shape = shape;
  p.features = fill(size_of(shape.num_in, shape.in_channels));
  p.weight = fill(size_of(shape.volume, shape.in_channels, shape.out_channels));
  p.bias = fill(static_cast<std::size_t>(shape.out_channels));
  p.map.assign(size_of(shape.num_out, shape.volume), -1);
  std::vector<unsigned> percent(static_cast<std::size_t>(shape.volume));
  for (auto& share : percent) { share = static_cast<unsigned>(random() % 101); }
  for (std::size_t i = 0; i < p.map.size() && shape.num_in > 0; ++i) {
    auto const k = i % percent.size();
    bool const lonely = i / percent.size() % 8 == 3;
    if (!lonely && random() % 100 < percent[k]) {
      p.map[i] = static_cast<std::int32_t>(random() % static_cast<unsigned>(shape.num_in));
    }
  }
  return p;
}

enum class Way { implicit_gemm, gather_scatter, fetch_on_demand };

struct Options {
  Way way = Way::implicit_gemm;
  int splits = 1;
  bool sort = true;
  int threads = 2;
};

inline std::vector<Options> all_ways()
{
  return {{Way::implicit_gemm, 1},  {Way::implicit_gemm, 2}, {Way::implicit_gemm, 3},
          {Way::implicit_gemm, 4},  {Way::implicit_gemm, 5}, {Way::gather_scatter, 1},
          {Way::fetch_on_demand, 1}};
}

inline std::string name_of(Options const& o)
{
  char const* const names[] = {"implicit GEMM", "gather-scatter", "fetch-on-demand"};
  return std::string{names[static_cast<int>(o.way)]} + ", splits " + std::to_string(o.splits) + ", threads " +
         std::to_string(o.threads);
}

inline ts::Execution<ts::Host> const& with_threads(int threads)
{
  static ts::Execution<ts::Host> const one{1};
  static ts::Execution<ts::Host> const two{2};
  static ts::Execution<ts::Host> const four{4};
  return threads == 1 ? one : threads == 2 ? two : four;
}

/// The output, in memory that held NaNs before.
template <class Scalar>
std::vector<Scalar> run(Problem<Scalar> const& p, Options const& options)
{
  auto const& exec = with_threads(options.threads);
  ts::KernelMap<ts::Host> map{ts::upload(p.map, exec), p.shape.num_in, p.shape.num_out, p.shape.volume, -1};
  auto const not_a_number = static_cast<Scalar>(std::numeric_limits<float>::quiet_NaN());
  std::vector<Scalar> output(size_of(p.shape.num_out, p.shape.out_channels), not_a_number);
  ts::ConvolutionArguments<Scalar> arguments;
  arguments.features = p.features.data();
  arguments.weight = p.weight.data();
  arguments.bias = p.bias.empty() ? nullptr : p.bias.data();
  arguments.output = output.data();
  arguments.in_channels = p.shape.in_channels;
  arguments.out_channels = p.shape.out_channels;
  using Backend = ts::detail::ConvolutionBackend<ts::Host>;
  switch (options.way) {
    case Way::gather_scatter: Backend::gather_scatter(arguments, map, exec); break;
    case Way::fetch_on_demand: Backend::fetch_on_demand(arguments, map, exec); break;
    default: Backend::implicit_gemm<ts::AutoTile>(arguments, map, options.sort, options.splits, exec);
  }
  return output;
}

template <class Scalar>
bool same_bits(std::vector<Scalar> const& a, std::vector<Scalar> const& b)
{
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(Scalar)) == 0);
}

/// The largest error of `output` in units of what rounding may do: one unit of the sum's type for each step
/// of a random walk as long as the sum, relative to the magnitude of its terms.
template <class Scalar>
double worst_error(Problem<Scalar> const& p, std::vector<Scalar> const& output)
{
  auto const sums = test::convolution_by_definition(
      p.map, p.features, p.weight, p.bias, static_cast<std::size_t>(p.shape.volume),
      static_cast<std::size_t>(p.shape.in_channels), static_cast<std::size_t>(p.shape.out_channels));
  if (sums.value.size() != output.size()) { return 1e9; }
  double const unit = double{std::numeric_limits<ts::accumulator_t<Scalar>>::epsilon()};
  double const steps = 4 + std::sqrt(double(p.shape.volume) * p.shape.in_channels);
  double worst = 0;
  for (std::size_t i = 0; i < output.size(); ++i) {
    double const error = std::abs(test::wide(output[i]) - sums.value[i]);
    double const bound = unit * steps * sums.magnitude[i];
    worst = std::max(worst, error <= bound ? (bound > 0 ? error / bound : 0) : 1e9);
  }
  return worst;
}

/// Only the offsets [first, last) of a problem; the others are present nowhere.
template <class Scalar>
Problem<Scalar> only_offsets(Problem<Scalar> p, int first, int last)
{
  for (std::size_t i = 0; i < p.map.size(); ++i) {
    auto const k = static_cast<int>(i % static_cast<std::size_t>(p.shape.volume));
    if (k < first || k >= last) { p.map[i] = -1; }
  }
  return p;
}

/// Row i of [rows, width] at `to[i]`.
template <class T>
std::vector<T> with_rows_moved(std::vector<T> const& values, std::vector<std::int32_t> const& to, int width)
{
  auto moved = values;
  for (std::size_t i = 0; i < to.size(); ++i) {
    std::copy_n(values.begin() + static_cast<std::ptrdiff_t>(i) * width, width,
                moved.begin() + std::ptrdiff_t{to[i]} * width);
  }
  return moved;
}

inline std::vector<std::int32_t> random_order(int rows, unsigned seed)
{
  std::mt19937 random{seed};
  std::vector<std::int32_t> order(static_cast<std::size_t>(rows));
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), random);
  return order;
}

}  // namespace host_cases
