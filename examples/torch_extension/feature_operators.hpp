// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "convolution_operators.hpp"

#include <tessera/ops/dense.hpp>
#include <tessera/ops/global_pooling.hpp>
#include <tessera/ops/pool_over_map.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

namespace tessera_torch {

/// Pools and dense tensors of one space.
template <class Space>
struct FeatureOperators {
  using Execution = ts::Execution<Space>;

  static Tensor pool(Tensor const& features, Tensor const& out_in, std::optional<Tensor> const&,
                     std::string const& mode, bool from_zero)
  {
    constexpr auto const* who = "pool";
    auto const kind = kind_of(mode, who);
    Call<Space> call{features};
    return Scalars<Space>::visit(features, who, [&](auto type) {
      using Scalar = typename decltype(type)::type;
      auto const x = matrix<Scalar>(features, features, who, "the tensor of features");
      auto const map = map_of(out_in, std::nullopt, features, x.rows, who, call.exec());
      return take(call, ts::pool_over_map(kind, x, *map, from_zero, call.exec()));
    });
  }

  static Tensor pool_backward(Tensor const& grad, Tensor const& features, Tensor const& out_in,
                              Tensor const& in_out, std::string const& mode, bool from_zero)
  {
    constexpr auto const* who = "pool_backward";
    auto const kind = kind_of(mode, who);
    Call<Space> call{features};
    return Scalars<Space>::visit(features, who, [&](auto type) {
      using Scalar = typename decltype(type)::type;
      auto const x = matrix<Scalar>(features, features, who, "the tensor of features");
      auto const dy = matrix<Scalar>(grad, features, who, "the gradient");
      auto const map = map_of(out_in, in_out, features, x.rows, who, call.exec());
      expects(dy.rows == map->num_out() && dy.columns == x.columns, who, ": a gradient of ", dy.rows, " x ",
              dy.columns, " for ", map->num_out(), " output rows of ", x.columns, " channels");
      return take(call, ts::pool_over_map_backward(kind, dy, x, *map, from_zero, call.exec()));
    });
  }

  static Tensor global_pool(Tensor const& features, Tensor const& coordinates, std::int64_t batch_size,
                            std::string const& mode)
  {
    constexpr auto const* who = "global_pool";
    bool const average = is_average(mode, who);
    Call<Space> call{features};
    return on_tensor(call, features, coordinates, batch_size, who, [&](auto const& x) {
      return take(call,
                  average ? ts::global_average_pool(x, call.exec()) : ts::global_max_pool(x, call.exec()));
    });
  }

  static Tensor global_pool_backward(Tensor const& grad, Tensor const& features, Tensor const& coordinates,
                                     std::string const& mode)
  {
    constexpr auto const* who = "global_pool_backward";
    bool const average = is_average(mode, who);
    Call<Space> call{features};
    expects(grad.dim() == 2, who, ": a gradient of ", grad.dim(), " axes, not 2");
    return on_tensor(call, features, coordinates, grad.size(0), who, [&](auto const& x) {
      using Scalar = typename std::decay_t<decltype(x)>::scalar;
      auto const dy = matrix<Scalar>(grad, features, who, "the gradient");
      expects(dy.columns == x.channels(), who, ": a gradient of ", dy.columns, " channels for ",
              x.channels());
      return take(call, average ? ts::global_average_pool_backward(dy, x, call.exec())
                                : ts::global_max_pool_backward(dy, x, call.exec()));
    });
  }

