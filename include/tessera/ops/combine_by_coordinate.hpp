// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/ops/detail/joined_tensors.hpp>
#include <tessera/ops/record.hpp>

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

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
    Execution<Space> const& exec)
{
  constexpr auto const* who = Rule::name;
  constexpr auto most = CombineRows<Scalar, Rule, 1>::most;
  expects(count <= most, who, ": ", count, " tensors; at most ", most, " at once");
  for (std::size_t k = 1; k < count; ++k) {
    expects(tensors[k].channels() == tensors[0].channels(), who, ": ", tensors[0].channels(), " and ",
            tensors[k].channels(), " channels; all must have as many");
  }
  auto const joined = join_tensors(tensors, count, join, who, exec);
  Matrix<Scalar, Space> y{joined.coordinates->capacity(), tensors[0].channels(), exec};
  with_pack_size<Scalar>(y.columns() % pack_size<Scalar> == 0, [&](auto size) {
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
    Execution<Space> const& exec)
{
  auto const joined = join_tensors(tensors, count, join, "cat_by_coordinate", exec);
  std::int64_t channels = 0;
  bool whole_packs = true;
  for (std::size_t k = 0; k < count; ++k) {
    channels += tensors[k].channels();
    whole_packs = whole_packs && tensors[k].channels() % pack_size<Scalar> == 0;
  }
  Matrix<Scalar, Space> y{joined.coordinates->capacity(), channels, exec};
  with_pack_size<Scalar>(whole_packs, [&](auto size) {
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

namespace ops {

/// The sum (detail::SumOfVoxels) or product (detail::ProductOfVoxels) of tensors by coordinate.
template <class Rule, int Dim, class Scalar, class Space>
struct CombineByCoordinateRecord final
    : FunctionRecord<CombineByCoordinateRecord<Rule, Dim, Scalar, Space>, Space,
                     SparseTensor<Dim, Scalar, Space>, std::vector<SparseTensor<Dim, Scalar, Space>>> {
  using Tensor = SparseTensor<Dim, Scalar, Space>;

  CombineByCoordinateRecord(Tensor const& y, Tensor const* first, std::size_t count, Join by)
      : CombineByCoordinateRecord::FunctionRecord{Recorded<Tensor>{y},
                                                  Recorded<std::vector<Tensor>>{first, count}},
        join{by}
  {}

  [[nodiscard]] char const* name() const noexcept override { return Rule::name; }
  [[nodiscard]] Tensor compute(std::vector<Tensor> const& x, Execution<Space> const& exec) const
  {
    return detail::combine_by_coordinate_unrecorded<Rule>(x.data(), x.size(), join, exec);
  }

  Join join;
};

/// Tensors side by side, by coordinate.
template <int Dim, class Scalar, class Space>
struct CatByCoordinateRecord final
    : FunctionRecord<CatByCoordinateRecord<Dim, Scalar, Space>, Space, SparseTensor<Dim, Scalar, Space>,
                     std::vector<SparseTensor<Dim, Scalar, Space>>> {
  using Tensor = SparseTensor<Dim, Scalar, Space>;

  CatByCoordinateRecord(Tensor const& y, Tensor const* first, std::size_t count, Join by)
      : CatByCoordinateRecord::FunctionRecord{Recorded<Tensor>{y},
                                              Recorded<std::vector<Tensor>>{first, count}},
        join{by}
  {}

  [[nodiscard]] char const* name() const noexcept override { return "cat_by_coordinate"; }
  [[nodiscard]] Tensor compute(std::vector<Tensor> const& x, Execution<Space> const& exec) const
  {
    return detail::cat_by_coordinate_unrecorded(x.data(), x.size(), join, exec);
  }

  Join join;
};

}  // namespace ops

namespace detail {

template <class Rule, int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> combine_by_coordinate(
    SparseTensor<Dim, Scalar, Space> const* tensors, std::size_t count, Join join,
    Execution<Space> const& exec)
{
  return run_recorded(
      exec,
      [&](auto const& inside) {
        return combine_by_coordinate_unrecorded<Rule>(tensors, count, join, inside);
      },
      [&](auto const& y) {
        using Record = ops::CombineByCoordinateRecord<Rule, Dim, Scalar, Space>;
        return std::make_shared<Record>(y, tensors, count, join);
      });
}

template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> cat_by_coordinate(
    SparseTensor<Dim, Scalar, Space> const* tensors, std::size_t count, Join join,
    Execution<Space> const& exec)
{
  return run_recorded(
      exec, [&](auto const& inside) { return cat_by_coordinate_unrecorded(tensors, count, join, inside); },
      [&](auto const& y) {
        return std::make_shared<ops::CatByCoordinateRecord<Dim, Scalar, Space>>(y, tensors, count, join);
      });
}

}  // namespace detail

/// The sum of tensors whose voxels are matched by coordinate, whatever sets they are on:
/// `y[v, c] = sum over the tensors that have voxel v of x_k[v, c]`, in their order, rounded once.
///
/// add() is for tensors on one set, whose rows are known to agree. This is for tensors that were made from
/// different clouds, or reached the same voxels in different ways: `add_by_coordinate({a, b}, Join::outer,
/// exec)`. A transposed convolution leads back from the first tensor's set alone, so that a decoder wants
/// Join::left.
///
/// | name    | shape                  | memory | holds                                               |
/// |---------|------------------------|--------|-----------------------------------------------------|
/// | tensors | each [rows_k, C]       | Space  | 1 to 16, of one tensor stride                       |
/// | join    |                        |        | which voxels the result has; see Join               |
/// | returns | [voxels of `join`, C]  | Space  | on a new set; on the tensors' where all share one   |
///
/// @throws invalid_argument  no tensors or more than 16, other channels, other tensor strides, and what
/// unite_coordinates() says
/// Cost: for each further set, one sort of the rows of both (Join::left: one table, and a lookup for each row),
/// the first time if they belong to one input; then one pass over the features.
/// Stream: enqueues on `exec`; waits once for each further set, for the number of voxels; under a fixed
/// capacity (a Plan) and with Join::left never.
/// Determinism: same input, same bits.
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> add_by_coordinate(
    std::initializer_list<SparseTensor<Dim, Scalar, Space>> tensors, Join join, Execution<Space> const& exec)
{
  return detail::combine_by_coordinate<detail::SumOfVoxels>(tensors.begin(), tensors.size(), join, exec);
}
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> add_by_coordinate(
    std::vector<SparseTensor<Dim, Scalar, Space>> const& tensors, Join join, Execution<Space> const& exec)
{
  return detail::combine_by_coordinate<detail::SumOfVoxels>(tensors.data(), tensors.size(), join, exec);
}

/// The elementwise product of tensors whose voxels are matched by coordinate:
/// `y[v, c] = product over all tensors of x_k[v, c]`, in their order, rounded once; 0 where a tensor does not
/// have voxel v (with Join::inner there is no such voxel).
/// Arguments, errors, cost, stream, determinism: as add_by_coordinate().
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> multiply_by_coordinate(
    std::initializer_list<SparseTensor<Dim, Scalar, Space>> tensors, Join join, Execution<Space> const& exec)
{
  return detail::combine_by_coordinate<detail::ProductOfVoxels>(tensors.begin(), tensors.size(), join, exec);
}
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> multiply_by_coordinate(
    std::vector<SparseTensor<Dim, Scalar, Space>> const& tensors, Join join, Execution<Space> const& exec)
{
  return detail::combine_by_coordinate<detail::ProductOfVoxels>(tensors.data(), tensors.size(), join, exec);
}

/// Tensors side by side, the first one's channels first, voxels matched by coordinate:
/// `y[v, offset_k + c] = x_k[v, c]`, 0 where tensor k does not have voxel v; `offset_k` is the number of
/// channels before those of tensor k.
///
/// The tensors may have different channels, and there may be any number of them. Other arguments, errors,
/// cost, stream, determinism: as add_by_coordinate().
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> cat_by_coordinate(
    std::initializer_list<SparseTensor<Dim, Scalar, Space>> tensors, Join join, Execution<Space> const& exec)
{
  return detail::cat_by_coordinate(tensors.begin(), tensors.size(), join, exec);
}
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> cat_by_coordinate(
    std::vector<SparseTensor<Dim, Scalar, Space>> const& tensors, Join join, Execution<Space> const& exec)
{
  return detail::cat_by_coordinate(tensors.data(), tensors.size(), join, exec);
}

}  // namespace v0
}  // namespace tessera
