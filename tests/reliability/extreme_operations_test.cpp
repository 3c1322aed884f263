// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// The operations that choose, join, split and make voxels, called at random with numbers at and beyond every
// limit: they give what the definition says, or are refused, and memory stays in proportion to the input.

#include "extreme_calls.hpp"

#include <tessera/hash/voxel_of_points.hpp>
#include <tessera/ops/channels_to_space.hpp>
#include <tessera/ops/combine_by_coordinate.hpp>
#include <tessera/ops/initial_voxelize.hpp>
#include <tessera/ops/point_voxel.hpp>
#include <tessera/ops/prune.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cfloat>
#include <climits>
#include <cmath>
#include <cstdint>
#include <map>
#include <vector>

using namespace tessera;
using namespace extreme_calls;

namespace {

template <int Dim>
using Tensor = SparseTensor<Dim, float, Host>;

/// The features of each voxel.
template <int Dim>
using Values = std::map<Position<Dim>, std::vector<float>>;

template <int Dim>
Tensor<Dim> tensor_of(Input<Dim> const& input, Execution<Host> const& exec)
{
  return {make_coordinate_set(input.rows, input.options, exec),
          upload_matrix(input.features, input.channels, exec)};
}

template <int Dim>
std::vector<float> row_of(Input<Dim> const& input, std::size_t n)
{
  auto const width = static_cast<std::ptrdiff_t>(input.channels);
  auto const first = input.features.begin() + static_cast<std::ptrdiff_t>(n) * width;
  return {first, first + width};
}

/// Compares a tensor with the voxels that it should have.
template <int Dim>
void check_values(Tensor<Dim> const& y, Values<Dim> const& expected, Execution<Host> const& exec,
                  Outcome& outcome)
{
  auto const rows = y.coordinates_on_host(exec);
  auto const values = y.features_on_host(exec);
  auto const width = static_cast<std::size_t>(y.channels());
  ++outcome.results;
  REQUIRE(rows.size() == expected.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    auto const found = expected.find(position_of(rows[i]));
    REQUIRE(found != expected.end());
    for (std::size_t c = 0; c < width; ++c) {
      REQUIRE(values[i * width + c] == found->second[c]);
      ++outcome.values;
    }
  }
}

template <int Dim>
void check_chosen(Random& random, Outcome& outcome)
{
  auto const input = random_input<Dim>(random);
  static std::vector<int> const limits{INT_MIN, -(1 << 30), -3, 0, 2, 5, 102, 1 << 30, INT_MAX};
  IntArray<Dim> lower;
  IntArray<Dim> upper;
  for (int i = 0; i < Dim; ++i) {
    lower[i] = random.once_in(2) ? random.between(-6, 3) : random.one_of(limits);
    upper[i] = random.once_in(2) ? random.between(2, 12) : random.one_of(limits);
  }
  float const threshold = random.value();
  attempt(random, outcome, [&](Execution<Host> const& exec) {
    auto const x = tensor_of(input, exec);
    Values<Dim> inside;
    Values<Dim> above;
    std::vector<float> scores;
    for (std::size_t n = 0; n < input.rows.size(); ++n) {
      auto const at = position_of(input.rows[n]);
      bool keep = true;
      for (int i = 0; i < Dim; ++i) {
        auto const cell = at[static_cast<std::size_t>(i) + 1];
        keep = keep && cell >= lower[i] && cell < upper[i];
      }
      if (keep) { inside[at] = row_of(input, n); }
      scores.push_back(random.once_in(9) ? NAN : random.value());
      if (scores.back() > threshold) { above[at] = row_of(input, n); }
    }
    check_values(crop(x, lower, upper, exec), inside, exec, outcome);
    auto const judged = x.with_features(upload_matrix(scores, 1, exec));
    check_values(prune_above(x, judged, static_cast<double>(threshold), exec), above, exec, outcome);
  });
}

template <int Dim>
void check_joined(Random& random, Outcome& outcome)
{
  auto const a = random_input<Dim>(random);
  auto b = random_input<Dim>(random);
  if (random.once_in(2)) {  // some voxels of the first
    b.rows.assign(a.rows.begin(), a.rows.begin() + static_cast<std::ptrdiff_t>(a.rows.size() / 2));
    b.options = a.options;
  }
  b.channels = a.channels;
  b.features.clear();
  for (std::size_t i = 0; i < b.rows.size() * static_cast<std::size_t>(b.channels); ++i) {
    b.features.push_back(random.value());
  }
  auto const join = random.one_of<Join>({Join::outer, Join::inner, Join::left});
  attempt(random, outcome, [&](Execution<Host> const& exec) {
    Values<Dim> first;
    Values<Dim> second;
    for (std::size_t n = 0; n < a.rows.size(); ++n) { first[position_of(a.rows[n])] = row_of(a, n); }
    for (std::size_t n = 0; n < b.rows.size(); ++n) { second[position_of(b.rows[n])] = row_of(b, n); }
    Values<Dim> expected;
    for (auto const& [at, value] : first) {
      if (join != Join::inner || second.count(at) != 0) { expected[at] = value; }
    }
    for (auto const& [at, value] : second) {
      bool const there = first.count(at) != 0;
      if (!there && join == Join::outer) { expected[at] = value; }
      if (!there) { continue; }
      for (std::size_t c = 0; c < value.size(); ++c) { expected[at][c] += value[c]; }
    }
    auto const sum = add_by_coordinate({tensor_of(a, exec), tensor_of(b, exec)}, join, exec);
    check_values(sum, expected, exec, outcome);
  });
}

template <int Dim>
void check_split(Random& random, Outcome& outcome)
{
  auto input = random_input<Dim>(random);
  constexpr int children = 1 << Dim;
  input.channels = random.once_in(10) ? children + 1 : children * random.between(1, 2);
  auto const width = static_cast<std::size_t>(input.channels);
  input.features.clear();
  for (std::size_t i = 0; i < input.rows.size() * width; ++i) { input.features.push_back(random.value()); }
  if (random.once_in(3)) {
    input.options.tensor_stride = random.one_of<int>({2, 4, 3, 1 << 20, 1 << 30, INT_MAX});
  }
  attempt(random, outcome, [&](Execution<Host> const& exec) {
    std::vector<std::uint8_t> mask;
    Values<Dim> split;
    auto const each = width / children;
    for (std::size_t n = 0; n < input.rows.size(); ++n) {
      auto const bits = static_cast<std::uint8_t>(random.between(0, (1 << children) - 1) & 0xff);
      mask.push_back(bits);
      for (int k = 0; k < children; ++k) {
        if ((bits >> k & 1) == 0) { continue; }
        auto at = position_of(input.rows[n]);
        for (int i = 0; i < Dim; ++i) {
          auto& cell = at[static_cast<std::size_t>(i) + 1];
          cell = 2 * cell + (k >> (Dim - 1 - i) & 1);
        }
        auto const row = row_of(input, n);
        auto const from = row.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(k) * each);
        split[at].assign(from, from + static_cast<std::ptrdiff_t>(each));
      }
    }
    auto const x = tensor_of(input, exec);
    Matrix<std::uint8_t, Host> const marks = upload_matrix(mask, 1, exec);
    auto const y = channels_to_space(x, marks, ChildOrder::last_axis_fastest, exec);
    check_values(y, split, exec, outcome);
    Values<Dim> gathered;
    for (auto const& [at, value] : split) {
      auto parent = at;
      int k = 0;
      for (std::size_t i = 1; i < at.size(); ++i) {
        parent[i] = floor_div(at[i], 2);
        k = 2 * k + static_cast<int>(at[i] - 2 * parent[i]);
      }
      auto& row = gathered[parent];
      row.resize(width);
      std::copy(value.begin(), value.end(),
                row.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(k) * each));
    }
    check_values(space_to_channels(y, ChildOrder::last_axis_fastest, exec), gathered, exec, outcome);
  });
}

