// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/matrix.hpp>
#include <tessera/core/parallel.hpp>
#include <tessera/core/scalar.hpp>
#include <tessera/kmap/point_map.hpp>
#include <tessera/ops/detail/elementwise.hpp>

#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

// One map, read two ways. A mean divides by the number of points of the voxel: at the end where voxels gather,
// term by term where points do, which makes either the transpose of the other.

/// What each point gathers from its voxels.
template <class Sum>
struct TermsOfPoints {
  std::int32_t const* rows;   // [num_points, volume]
  float const* weights;       // [num_points, volume], or null: ones
  std::int32_t const* begin;  // [num_voxels + 1] of the segments, of a mean; else null
  int volume;
  std::int64_t num_voxels;

  [[nodiscard]] TESSERA_HOST_DEVICE std::int64_t first(std::int64_t i) const { return i * volume; }
  [[nodiscard]] TESSERA_HOST_DEVICE std::int64_t last(std::int64_t i) const { return (i + 1) * volume; }
  [[nodiscard]] TESSERA_HOST_DEVICE std::int64_t source(std::int64_t t) const
  {
    return rows[t] < num_voxels ? rows[t] : -1;
  }
  [[nodiscard]] TESSERA_HOST_DEVICE Sum term(std::int64_t t, Sum value) const
  {
    if (begin != nullptr) {
      return rounded_divide(value, static_cast<Sum>(begin[rows[t] + 1] - begin[rows[t]]));
    }
    return weights != nullptr ? static_cast<Sum>(weights[t]) * value : value;
  }
  [[nodiscard]] TESSERA_HOST_DEVICE Sum finish(std::int64_t, Sum sum) const { return sum; }
};

/// What each voxel gathers from its points.
template <class Sum>
struct TermsOfVoxels {
  std::int32_t const* begin;  // [num_voxels + 1]
  std::int32_t const* terms;  // [begin[num_voxels]]
  float const* weights;       // [num_points, volume], or null: ones
  int volume;
  bool is_mean;

  [[nodiscard]] TESSERA_HOST_DEVICE std::int64_t first(std::int64_t m) const { return begin[m]; }
  [[nodiscard]] TESSERA_HOST_DEVICE std::int64_t last(std::int64_t m) const { return begin[m + 1]; }
  [[nodiscard]] TESSERA_HOST_DEVICE std::int64_t source(std::int64_t t) const { return terms[t] / volume; }
  [[nodiscard]] TESSERA_HOST_DEVICE Sum term(std::int64_t t, Sum value) const
  {
    return weights != nullptr ? static_cast<Sum>(weights[terms[t]]) * value : value;
  }
  [[nodiscard]] TESSERA_HOST_DEVICE Sum finish(std::int64_t m, Sum sum) const
  {
    auto const count = begin[m + 1] - begin[m];
    return is_mean && count > 0 ? rounded_divide(sum, static_cast<Sum>(count)) : sum;
  }
};

/// output[i, c] = the sum of the terms of i, ascending; terms without a source are left out. Item number n is
/// pack n of the output, `Size` channels.
template <class Scalar, class Terms, int Size>
struct GatherTerms {
  using Sum = accumulator_t<Scalar>;

  Scalar const* input;  // [sources, packs * Size]
  Scalar* output;       // [items, packs * Size]
  std::int64_t packs;
  Terms terms;

  TESSERA_HOST_DEVICE void operator()(std::int64_t n) const
  {
    auto const item = n / packs;
    auto const pack = n - item * packs;
    Sum sums[Size] = {};
    auto const last = terms.last(item);
    for (auto t = terms.first(item); t < last; ++t) {
      auto const source = terms.source(t);
      if (source < 0) { continue; }
      auto const read = load_pack<Size>(input + (source * packs + pack) * Size);
      for (int j = 0; j < Size; ++j) { sums[j] += terms.term(t, static_cast<Sum>(read.values[j])); }
    }
    Pack<Scalar, Size> result;
    for (int j = 0; j < Size; ++j) { result.values[j] = static_cast<Scalar>(terms.finish(item, sums[j])); }
    store_pack(output + n * Size, result);
  }
};

/// A matrix [items, channels] of what `terms` gather from `input`.
template <class Scalar, class Space, class Terms>
[[nodiscard]] Matrix<Scalar, Space> gather_terms(MatrixView<Scalar const> const& input, std::int64_t items,
                                                 Terms const& terms, Execution<Space> const& exec)
{
  Matrix<Scalar, Space> output{items, input.columns, exec};
  with_pack_size<Scalar>(moves_in_packs(input.data, input.columns), [&](auto size) {
    constexpr int columns = decltype(size)::value;
    auto const packs = input.columns / columns;
    for_each(items * packs, GatherTerms<Scalar, Terms, columns>{input.data, output.data(), packs, terms},
             exec);
  });
  return output;
}

/// gather_terms() of every voxel.
template <class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> gather_to_voxels(MatrixView<Scalar const> const& points, bool is_mean,
                                                     PointMap<Space>& map, char const* who,
                                                     Execution<Space> const& exec)
{
  expects(points.rows == map.num_points(), who, ": ", points.rows, " rows of features for ", map.num_points(),
          " points");
  auto const& segments = map.segments(exec);
  TermsOfVoxels<accumulator_t<Scalar>> const terms{segments.begin.data(), segments.terms.data(),
                                                   is_mean ? nullptr : map.weights(), map.volume(), is_mean};
  return gather_terms<Scalar>(points, map.num_voxels(), terms, exec);
}

/// gather_terms() of every point.
template <class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> gather_to_points(MatrixView<Scalar const> const& voxels, bool is_mean,
                                                     PointMap<Space>& map, char const* who,
                                                     Execution<Space> const& exec)
{
  expects(voxels.rows == map.num_voxels(), who, ": ", voxels.rows, " rows of features for ", map.num_voxels(),
          " voxels");
  TermsOfPoints<accumulator_t<Scalar>> const terms{map.rows(), is_mean ? nullptr : map.weights(),
                                                   is_mean ? map.segments(exec).begin.data() : nullptr,
                                                   map.volume(), map.num_voxels()};
  return gather_terms<Scalar>(voxels, map.num_points(), terms, exec);
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