  static Tensor dense(Tensor const& features, Tensor const& coordinates, Integers const& shape,
                      std::int64_t batch_size, bool channels_first)
  {
    constexpr auto const* who = "dense";
    expects(!shape.empty(), who, ": no shape is given");
    Call<Space> call{features};
    return Scalars<Space>::visit(features, who, [&](auto type) {
      using Scalar = typename decltype(type)::type;
      auto const x = matrix<Scalar>(features, features, who, "the tensor of features");
      return visit_dim_of(coordinates, who, [&](auto dim) {
        constexpr int Dim = decltype(dim)::value;
        auto const set = grid_set<Dim>(features, coordinates, shape, batch_size, who, call.exec());
        ts::SparseTensor<Dim, Scalar, Space> const tensor{set, borrow_matrix(x, call.exec())};
        auto const y = ts::dense(tensor, {std::nullopt, layout_of(channels_first)}, call.exec());
        return take(call, y.data(), y.shape());
      });
    });
  }

  static Tensor dense_backward(Tensor const& grad, Tensor const& coordinates, bool channels_first)
  {
    constexpr auto const* who = "dense_backward";
    Call<Space> call{grad};
    expects(grad.dim() >= 3, who, ": a gradient of ", grad.dim(), " axes, not [batch, channels, ...]");
    return Scalars<Space>::visit(grad, who, [&](auto type) {
      using Scalar = typename decltype(type)::type;
      check_tensor(grad, grad, -1, who, "the gradient");
      auto const grid = grid_of(grad, channels_first);
      return visit_dim_of(coordinates, who, [&](auto dim) {
        constexpr int Dim = decltype(dim)::value;
        auto const set = grid_set<Dim>(grad, coordinates, grid.first, grad.size(0), who, call.exec());
        // Of the features nothing is read: the gradient says how many channels there are.
        ts::SparseTensor<Dim, Scalar, Space> const x{set, ts::Matrix<Scalar, Space>{{}, set->capacity(), 0}};
        ts::MatrixView<Scalar const> const dy{static_cast<Scalar const*>(grad.data_ptr()), 1, grad.numel()};
        return take(call, ts::dense_backward(dy, x, {std::nullopt, layout_of(channels_first)}, call.exec()));
      });
    });
  }

  /// (features, coordinates) of the cells of which a channel is not zero.
  static std::tuple<Tensor, Tensor> sparse(Tensor const& dense, bool channels_first)
  {
    constexpr auto const* who = "sparse";
    Call<Space> call{dense};
    expects(dense.dim() >= 3, who, ": a tensor of ", dense.dim(),
            " axes; a batch, channels and 1 to 4 more are needed");
    check_tensor(dense, dense, -1, who, "the dense tensor");
    return Scalars<Space>::visit(dense, who, [&](auto type) {
      using Scalar = typename decltype(type)::type;
      auto const grid = grid_of(dense, channels_first);
      return visit_dim(dense.dim() - 2, who, [&](auto dim) {
        constexpr int Dim = decltype(dim)::value;
        auto const range = *range_of<Dim>(grid.first, dense.size(0), who);
        auto values = ts::Buffer<Scalar, Space>::adopt(static_cast<Scalar*>(dense.data_ptr()), dense.numel(),
                                                       nullptr, call.exec());
        ts::DenseTensor<Dim, Scalar, Space> const x{std::move(values), range,
                                                    to_int(grid.second, who, "number of channels"),
                                                    layout_of(channels_first)};
        auto const y = ts::sparse(x, call.exec());
        auto const rows = y.capacity();
        return std::make_tuple(take(call, y.features().data, {rows, grid.second}),
                               take(call, y.coordinates()->data(), {rows, Dim + 1}));
      });
    });
  }

  template <class Library>
  static void add_to(Library& library)
  {
    library.impl("pool", TORCH_BOX(&pool));
    library.impl("pool_backward", TORCH_BOX(&pool_backward));
    library.impl("global_pool", TORCH_BOX(&global_pool));
    library.impl("global_pool_backward", TORCH_BOX(&global_pool_backward));
    library.impl("dense", TORCH_BOX(&dense));
    library.impl("dense_backward", TORCH_BOX(&dense_backward));
    library.impl("sparse", TORCH_BOX(&sparse));
  }