/// Points at and beyond the limits go into the voxels of the rule, and read them back.
template <int Dim>
void check_points(Random& random, Outcome& outcome)
{
  static std::vector<float> const places{0.0F,    -0.0F,    1e9F,    -1e9F, 3e9F,
                                         FLT_MAX, -FLT_MAX, FLT_MIN, NAN,   INFINITY};
  static std::vector<float> const sizes{1.0F, 0.05F, 1e-6F, 1e-30F,   1e30F,
                                        0.0F, -1.0F, NAN,   INFINITY, FLT_MIN};
  auto const count = static_cast<std::size_t>(random.between(0, 40));
  int const batches = random.between(1, 2);
  bool const wild = random.once_in(3);
  std::vector<float> positions;
  std::vector<float> features;
  for (std::size_t n = 0; n < count; ++n) {
    positions.push_back(random.once_in(80) ? random.one_of(places)
                                           : static_cast<float>(random.between(0, batches - 1)));
    for (int i = 0; i < Dim; ++i) {
      positions.push_back(wild && random.once_in(8) ? random.one_of(places) : 3 * random.value());
    }
    features.push_back(static_cast<float>(n));
  }
  float const size = random.once_in(2) ? 1.0F : random.one_of(sizes);
  attempt(random, outcome, [&](Execution<Host> const& exec) {
    PointTensor<Dim, float, Host> const points{upload_matrix(positions, Dim + 1, exec).view(),
                                               upload_matrix(features, 1, exec).view(), exec, batches};
    auto const made = initial_voxelize(points, 1.0F, size, exec);
    std::map<Position<Dim>, std::vector<double>> cells;
    for (std::size_t n = 0; n < count; ++n) {
      auto const* const p = positions.data() + n * (Dim + 1);
      Position<Dim> at{static_cast<std::int64_t>(p[0])};
      bool finite = std::isfinite(p[0]);
      for (int i = 0; i < Dim; ++i) {
        auto const place = p[i + 1] * 1.0F * (1 / size);
        finite = finite && std::isfinite(place);
        at[static_cast<std::size_t>(i) + 1] = finite ? static_cast<std::int64_t>(std::floor(place)) : 0;
      }
      if (finite) { cells[at].push_back(features[n]); }
    }
    auto const rows = made.voxels.coordinates_on_host(exec);
    auto const means = made.voxels.features_on_host(exec);
    ++outcome.results;
    REQUIRE(rows.size() == cells.size());
    std::size_t row = 0;
    for (auto const& [at, members] : cells) {
      REQUIRE(position_of(rows[row]) == at);
      double sum = 0;
      for (auto const value : members) { sum += value; }
      REQUIRE(std::fabs(means[row] - sum / static_cast<double>(members.size())) <=
              1e-4 * (1 + std::fabs(sum)));
      ++row;
      ++outcome.values;
    }
    auto const back = voxel_to_point(made.voxels, made.points, exec);
    REQUIRE(back.features_on_host(exec).size() == count);
  });
}

}  // namespace

TEST_CASE("extreme calls: voxels are chosen, joined and split as the definition says, or it is refused")
{
  run_rounds(300, [](Random& random, Outcome& outcome) {
    check_chosen<1>(random, outcome);
    check_chosen<3>(random, outcome);
    check_joined<2>(random, outcome);
    check_joined<3>(random, outcome);
    check_split<1>(random, outcome);
    check_split<3>(random, outcome);
  });
}

TEST_CASE("extreme calls: points make voxels and read them as the definition says, or it is refused")
{
  run_rounds(300, [](Random& random, Outcome& outcome) {
    check_points<1>(random, outcome);
    check_points<2>(random, outcome);
    check_points<3>(random, outcome);
  });
}
