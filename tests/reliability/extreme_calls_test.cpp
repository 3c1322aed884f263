// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// Random calls of the public functions with numbers at and beyond every limit: a call gives what the
// definition says, in 64-bit integers and in double, or it is refused; memory stays in proportion to the
// input.

#include "../support/allocations.hpp"
#include "../support/rounds.hpp"

#include <tessera/coords/quantize.hpp>
#include <tessera/nn/pooling.hpp>
#include <tessera/ops/convolution.hpp>
#include <tessera/ops/dense.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cfloat>
#include <climits>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <vector>

using namespace tessera;

namespace {

constexpr std::int64_t most_memory = std::int64_t{1} << 30;

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

std::int64_t floor_div(std::int64_t a, std::int64_t b)
{
  return a / b - (a % b != 0 && (a % b < 0) != (b < 0) ? 1 : 0);
}

/// Where one axis of an output is that the input `in` reaches by `digit`, if it is a whole cell. The rules
/// are those that kernel_map() states.
std::optional<std::int64_t> output_of(ConvolutionKind kind, std::int64_t in, std::int64_t digit,
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
std::int64_t extent_of(ConvolutionKind kind, std::int64_t extent, std::int64_t size, std::int64_t stride,
                       std::int64_t padding, std::int64_t dilation, std::int64_t output_padding)
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

template <int Dim>
void check_convolution(Random& random, Outcome& outcome)
{
  auto input = random_input<Dim>(random);
  auto const kind = random.one_of<ConvolutionKind>({ConvolutionKind::submanifold, ConvolutionKind::strided,
                                                    ConvolutionKind::generative, ConvolutionKind::expanding});
  auto const g = random_geometry<Dim>(random, kind);
  if (kind == ConvolutionKind::generative) { input.options.tensor_stride = g.stride; }
  int const out_channels = random.between(1, 18);
  ConvConfig config = with_conv_mode({}, random.between(0, 2));
  config.dataflow =
      random.one_of<Dataflow>({Dataflow::implicit_gemm, Dataflow::gather_scatter, Dataflow::fetch_on_demand});
  config.splits = random.number(1, 3);
  Execution<Host> const exec{random.one_of<int>({1, 3})};
  test::AllocationWatch const watch;
  try {
    SparseTensor<Dim, float, Host> const x{make_coordinate_set(input.rows, input.options, exec),
                                           upload_matrix(input.features, input.channels, exec)};
    std::int64_t volume = 1;
    for (int i = 0; i < Dim; ++i) { volume *= std::clamp(g.kernel_size[i], 0, 1 << 16); }
    if (volume > 1 << 20) { volume = 0; }  // refused before a weight is read
    std::vector<float> weight;
    std::vector<float> bias;
    auto const size = volume * input.channels * out_channels;
    if (size > 1 << 20) { return; }
    for (std::int64_t i = 0; i < size; ++i) { weight.push_back(random.value()); }
    for (int i = 0; i < out_channels; ++i) { bias.push_back(random.value()); }
    auto const y = convolution(x, weight.data(), bias.data(), out_channels, kind, g, config, exec);
    y.coordinates()->check(exec);
    ++outcome.results;

    auto const expected = outputs_by_definition(input, kind, g);
    auto const rows = y.coordinates_on_host(exec);
    auto const values = y.features_on_host(exec);
    REQUIRE(rows.size() == expected.size());
    for (std::size_t row = 0; row < rows.size(); ++row) {
      auto const found = expected.find(position_of(rows[row]));
      REQUIRE(found != expected.end());
      for (std::size_t j = 0; j < bias.size(); ++j) {
        Sum sum{bias[j], std::abs(double{bias[j]})};
        for (std::size_t k = 0; k < found->second.size(); ++k) {
          if (found->second[k] < 0) { continue; }
          for (std::size_t c = 0; c < static_cast<std::size_t>(input.channels); ++c) {
            auto const in = static_cast<std::size_t>(found->second[k]);
            double const product =
                double{input.features[in * static_cast<std::size_t>(input.channels) + c]} *
                weight[(k * static_cast<std::size_t>(input.channels) + c) * bias.size() + j];
            sum.value += product;
            sum.magnitude += std::abs(product);
          }
        }
        if (sum.magnitude > double{FLT_MAX} / 4) { continue; }  // partial sums may be infinite
        auto const difference = std::abs(values[row * bias.size() + j] - sum.value);
        REQUIRE(difference <= 1e-4 * sum.magnitude + 1e-37);
        ++outcome.values;
      }
    }
  } catch (invalid_argument const&) {
    ++outcome.refusals;
  } catch (std::bad_alloc const&) {
    ++outcome.refusals;
  }
  REQUIRE(watch.peak_bytes() < most_memory);
}

template <int Dim>
void check_quantize(Random& random, Outcome& outcome)
{
  int const count = random.between(0, 60);
  std::vector<float> positions;
  static std::vector<float> const extreme{NAN,    INFINITY, -INFINITY,     FLT_MAX,
                                          -1e10F, 1e-42F,   1073741824.0F, -0.0F};
  for (int i = 0; i < count * Dim; ++i) {
    positions.push_back(random.once_in(30) ? random.one_of(extreme)
                                           : static_cast<float>(random.between(-400, 400)) / 64);
  }
  float const size =
      random.once_in(10) ? random.one_of(extreme) : random.one_of<float>({0.5F, 1.0F, 0.07F, 3.0F});
  Execution<Host> const exec{random.one_of<int>({1, 3})};
  test::AllocationWatch const watch;
  try {
    PointsView<float> points;
    points.positions = {positions.data(), count, Dim};
    points.batch_entry = random.number(0, 2);
    QuantizeOptions<Dim> options{size};
    if (random.once_in(2)) { options.grid(IntArray<Dim>(random.number(1, 6))); }
    auto const voxels = sparse_quantize<Dim>(points, options, exec);
    ++outcome.results;

    std::map<Position<Dim>, int> first;
    std::vector<std::optional<Position<Dim>>> voxel_of;
    for (int n = 0; n < count; ++n) {
      Position<Dim> cell{points.batch_entry};
      bool kept = true;
      for (int i = 0; i < Dim; ++i) {
        float const at = std::floor(positions[static_cast<std::size_t>(n * Dim + i)] / size);
        kept = kept && std::isfinite(positions[static_cast<std::size_t>(n * Dim + i)]) && std::isfinite(at) &&
               (!options.grid_extent || (at >= 0 && at < static_cast<float>((*options.grid_extent)[i])));
        if (kept) { cell[static_cast<std::size_t>(i) + 1] = static_cast<std::int64_t>(at); }
      }
      voxel_of.push_back(kept ? std::optional{cell} : std::nullopt);
      if (kept) { first.emplace(cell, n); }
    }
    auto const rows = download(voxels.coordinates->data(), voxels.num_voxels(), exec);
    auto const first_point = download(voxels.first_point, exec);
    auto const inverse = download(voxels.inverse, exec);
    REQUIRE(rows.size() == first.size());
    std::size_t row = 0;
    for (auto const& [cell, point] : first) {
      REQUIRE(position_of(rows[row]) == cell);
      REQUIRE(first_point[row] == point);
      ++row;
      ++outcome.values;
    }
    for (std::size_t n = 0; n < voxel_of.size(); ++n) {
      REQUIRE((inverse[n] >= 0) == voxel_of[n].has_value());
      if (voxel_of[n]) { REQUIRE(position_of(rows[static_cast<std::size_t>(inverse[n])]) == *voxel_of[n]); }
      ++outcome.values;
    }
  } catch (invalid_argument const&) {
    ++outcome.refusals;
  } catch (std::bad_alloc const&) {
    ++outcome.refusals;
  }
  REQUIRE(watch.peak_bytes() < most_memory);
}

template <int Dim>
void check_pools_and_dense(Random& random, Outcome& outcome)
{
  auto const input = random_input<Dim>(random);
  auto const width = static_cast<std::size_t>(input.channels);
  Execution<Host> const exec{random.one_of<int>({1, 3})};
  test::AllocationWatch const watch;
  try {
    SparseTensor<Dim, float, Host> const x{make_coordinate_set(input.rows, input.options, exec),
                                           upload_matrix(input.features, input.channels, exec)};
    auto const largest = global_max_pool(x, exec);
    auto const pooled = download(largest.data(), largest.size(), exec);
    ++outcome.results;
    std::map<int, std::vector<float>> expected;
    for (std::size_t n = 0; n < input.rows.size(); ++n) {
      auto& values =
          expected.emplace(input.rows[n].batch, std::vector<float>(width, -INFINITY)).first->second;
      for (std::size_t c = 0; c < width; ++c) {
        values[c] = std::max(values[c], input.features[n * width + c]);
      }
    }
    for (std::size_t b = 0; b < pooled.size() / width; ++b) {
      auto const entry = expected.find(static_cast<int>(b));
      for (std::size_t c = 0; c < width; ++c) {
        REQUIRE(pooled[b * width + c] == (entry == expected.end() ? 0.0F : entry->second[c]));
        ++outcome.values;
      }
    }

    double size = input.channels;  // of a grid that is as large as was asked for
    if (auto const& range = input.options.spatial_range) {
      size *= range->batches;
      for (int const extent : range->extent) { size *= extent; }
    }
    if (size > 1 << 22 && size < 1e18) { return; }
    auto const grid = dense(x, exec);
    ++outcome.results;
    auto const cells = download(grid.data(), grid.size(), exec);
    std::int64_t other_than_zero = 0;
    for (auto const value : cells) { other_than_zero += value != 0 ? 1 : 0; }
    for (std::size_t n = 0; n < input.rows.size(); ++n) {
      std::int64_t cell = input.rows[n].batch;
      for (int i = 0; i < Dim; ++i) {
        cell = cell * input.options.spatial_range->extent[i] + input.rows[n].position[i];
      }
      for (std::size_t c = 0; c < width; ++c) {
        auto const value = input.features[n * width + c];
        REQUIRE(cells[static_cast<std::size_t>(cell) * width + c] == value);
        other_than_zero -= value != 0 ? 1 : 0;
        ++outcome.values;
      }
    }
    REQUIRE(other_than_zero == 0);
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

}  // namespace

TEST_CASE("extreme calls: a convolution gives what the definition says, or is refused")
{
  run_rounds(150, [](Random& random, Outcome& outcome) {
    check_convolution<1>(random, outcome);
    check_convolution<2>(random, outcome);
    check_convolution<3>(random, outcome);
    check_convolution<6>(random, outcome);
  });
}

TEST_CASE("extreme calls: points go into the voxels of the definition, or are refused")
{
  run_rounds(300, [](Random& random, Outcome& outcome) {
    check_quantize<1>(random, outcome);
    check_quantize<3>(random, outcome);
    check_quantize<4>(random, outcome);
  });
}

TEST_CASE("extreme calls: pools and dense grids hold every value once, or are refused")
{
  run_rounds(300, [](Random& random, Outcome& outcome) {
    check_pools_and_dense<2>(random, outcome);
    check_pools_and_dense<3>(random, outcome);
  });
}
