// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "../support/allocations.hpp"
#include "../support/rounds.hpp"

#include <tessera/coords/quantize.hpp>
#include <tessera/nn/pooling.hpp>
#include <tessera/ops/convolution.hpp>
#include <tessera/ops/dense.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cfloat>
#include <climits>
#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <vector>

namespace extreme_calls {

using namespace tessera;

inline constexpr std::int64_t most_memory = std::int64_t{1} << 30;

/// How calls ended, and how many values were compared.
struct Outcome {
  int results = 0;
  int refusals = 0;
  std::int64_t values = 0;
};

class Random {
 public:
  explicit Random(unsigned seed) : engine_{seed} {}

  int between(int lowest, int highest)
  {
    return std::uniform_int_distribution<int>{lowest, highest}(engine_);
  }
  bool once_in(int n) { return between(1, n) == 1; }
  template <class T>
  T one_of(std::vector<T> const& values)
  {
    return values[static_cast<std::size_t>(between(0, static_cast<int>(values.size()) - 1))];
  }
  float value()
  {
    static std::vector<float> const extreme{0.0F,     -0.0F,   FLT_MIN, -FLT_MIN / 8, 1e30F,
                                            -3.4e38F, FLT_MAX, 1e-30F,  16777217.0F};
    return once_in(12) ? one_of(extreme) : std::uniform_real_distribution<float>{-2, 2}(engine_);
  }
  /// A number of a geometry: mostly of [lowest, highest], sometimes at or beyond a limit.
  int number(int lowest, int highest)
  {
    static std::vector<int> const extreme{-1, 0, 1 << 16, 1 << 28, (1 << 28) + 1, 1 << 30, INT_MAX, INT_MIN};
    return once_in(60) ? one_of(extreme) : between(lowest, highest);
  }

