// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/coordinate_set.hpp>
#include <tessera/core/detail/sort.hpp>
#include <tessera/core/scalar.hpp>
#include <tessera/ops/detail/elementwise.hpp>
#include <tessera/tensor/sparse_tensor.hpp>

#include <cstdint>
#include <utility>

namespace tessera {
inline namespace v0 {
namespace detail {

// --- which rows stay ---------------------------------------------------------------------------------------

struct KeepMarked {
  std::uint8_t const* mask;  // [rows]

  template <int Dim>
  [[nodiscard]] TESSERA_HOST_DEVICE bool operator()(std::int64_t row, Coordinate<Dim> const&) const
  {
    return mask[row] != 0;
  }
};

/// NaN does not stay.
template <class Scalar>
struct KeepAbove {
  Scalar const* scores;  // [rows]
  accumulator_t<Scalar> threshold;

  template <int Dim>
  [[nodiscard]] TESSERA_HOST_DEVICE bool operator()(std::int64_t row, Coordinate<Dim> const&) const
  {
    auto const score = static_cast<accumulator_t<Scalar>>(scores[row]);
    return score > threshold && !is_nan(score);
  }
};

template <int Dim>
struct KeepInBox {
  IntArray<Dim> lower;
  IntArray<Dim> upper;  // exclusive

  [[nodiscard]] TESSERA_HOST_DEVICE bool operator()(std::int64_t, Coordinate<Dim> const& c) const
  {
    bool inside = true;
    for (int i = 0; i < Dim; ++i) {
      inside = inside && c.position[i] >= lower[i] && c.position[i] < upper[i];
    }
    return inside;
  }
};

// --- taking them -------------------------------------------------------------------------------------------

/// marks[i] = whether row i stays; one further 0 closes the array.
template <int Dim, class Keep>
struct MarkRows {
  CoordinateView<Dim> rows;
  Keep keep;
  std::int32_t* marks;  // [capacity + 1]

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    marks[i] = i < rows.size() && keep(i, rows[i]) ? 1 : 0;
  }
};

/// Puts the rows that stay one after the other.
template <int Dim>
struct CompactRows {
  CoordinateView<Dim> rows;
  std::int32_t const* place;  // [capacity + 1]
  Coordinate<Dim>* kept;      // [number kept]
  std::int32_t* source;       // [number kept]

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    if (place[i + 1] == place[i]) { return; }
    kept[place[i]] = rows[i];
    source[place[i]] = static_cast<std::int32_t>(i);
  }
};

/// to[i] = from[source[i]], or 0 where there is no source; item number n is a pack.
template <class Scalar, int Size>
struct GatherPacks {
  Scalar const* from;          // [rows, packs * Size]
  std::int32_t const* source;  // [items]
  Scalar* to;                  // [items, packs * Size]
  std::int64_t packs;

  TESSERA_HOST_DEVICE void operator()(std::int64_t n) const
  {
    auto const item = n / packs;
    Pack<Scalar, Size> pack;
    for (int j = 0; j < Size; ++j) { pack.values[j] = Scalar(0.0F); }
    if (source[item] >= 0) {
      pack = load_pack<Size>(from + (source[item] * packs + n - item * packs) * Size);
    }
    store_pack(to + n * Size, pack);
  }
};

template <class Scalar, class Space>
[[nodiscard]] Matrix<Scalar, Space> gather_rows(MatrixView<Scalar const> const& from,
                                                Buffer<std::int32_t, Space> const& source,
                                                Execution<Space> const& exec)
{
  Matrix<Scalar, Space> result{source.size(), from.columns, exec};
  with_pack_size<Scalar>(moves_in_packs(from.data, from.columns), [&](auto size) {
    constexpr int columns = decltype(size)::value;
    auto const packs = from.columns / columns;
    for_each(source.size() * packs,
             GatherPacks<Scalar, columns>{from.data, source.data(), result.data(), packs}, exec);
  });
  return result;
}

/// The rows of `x` that `keep` says, in their order, as a tensor on a set of its own.
/// Stream: waits once for their number, unless the set has a fixed capacity.
template <int Dim, class Scalar, class Space, class Keep>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> select_rows(SparseTensor<Dim, Scalar, Space> const& x,
                                                           Keep const& keep, Execution<Space> const& exec)
{
  auto const& set = *x.coordinates();
  auto const capacity = set.capacity();
  Buffer<std::int32_t, Space> place{capacity + 1, exec};
  for_each(capacity + 1, MarkRows<Dim, Keep>{set.view(), keep, place.data()}, exec);
  Scan<Space>::exclusive(place.data(), place.data(), capacity + 1, exec);
  bool const is_fixed = set.has_device_count() || set.fixed_capacity().has_value();
  auto const room = is_fixed ? capacity : std::int64_t{download(place.data() + capacity, 1, exec)[0]};
  typename CoordinateSet<Dim, Space>::Rows rows{{room, exec}};
  if (is_fixed) { rows.count = copy(place.data() + capacity, 1, exec); }
  Buffer<std::int32_t, Space> source{room, exec};
  fill_bytes(source, 0xff, exec);
  for_each(capacity, CompactRows<Dim>{set.view(), place.data(), rows.rows.data(), source.data()}, exec);
  CoordinateSetOptions<Dim> options{set.tensor_stride(), set.spatial_range()};
  options.fixed_capacity = set.fixed_capacity();
  options.only_entry = set.only_entry();
  auto kept = CoordinateSet<Dim, Space>::make(std::move(rows), set.box(), options, exec);
  return {std::move(kept), gather_rows<Scalar>(x.features(), source, exec)};
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
