// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/combine_sets.hpp>
#include <tessera/core/parallel.hpp>
#include <tessera/hash/coordinate_table.hpp>
#include <tessera/ops/detail/elementwise.hpp>
#include <tessera/ops/join.hpp>
#include <tessera/tensor/sparse_tensor.hpp>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {

namespace detail {

/// composed[i] = earlier[later[i]], or -1 where there is none.
struct ComposeRows {
  std::int32_t const* earlier;
  std::int32_t const* later;  // [rows]
  std::int32_t* composed;     // [rows]

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    composed[i] = later[i] >= 0 ? earlier[later[i]] : -1;
  }
};

/// rows[i] = row of `table` that holds the voxel of row i, or -1. The first item passes on the errors of the
/// table's coordinate manager.
template <int Dim, class Key>
struct FindRows {
  CoordinateView<Dim> coordinates;
  CoordinateTableRef<Dim, Key> table;
  std::int32_t* rows;  // [capacity]
  std::uint32_t const* table_errors;
  std::uint32_t* errors;

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const
  {
    if (i == 0 && *table_errors != 0) { atomic_or(errors, *table_errors); }
    if (i >= coordinates.num_rows.capacity) { return; }
    rows[i] = i < coordinates.size() ? table.find(coordinates.load(i)) : -1;
  }
};

template <int Dim, class Key>
FindRows(CoordinateView<Dim>, CoordinateTableRef<Dim, Key>, std::int32_t*, std::uint32_t const*,
         std::uint32_t*) -> FindRows<Dim, Key>;

/// A set of voxels, and for each of several tensors which of its rows hold them.
template <int Dim, class Space>
struct JoinedSets {
  using Rows = std::shared_ptr<Buffer<std::int32_t, Space> const>;

  CoordinateSetPointer<Dim, Space> coordinates;
  std::vector<Rows> rows;  // of each tensor: [capacity] row or -1; null: row i is row i

  [[nodiscard]] std::int32_t const* rows_of(std::size_t tensor) const
  {
    return rows[tensor] != nullptr ? rows[tensor]->data() : nullptr;
  }
};

/// The row of `b` of each voxel of `a`.
/// Stream: enqueues on `exec`, does not wait.
template <int Dim, class Space>
[[nodiscard]] typename JoinedSets<Dim, Space>::Rows find_rows(CoordinateSet<Dim, Space>& a,
                                                              CoordinateSet<Dim, Space>& b,
                                                              Execution<Space> const& exec)
{
  auto rows = std::make_shared<Buffer<std::int32_t, Space>>(a.capacity(), exec);
  coordinate_table(b, exec)->visit([&](auto const& table) {
    for_each(std::max<std::int64_t>(1, a.capacity()),
             FindRows{a.view(), table, rows->data(), access(b).errors(), access(a).errors()}, exec);
  });
  return rows;
}

/// `joined` with one more set.
template <int Dim, class Space>
void join_next(JoinedSets<Dim, Space>& joined, CoordinateSetPointer<Dim, Space> const& set, Join join,
               Execution<Space> const& exec)
{
  auto const combined = join == Join::outer ? unite_coordinates(joined.coordinates, set, exec)
                                            : intersect_coordinates(joined.coordinates, set, exec);
  using Rows = typename JoinedSets<Dim, Space>::Rows;
  Rows const of_joined{combined.rows, &combined.rows->of_first};
  for (auto& rows : joined.rows) {
    if (rows == nullptr) {
      rows = of_joined;
      continue;
    }
    auto composed = std::make_shared<Buffer<std::int32_t, Space>>(of_joined->size(), exec);
    for_each(composed->size(), ComposeRows{rows->data(), of_joined->data(), composed->data()}, exec);
    rows = std::move(composed);
  }
  joined.rows.push_back(Rows{combined.rows, &combined.rows->of_second});
  joined.coordinates = combined.coordinates;
}

/// The voxels of `join`, and where each tensor has them. Tensors that are all on one set stay on it.
template <int Dim, class Scalar, class Space>
[[nodiscard]] JoinedSets<Dim, Space> join_tensors(SparseTensor<Dim, Scalar, Space> const* tensors,
                                                  std::size_t count, Join join, char const* who,
                                                  Execution<Space> const& exec)
{
  expects(count >= 1, who, ": no tensors");
  for (std::size_t k = 0; k < count; ++k) {
    expect_coordinates(tensors[k], who);
    expects(tensors[k].tensor_stride() == tensors[0].tensor_stride(), who, ": tensors of tensor stride ",
            list(tensors[0].tensor_stride()), " and ", list(tensors[k].tensor_stride()),
            " have no voxel in common; bring them to one stride first");
  }
  JoinedSets<Dim, Space> joined{tensors[0].coordinates(), {nullptr}};
  for (std::size_t k = 1; k < count; ++k) {
    auto const& set = tensors[k].coordinates();
    std::size_t same = 0;  // an earlier tensor on this set
    while (same < k && tensors[same].coordinates() != set) { ++same; }
    if (same < k) {
      joined.rows.push_back(joined.rows[same]);
    } else if (join == Join::left) {
      joined.rows.push_back(find_rows(*joined.coordinates, *set, exec));
    } else {
      join_next(joined, set, join, exec);
    }
  }
  return joined;
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
