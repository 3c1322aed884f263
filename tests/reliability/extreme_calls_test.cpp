// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// Random calls of the public functions with numbers at and beyond every limit: a call gives what the
// definition says, in 64-bit integers and in double, or it is refused; memory stays in proportion to the
// input.

#include "extreme_calls.hpp"

#include "../support/allocations.hpp"
#include "../support/rounds.hpp"

#include <tessera/coords/quantize.hpp>
#include <tessera/nn/pooling.hpp>
#include <tessera/ops/convolution.hpp>
#include <tessera/ops/dense.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cfloat>
#include <climits>
#include <cmath>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

using namespace tessera;
using namespace extreme_calls;

namespace {

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
  attempt(random, outcome, [&](Execution<Host> const& exec) {
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
  });
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
  attempt(random, outcome, [&](Execution<Host> const& exec) {
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
               (!options.grid() || (at >= 0 && at < static_cast<float>((*options.grid())[i])));
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
  });
}

template <int Dim>
void check_pools_and_dense(Random& random, Outcome& outcome)
{
  auto const input = random_input<Dim>(random);
  auto const width = static_cast<std::size_t>(input.channels);
  attempt(random, outcome, [&](Execution<Host> const& exec) {
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
  });
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