 private:
  std::mt19937 engine_;
};

template <int Dim>
using Position = std::array<std::int64_t, Dim + 1>;  // batch entry first

template <int Dim>
Position<Dim> position_of(Coordinate<Dim> const& row)
{
  Position<Dim> result{row.batch};
  for (int i = 0; i < Dim; ++i) { result[static_cast<std::size_t>(i) + 1] = row.position[i]; }
  return result;
}

template <int Dim>
struct Input {
  std::vector<Coordinate<Dim>> rows;
  CoordinateSetOptions<Dim> options;
  std::vector<float> features;
  int channels = 1;
};

template <int Dim>
Input<Dim> random_input(Random& random)
{
  Input<Dim> input;
  input.channels = random.between(1, 5);
  bool const with_range = random.once_in(2);
  std::array<int, Dim> base{};
  static std::vector<int> const bases{-5,         -3,          0,      100, 1 << 20, (1 << 30) - 4,
                                      -(1 << 30), INT_MAX - 4, INT_MIN};
  bool const far = !with_range && random.once_in(4);
  for (auto& first : base) { first = with_range ? 0 : far ? random.one_of(bases) : random.between(-8, 8); }
  int const batches = random.between(1, 3);
  int const first_batch = random.once_in(40) ? random.one_of<int>({1 << 20, INT_MAX - 3, -1}) : 0;
  std::set<Position<Dim>> seen;
  int const count = random.once_in(12) ? random.between(0, 1) : random.between(2, 40);
  for (int n = 0; n < count; ++n) {
    Coordinate<Dim> row;
    row.batch = first_batch + random.between(0, batches - 1);
    for (int i = 0; i < Dim; ++i) {
      row.position[i] = base[static_cast<std::size_t>(i)] + random.between(0, 4);
    }
    if (seen.insert(position_of(row)).second) { input.rows.push_back(row); }
  }
  if (with_range) {
    SpatialRange<Dim> range;
    range.batches = random.number(batches, batches + 1);
    for (int i = 0; i < Dim; ++i) { range.extent[i] = random.number(5, 9); }
    input.options.spatial_range = range;
  }
  for (std::size_t i = 0; i < input.rows.size() * static_cast<std::size_t>(input.channels); ++i) {
    input.features.push_back(random.value());
  }
  return input;
}

template <int Dim>
ConvolutionGeometry<Dim> random_geometry(Random& random, ConvolutionKind kind)
{
  ConvolutionGeometry<Dim> g;
  for (int i = 0; i < Dim; ++i) {
    g.kernel_size[i] = random.number(1, Dim <= 3 ? 3 : 2);
    g.stride[i] = kind == ConvolutionKind::submanifold ? 1 : random.number(1, 3);
    g.padding[i] = random.number(0, 2);
    g.dilation[i] = random.number(1, 3);
    g.output_padding[i] = kind == ConvolutionKind::expanding ? random.number(0, 1) : 0;
  }
  return g;
}

inline std::int64_t floor_div(std::int64_t a, std::int64_t b)
{
  return a / b - (a % b != 0 && (a % b < 0) != (b < 0) ? 1 : 0);
}

/// Where one axis of an output is that the input `in` reaches by `digit`, if it is a whole cell. The rules
/// are those that kernel_map() states.
inline std::optional<std::int64_t> output_of(ConvolutionKind kind, std::int64_t in, std::int64_t digit,
                                             std::int64_t size, std::int64_t stride, std::int64_t padding,
                                             std::int64_t dilation)
{
  switch (kind) {
    case ConvolutionKind::submanifold:
      return in + (size % 2 == 1 ? size / 2 : 0) * dilation - digit * dilation;
    case ConvolutionKind::strided: {
      auto const scaled = in + padding - digit * dilation;
      return scaled % stride == 0 ? std::optional{floor_div(scaled, stride)} : std::nullopt;
    }
    case ConvolutionKind::generative: return stride * in + (size / 2 - digit) * dilation;
    default: return stride * in - padding + digit * dilation;
  }
}

/// Cells of an axis of the result where the input has a range.
inline std::int64_t extent_of(ConvolutionKind kind, std::int64_t extent, std::int64_t size,
                              std::int64_t stride, std::int64_t padding, std::int64_t dilation,
                              std::int64_t output_padding)
{
  auto const window = dilation * (size - 1) + 1;
  switch (kind) {
    case ConvolutionKind::submanifold: return extent;
    case ConvolutionKind::strided: return floor_div(extent + 2 * padding - window, stride) + 1;
    case ConvolutionKind::generative: return extent * stride;
    default: return (extent - 1) * stride - 2 * padding + window + output_padding;
  }
}

struct Sum {
  double value = 0;
  double magnitude = 0;
};

/// One output: the input row of each offset, -1 where there is none.
using Pairs = std::vector<int>;

template <int Dim>
std::map<Position<Dim>, Pairs> outputs_by_definition(Input<Dim> const& input, ConvolutionKind kind,
                                                     ConvolutionGeometry<Dim> const& g)
{
  std::map<Position<Dim>, Pairs> outputs;
  auto const volume = static_cast<std::size_t>(g.volume());
  std::set<Position<Dim>> inputs;
  for (auto const& row : input.rows) { inputs.insert(position_of(row)); }
  // A kernel of one voxel keeps the rows
  bool one_voxel = g.volume() == 1 && kind != ConvolutionKind::generative;
  for (int i = 0; i < Dim; ++i) {
    one_voxel = one_voxel && g.stride[i] == 1 && g.padding[i] == 0 && g.output_padding[i] == 0;
  }
  bool const keeps_rows = kind == ConvolutionKind::submanifold || one_voxel;
  if (keeps_rows) {
    for (auto const& row : inputs) { outputs.emplace(row, Pairs(volume, -1)); }
  }
  for (std::size_t n = 0; n < input.rows.size(); ++n) {
    auto const from = position_of(input.rows[n]);
    for (std::size_t k = 0; k < volume; ++k) {
      auto to = from;
      auto rest = k;
      bool inside = true;
      for (int i = Dim - 1; i >= 0; --i) {
        auto const axis = static_cast<std::size_t>(i) + 1;
        auto const digit = static_cast<std::int64_t>(rest) % g.kernel_size[i];
        rest /= static_cast<std::size_t>(g.kernel_size[i]);
        auto const cell =
            output_of(kind, from[axis], digit, g.kernel_size[i], g.stride[i], g.padding[i], g.dilation[i]);
        inside = inside && cell.has_value();
        to[axis] = cell.value_or(0);
        if (auto const& range = input.options.spatial_range; range && !keeps_rows) {
          inside = inside && to[axis] >= 0 &&
                   to[axis] < extent_of(kind, range->extent[i], g.kernel_size[i], g.stride[i], g.padding[i],
                                        g.dilation[i], g.output_padding[i]);
        }
      }
      if (!inside || (keeps_rows && inputs.count(to) == 0)) { continue; }
      outputs.emplace(to, Pairs(volume, -1)).first->second[k] = static_cast<int>(n);
    }
  }
  return outputs;
}

/// Calls `call(exec)`, which may give a result or be refused, and takes no more memory than is in proportion.
template <class Call>
void attempt(Random& random, Outcome& outcome, Call const& call)
{
  Execution<Host> const exec{random.one_of<int>({1, 3})};
  test::AllocationWatch const watch;
  try {
    call(exec);
  } catch (invalid_argument const&) {
    ++outcome.refusals;
  } catch (std::bad_alloc const&) {
    ++outcome.refusals;
  }
  REQUIRE(watch.peak_bytes() < most_memory);
}

template <class Round>
void run_rounds(int few, Round const& round)
{
  Outcome outcome;
  int const count = test::rounds(few);
  for (int n = 0; n < count; ++n) {
    auto const seed = static_cast<unsigned>(1000 + n);
    CAPTURE(seed);
    Random random{seed};
    round(random, outcome);
  }
  CHECK(outcome.results > count / 8);
  CHECK(outcome.refusals > 0);
  MESSAGE(count << " rounds: " << outcome.results << " results, " << outcome.refusals << " refusals, "
                << outcome.values << " values compared");
}

}  // namespace extreme_calls