 private:
  [[nodiscard]] static auto map_of(Tensor const& out_in, std::optional<Tensor> const& in_out,
                                   Tensor const& like, std::int64_t num_in, char const* who,
                                   Execution const& exec)
  {
    return ConvolutionOperators<Space>::map_of(out_in, in_out, like, num_in, {{}, -1, false}, who, exec);
  }

  [[nodiscard]] static ts::PoolKind kind_of(std::string const& mode, char const* who)
  {
    return choice<ts::PoolKind>(
        mode, {{"max", ts::PoolKind::max}, {"average", ts::PoolKind::average}, {"sum", ts::PoolKind::sum}},
        who, "mode");
  }

  [[nodiscard]] static bool is_average(std::string const& mode, char const* who)
  {
    return choice<bool>(mode, {{"max", false}, {"average", true}}, who, "mode");
  }

  /// Calls `f` with the sparse tensor of features and coordinates, of which only the batch entries count.
  template <class F>
  static Tensor on_tensor(Call<Space>& call, Tensor const& features, Tensor const& coordinates,
                          std::int64_t batch_size, char const* who, F const& f)
  {
    return Scalars<Space>::visit(features, who, [&](auto type) {
      using Scalar = typename decltype(type)::type;
      auto const x = matrix<Scalar>(features, features, who, "the tensor of features");
      auto const rows_of_set = matrix<std::int32_t>(coordinates, features, who, "the tensor of coordinates");
      expects(rows_of_set.rows == x.rows, who, ": ", rows_of_set.rows, " coordinates but ", x.rows,
              " rows of features");
      return visit_dim_of(coordinates, who, [&](auto dim) {
        constexpr int Dim = decltype(dim)::value;
        ts::CoordinateBox<Dim> box;
        box.batches = to_int(batch_size, who, "batch size");
        box.lower = -(1 << 30);
        box.upper = 1 << 30;
        auto rows =
            borrow<ts::Coordinate<Dim>>(coordinates, features, who, "the tensor of coordinates", call.exec());
        if constexpr (std::is_same_v<Space, ts::Host>) {
          bool const inside = std::all_of(rows.data(), rows.data() + rows.size(), [&](auto const& row) {
            return row.batch >= 0 && row.batch < box.batches;
          });
          expects(inside, who, ": coordinates of a batch entry outside of [0, ", box.batches, ")");
        }
        auto set = ts::CoordinateSet<Dim, Space>::make({std::move(rows)}, box, {}, call.exec());
        ts::SparseTensor<Dim, Scalar, Space> const tensor{std::move(set), borrow_matrix(x, call.exec())};
        return f(tensor);
      });
    });
  }

  [[nodiscard]] static ts::DenseLayout layout_of(bool channels_first)
  {
    return channels_first ? ts::DenseLayout::channels_first : ts::DenseLayout::channels_last;
  }

  /// The extents and the number of channels of a dense tensor.
  [[nodiscard]] static std::pair<Integers, std::int64_t> grid_of(Tensor const& dense, bool channels_first)
  {
    auto const sizes = dense.sizes();
    std::pair<Integers, std::int64_t> result{{}, sizes[channels_first ? 1 : sizes.size() - 1]};
    auto const first = static_cast<std::size_t>(channels_first ? 2 : 1);
    for (auto i = first; i < first + sizes.size() - 2; ++i) { result.first.push_back(sizes[i]); }
    return result;
  }

  template <int Dim>
  [[nodiscard]] static ts::CoordinateSetPointer<Dim, Space> grid_set(Tensor const& like,
                                                                     Tensor const& coordinates,
                                                                     Integers const& shape,
                                                                     std::int64_t batch_size, char const* who,
                                                                     Execution const& exec)
  {
    ts::CoordinateSetOptions<Dim> const options{ts::IntArray<Dim>(1), range_of<Dim>(shape, batch_size, who)};
    return coordinate_set<Dim>(coordinates, like, options, who, exec);
  }
};

}  // namespace tessera_torch
