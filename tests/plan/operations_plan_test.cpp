// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// The operations that a sparse network needs besides convolutions, one after the other, where sizes have limits: in sets
// with room, of which only the space knows the number of rows, and in a plan.

#include "../nn/tensors.hpp"
#include "../support/device.hpp"

#ifdef __CUDACC__
#include "plan_cases.hpp"

#include <tessera/conv/convolution_kernels.cuh>
#include <tessera/plan/plan.cuh>
#endif
#include <tessera/nn/grouped_conv.hpp>
#include <tessera/nn/layer_norm.hpp>
#include <tessera/ops/activation.hpp>
#include <tessera/ops/broadcast.hpp>
#include <tessera/ops/channels_to_space.hpp>
#include <tessera/ops/combine.hpp>
#include <tessera/ops/combine_by_coordinate.hpp>
#include <tessera/ops/global_pooling.hpp>
#include <tessera/ops/prune.hpp>
#include <tessera/ops/reorder.hpp>
#include <tessera/ops/unpool.hpp>

#include <limits>
#include <vector>

using namespace tessera;

namespace {

constexpr int channels = 8;
constexpr int side = 64;  // of the grid

/// Each operation once, on voxels of stride 1 and 2.
template <class Space>
struct Operations final : nn::Module<3, float, Space> {
  using typename nn::Module<3, float, Space>::Tensor;

  explicit Operations(Execution<Space> const& exec)
      : depthwise{ConvOptions<3>(channels, channels, 5).bias(true), channels, exec},
        grouped{ConvOptions<3>(channels, channels, 3).stride(2), 2, exec},
        norm{channels, exec}
  {
    this->register_child("depthwise", depthwise);
    this->register_child("grouped", grouped);
    this->register_child("norm", norm);
  }
  Tensor forward(Tensor const& in, Execution<Space> const& exec) override
  {
    auto const options = PoolOptions<3>(2).stride(2);
    auto const x = norm(depthwise(in, exec), exec);
    auto const largest = max_pool(x, options, exec);
    auto const mean = average_pool(x, options, exec);
    auto const both = add_by_coordinate({multiply(largest, mean, exec), grouped(x, exec)}, Join::left, exec);

    auto const children = channels_to_space_above(both, mean, 0.0, ChildOrder::first_axis_fastest, exec);
    auto const parents = space_to_channels(children, ChildOrder::last_axis_fastest, exec);
    auto const up = unpool(both, x, options, exec);
    auto const scores = x.with_features(detail::take_columns<float>(up.features(), 0, 1, exec));
    auto const kept = crop(prune_above(up, scores, 0.0, exec), {3, 0, 0}, {side, 40, side}, exec);
    auto const shifted = add(kept, broadcast(global_max_pool(kept, exec), kept, exec), exec);
    auto const order = curve_order(*shifted.coordinates(), SpaceFillingCurve::hilbert, exec);
    auto const turned = reorder(shifted, order, exec);
    auto const back = restore_order(gelu(turned, exec), order, shifted, exec);
    auto const fine = cat_by_coordinate({back, children}, Join::outer, exec);
    auto const summed = sum_pool(fine, options, exec);
    return cat_by_coordinate({summed, parents, both}, Join::outer, exec);
  }

  nn::GroupedConv<3, float, Space> depthwise, grouped;
  nn::LayerNorm<3, float, Space> norm;
};

SpatialRange<3> grid()
{
  return {2, IntArray<3>(side)};
}

}  // namespace

TEST_CASE_TEMPLATE("operations in sets with room: the bits of sets that just fit", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  Operations<Space> net{exec};
  for (int const used : std::vector<int>{0, 1, 700}) {
    CAPTURE(used);
    auto host = test::random_tensor<float>(static_cast<std::size_t>(used), channels, {0, 1}, 31);
    auto const rows = host.rows();
    CoordinateSetOptions<3> options;
    options.spatial_range = grid();
    SparseTensor<3, float, Space> const fits{
        make_coordinate_set(host.coordinates, options, exec),
        upload_matrix(test::rounded<float>(host.features), channels, exec)};
    host.coordinates.resize(rows + 100, {1, {9, 3, 0}});
    host.features.resize(channels * host.rows(), std::numeric_limits<double>::quiet_NaN());
    options.fixed_capacity = FixedCapacity{8000};
    auto const spare =
        test::tensor_in_room(host.coordinates, test::rounded<float>(host.features), rows, options, exec);
    auto const expected = net.forward(fits, exec);
    auto const found = net.forward(spare, exec);
    CHECK(found.coordinates()->has_device_count());
    CHECK(found.coordinates_on_host(exec) == expected.coordinates_on_host(exec));
    CHECK(test::same_bits(found.features_on_host(exec), expected.features_on_host(exec)));
    CHECK((expected.num_rows() > 0) == (used > 0));
  }
}

#ifdef __CUDACC__

TEST_CASE_TEMPLATE("Plan: pools, pruning, grouped convolution and the others give the bits of forward()",
                   Space, Device)
{
  if (test::skipped<Space>()) { return; }
  plan_cases::Stream const stream;
  Execution<Device> const exec{stream.handle};
  Operations<Device> net{exec};
  Plan plan{net, PlanLimits().max_voxels(8000).channels(channels).grid(grid()), exec};
  CoordinateSetOptions<3> options;
  options.spatial_range = grid();
  for (int const size : std::vector<int>{30, 60, 1, 0, 20}) {
    CAPTURE(size);
    auto const rows = plan_cases::random_surface(static_cast<unsigned>(size), size);
    auto const x = plan_cases::tensor_of<float>(rows, channels, options, exec);
    auto const expected = net.forward(x, exec);
    auto const& y = plan.run(x, exec);
    CHECK(y.coordinates_on_host(exec) == expected.coordinates_on_host(exec));
    CHECK(test::same_bits(y.features_on_host(exec), expected.features_on_host(exec)));
    plan.check();
  }
}

#endif
