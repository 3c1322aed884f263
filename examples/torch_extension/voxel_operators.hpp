// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "arguments.hpp"

#include <tessera/coords/voxelize.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <utility>

namespace tessera_torch {

/// Voxels of points in one space.
template <class Space>
struct VoxelOperators {
  /// (voxels, coordinates, num_points, means)
  static std::tuple<Tensor, Tensor, Tensor, Tensor> hard_voxelize(
      Tensor const& points, std::optional<Tensor> const& batch, std::int64_t batch_size,
      Numbers const& voxel_size, Numbers const& lower, Numbers const& upper, std::int64_t max_points,
      std::int64_t max_voxels, std::string const& order)
  {
    constexpr auto const* who = "hard_voxelize";
    Call<Space> call{points};
    auto const view = points_of(points, batch, batch_size, who);
    auto options = options_of(voxel_size, lower, upper, order, who);
    options.points_per_voxel(to_int(max_points, who, "number of points"))
        .voxels(to_int(max_voxels, who, "number of voxels"));
    auto const made = ts::hard_voxelize(view, options, call.exec(), ts::VoxelOutputs{true, true});
    auto const count = made.num_points.size();
    auto const columns = points.size(1);
    return std::make_tuple(take(call, made.points.data(), {count, max_points, columns}),
                           take(call, made.coordinates->data(), {count, 4}),
                           take(call, made.num_points.data(), {count}),
                           take(call, made.mean.data(), {count, columns}));
  }

  /// (features, coordinates, inverse)
  static std::tuple<Tensor, Tensor, Tensor> dynamic_voxelize(Tensor const& points,
                                                             std::optional<Tensor> const& batch,
                                                             std::int64_t batch_size,
                                                             Numbers const& voxel_size, Numbers const& lower,
                                                             Numbers const& upper, std::string const& reduce,
                                                             std::string const& order)
  {
    constexpr auto const* who = "dynamic_voxelize";
    using Features = ts::VoxelFeatures;
    auto const features = choice<Features>(reduce,
                                           {{"mean", Features::mean},
                                            {"sum", Features::sum},
                                            {"max", Features::maximum},
                                            {"first", Features::first}},
                                           who, "reduction");
    Call<Space> call{points};
    auto const view = points_of(points, batch, batch_size, who);
    auto const made =
        ts::dynamic_voxelize(view, options_of(voxel_size, lower, upper, order, who), features, call.exec());
    auto const count = made.num_voxels();
    return std::make_tuple(take(call, made.features.data(), {count, points.size(1)}),
                           take(call, made.coordinates->data(), {count, 4}),
                           take(call, made.inverse.data(), {points.size(0)}));
  }

  template <class Library>
  static void add_to(Library& library)
  {
    library.impl("hard_voxelize", TORCH_BOX(&hard_voxelize));
    library.impl("dynamic_voxelize", TORCH_BOX(&dynamic_voxelize));
  }

 private:
  /// Rows that begin with x, y, z.
  [[nodiscard]] static ts::PointsView<float> points_of(Tensor const& points,
                                                       std::optional<Tensor> const& batch,
                                                       std::int64_t batch_size, char const* who)
  {
    check_tensor(points, points, 2, who, "the tensor of points");
    check_dtype<float>(points, who, "the tensor of points");
    expects(points.size(1) >= 3, who, ": points have ", points.size(1), " columns; the first 3 are x, y, z");
    auto view = ts::interleaved_points(ts::StridedView<float const>{
        static_cast<float const*>(points.data_ptr()), points.size(0), points.size(1)});
    view.num_batches = to_int(batch_size, who, "batch size");
    if (batch) {
      check_tensor(*batch, points, 1, who, "the cloud of each point");
      check_dtype<std::int32_t>(*batch, who, "the cloud of each point");
      expects(batch->size(0) == points.size(0), who, ": the clouds of ", batch->size(0), " points for ",
              points.size(0));
      view.batch = static_cast<std::int32_t const*>(batch->data_ptr());
    } else {
      expects(batch_size == 1, who, ": ", batch_size, " clouds, but it is not said which point is in which");
    }
    return view;
  }

  [[nodiscard]] static ts::VoxelizeOptions options_of(Numbers const& size, Numbers const& lower,
                                                      Numbers const& upper, std::string const& order,
                                                      char const* who)
  {
    auto const position = [&](Numbers const& values, char const* name) {
      expects(values.size() == 3, who, ": ", name, " has ", values.size(), " numbers, not x, y, z");
      ts::VoxelizeOptions::Position result;
      for (std::size_t i = 0; i < 3; ++i) { result[i] = static_cast<float>(values[i]); }
      return result;
    };
    ts::VoxelizeOptions options{position(size, "the voxel size"),
                                position(lower, "the lower end of the range"),
                                position(upper, "the upper end of the range")};
    options.order(choice<ts::AxisOrder>(order, {{"zyx", ts::AxisOrder::zyx}, {"xyz", ts::AxisOrder::xyz}},
                                        who, "order"));
    return options;
  }
};

}  // namespace tessera_torch
