// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/ops/detail/joined_tensors.hpp>

#include <cstdint>
#include <memory>
#include <utility>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Which voxels tensors were combined on, as a record keeps it.
template <int Dim, class Space>
using SharedJoin = std::shared_ptr<JoinedSets<Dim, Space> const>;

/// y[i, c] = what `Rule` makes of the tensors' features at voxel i, tensors in their order; item number n is
/// pack n of y, `Size` channels.
template <class Scalar, class Rule, int Size>
struct CombineRows {
  using Sum = accumulator_t<Scalar>;
  static constexpr std::size_t most = 16;  // tensors in one kernel

  Scalar const* features[most];    // each [rows of the tensor, packs * Size]
  std::int32_t const* rows[most];  // each [rows of y], or null: row i is row i
  int count;
  Scalar* y;  // [rows, packs * Size]
  std::int64_t packs;

  TESSERA_HOST_DEVICE void operator()(std::int64_t n) const
  {
    auto const row = n / packs;
    auto const pack = n - row * packs;
    Sum values[Size] = {};
    bool any = false;
    bool all = true;
    for (int k = 0; k < count; ++k) {
      auto const from = rows[k] != nullptr ? std::int64_t{rows[k][row]} : row;
      if (from < 0) {
        all = false;
        continue;
      }
      auto const read = load_pack<Size>(features[k] + (from * packs + pack) * Size);
      for (int j = 0; j < Size; ++j) {
        auto const value = static_cast<Sum>(read.values[j]);
        values[j] = any ? Rule::combine(values[j], value) : value;
      }
      any = true;
    }
    Pack<Scalar, Size> result;
    for (int j = 0; j < Size; ++j) {
      result.values[j] = static_cast<Scalar>(all || !Rule::needs_all ? values[j] : Sum{0});
    }
    store_pack(y + n * Size, result);
  }
};

struct SumOfVoxels {
  static constexpr char const* name = "add_by_coordinate";
  static constexpr char const* backward_name = "add_by_coordinate_backward";
  static constexpr bool needs_all = false;
  template <class Sum>
  [[nodiscard]] TESSERA_HOST_DEVICE static Sum combine(Sum a, Sum b)
  {
    return a + b;
  }
};

/// 0 where a factor is missing.
struct ProductOfVoxels {
  static constexpr char const* name = "multiply_by_coordinate";
  static constexpr char const* backward_name = "multiply_by_coordinate_backward";
  static constexpr bool needs_all = true;
  template <class Sum>
  [[nodiscard]] TESSERA_HOST_DEVICE static Sum combine(Sum a, Sum b)
  {
    return a * b;
  }
};

/// to[i, offset + c] = from[rows[i], c], or 0 where that row is -1; item number n is pack n of the columns
/// written.
template <class Scalar, int Size>
struct CopyVoxels {
  Scalar const* from;        // [.., packs * Size]
  std::int32_t const* rows;  // [rows], or null: row i is row i
  Scalar* to;                // [rows, to_columns]
  std::int64_t packs;
  std::int64_t to_columns;
  std::int64_t offset;

  TESSERA_HOST_DEVICE void operator()(std::int64_t n) const
  {
    auto const row = n / packs;
    auto const pack = n - row * packs;
    auto const from_row = rows != nullptr ? std::int64_t{rows[row]} : row;
    Pack<Scalar, Size> values;
    for (int j = 0; j < Size; ++j) { values.values[j] = static_cast<Scalar>(0.0F); }
    if (from_row >= 0) { values = load_pack<Size>(from + (from_row * packs + pack) * Size); }
    store_pack(to + row * to_columns + offset + pack * Size, values);
  }
};

template <class Rule, int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> combine_by_coordinate_unrecorded(
    SparseTensor<Dim, Scalar, Space> const* tensors, std::size_t count, Join join,
    SharedJoin<Dim, Space>& joint, Execution<Space> const& exec)
{
  constexpr auto const* who = Rule::name;
  constexpr auto most = CombineRows<Scalar, Rule, 1>::most;
  expects(count <= most, who, ": ", count, " tensors; at most ", most, " at once");
  for (std::size_t k = 1; k < count; ++k) {
    expects(tensors[k].channels() == tensors[0].channels(), who, ": ", tensors[0].channels(), " and ",
            tensors[k].channels(), " channels; all must have as many");
  }
  joint = std::make_shared<JoinedSets<Dim, Space> const>(join_tensors(tensors, count, join, who, exec));
  auto const& joined = *joint;
  Matrix<Scalar, Space> y{joined.coordinates->capacity(), tensors[0].channels(), exec};
  bool in_packs = true;
  for (std::size_t k = 0; k < count; ++k) {
    in_packs = in_packs && moves_in_packs(tensors[k].features().data, y.columns());
  }
  with_pack_size<Scalar>(in_packs, [&](auto size) {
    CombineRows<Scalar, Rule, size()> body{};
    for (std::size_t k = 0; k < count; ++k) {
      body.features[k] = tensors[k].features().data;
      body.rows[k] = joined.rows_of(k);
    }
    body.count = static_cast<int>(count);
    body.y = y.data();
    body.packs = y.columns() / size();
    for_each(y.size() / size(), body, exec);
  });
  return {joined.coordinates, std::move(y)};
}

template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> cat_by_coordinate_unrecorded(
    SparseTensor<Dim, Scalar, Space> const* tensors, std::size_t count, Join join,
    SharedJoin<Dim, Space>& joint, Execution<Space> const& exec)
{
  joint = std::make_shared<JoinedSets<Dim, Space> const>(
      join_tensors(tensors, count, join, "cat_by_coordinate", exec));
  auto const& joined = *joint;
  std::int64_t channels = 0;
  bool in_packs = true;
  for (std::size_t k = 0; k < count; ++k) {
    channels += tensors[k].channels();
    in_packs = in_packs && moves_in_packs(tensors[k].features().data, tensors[k].channels());
  }
  Matrix<Scalar, Space> y{joined.coordinates->capacity(), channels, exec};
  with_pack_size<Scalar>(in_packs, [&](auto size) {
    std::int64_t offset = 0;
    for (std::size_t k = 0; k < count; ++k) {
      auto const packs = std::int64_t{tensors[k].channels()} / size();
      for_each(y.rows() * packs,
               CopyVoxels<Scalar, size()>{tensors[k].features().data, joined.rows_of(k), y.data(), packs,
                                          channels, offset},
               exec);
      offset += tensors[k].channels();
    }
  });
  return {joined.coordinates, std::move(y)};
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
