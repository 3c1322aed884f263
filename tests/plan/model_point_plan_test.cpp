// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
//
// Plans of networks that take points and make the voxels themselves.

#include "../support/device.hpp"

// Plans are CUDA graphs; a build without CUDA has none.
#ifdef __CUDACC__
#include "point_plan_cases.hpp"

#include <tessera/conv/convolution.cuh>
#include <tessera/models/spvcnn.hpp>
#include <tessera/models/spvnas.hpp>
#include <tessera/nn/fuse.hpp>
#include <tessera/ops/point_voxel.hpp>

#include <cmath>
#include <vector>

using namespace tessera;
using namespace point_plan_cases;

namespace {

constexpr int most_points = 3000;
constexpr float voxel_size = 0.4F;

/// Points [count, 4] of random_points() as SPVCNN takes them without a plan; their features are all numbers.
template <class Scalar>
PointTensor<3, Scalar> tensor_of_points(std::vector<float> const& points, Execution<Device> const& exec)
{
  std::vector<float> positions;
  for (std::size_t i = 0; i < points.size(); i += 4) {
    positions.push_back(0);
    positions.insert(positions.end(), points.begin() + static_cast<std::ptrdiff_t>(i),
                     points.begin() + static_cast<std::ptrdiff_t>(i) + 3);
  }
  auto const set = std::make_shared<PointSet<3, Device>>(upload_matrix(positions, 4, exec), 1);
  auto const features = upload_matrix(points, 4, exec);
  return {set, cast<Scalar>(features.view(), exec)};
}

/// The largest logit of each point, -1 for those that are not finite.
template <class Scalar>
std::vector<std::int32_t> labels_of(PointTensor<3, Scalar> const& logits, std::vector<float> const& points,
                                    Execution<Device> const& exec)
{
  auto labels = download(argmax(logits.features(), exec), exec);
  for (std::size_t i = 0; i < labels.size(); ++i) {
    for (std::size_t axis = 0; axis < 3; ++axis) {
      if (!std::isfinite(points[4 * i + axis])) { labels[i] = -1; }
    }
  }
  return labels;
}

CoordinateBox<3> voxels_within(int most)
{
  CoordinateBox<3> box;
  box.batches = 1;
  box.lower = -most;
  box.upper = most;
  return box;
}

PointLimits<ModelVoxelizes> limits_of_points()
{
  return PlanLimits().max_points(most_points).max_voxels(2500).box(voxels_within(40)).model_voxelizes();
}

template <class Scalar>
models::SPVCNN<3, Scalar> spvcnn(Execution<Device> const& exec)
{
  return models::SPVCNN<3, Scalar>{SPVCNNOptions(4, 5).width(0.25).voxel_size(1, voxel_size).seed(3), exec};
}

}  // namespace

TEST_CASE_TEMPLATE("Plan: SPVCNN of points on the device gives the bits of its layers one by one", Scalar,
                   float, __half)
{
  if (test::skipped<Device>()) { return; }
  Stream const stream;
  Execution const exec{stream.handle};
  auto net = spvcnn<Scalar>(exec);
  Plan plan{net, limits_of_points(), exec};
  Pinned<float> pinned{4 * most_points};
  Pinned<std::int32_t> labels{most_points};
  Buffer<Scalar, Device> logits{5 * most_points, exec};
  Buffer<std::int32_t, Device> num_rows{1, exec};
  for (unsigned seed = 1; seed <= 5; ++seed) {
    CAPTURE(seed);
    // sizes that rise and fall: what an earlier scan left behind must not be seen
    auto const points = random_points(seed, seed == 4 ? 0 : seed % 2 == 0 ? most_points : 400, 10);
    auto const count = static_cast<std::int64_t>(points.size() / 4);
    auto const expected = net.forward(tensor_of_points<Scalar>(points, exec), exec);
    auto const expected_labels = labels_of(expected, points, exec);
    auto const on_device = Matrix<float, Device>{upload(points, exec), count, 4};
    std::copy(points.begin(), points.end(), pinned.data());
    float const* const sources[] = {on_device.data(), pinned.data(), points.data()};
    for (auto const* const source : sources) {
      PlanDestination<Scalar> to;
      to.labels = {labels.data(), count, 1};
      to.features = {logits.data(), count, 5};
      to.num_rows = num_rows.data();
      std::fill_n(labels.data(), most_points, -7);
      auto const out = plan.run(MatrixView<float const>{source, count, 4}, to, exec);
      CHECK(
          same_bits(download(out.output->features().data, 5 * count, exec), expected.features_on_host(exec)));
      CHECK(same_bits(download(logits.data(), 5 * count, exec), expected.features_on_host(exec)));
      CHECK(download(num_rows, exec)[0] == count);
      CHECK(download(out.labels, count, exec) == expected_labels);
      CHECK(std::vector<std::int32_t>(labels.data(), labels.data() + count) == expected_labels);
      CHECK(out.inverse == nullptr);
      plan.check();
    }
    // a number that only the device knows
    auto const known = upload(std::vector<std::int32_t>{static_cast<std::int32_t>(count / 2)}, exec);
    auto const half_of_them = std::vector<float>(points.begin(), points.begin() + 4 * (count / 2));
    auto const expected_half = net.forward(tensor_of_points<Scalar>(half_of_them, exec), exec);
    auto const out = plan.run({on_device.data(), count, 4}, known.data(), {}, exec);
    CHECK(same_bits(download(out.output->features().data, 5 * (count / 2), exec),
                    expected_half.features_on_host(exec)));
    CHECK(download(out.labels, count / 2, exec) == labels_of(expected_half, half_of_them, exec));
    plan.check();
  }
}

TEST_CASE("Plan: networks of points on the device are fused too, by the plan or before")
{
  if (test::skipped<Device>()) { return; }
  Stream const stream;
  Execution const exec{stream.handle};
  auto net = spvcnn<float>(exec);
  auto const points = random_points(9, 2000, 10);
  auto const z = tensor_of_points<float>(points, exec);
  auto fused = nn::fuse(net, z, exec);
  auto const expected = fused.forward(z, exec).features_on_host(exec);
  auto limits = limits_of_points();
  limits.fuse();
  Plan fused_here{net, limits, exec};
  Plan fused_before{fused, limits_of_points(), exec};
  Plan const unfused{net, limits_of_points(), exec};
  CHECK(fused_here.num_nodes() < unfused.num_nodes());
  auto const on_device = upload_matrix(points, 4, exec);
  auto const& here = *fused_here.run(on_device, exec).output;
  CHECK(same_bits(download(here.features().data, 5 * z.num_points(), exec), expected));
  auto const& before = *fused_before.run(on_device, exec).output;
  CHECK(same_bits(download(before.features().data, 5 * z.num_points(), exec), expected));
  fused_here.check();
  fused_before.check();
}

TEST_CASE("Plan: positions of points on the device need not be features of the network")
{
  if (test::skipped<Device>()) { return; }
  Stream const stream;
  Execution const exec{stream.handle};
  auto net = spvcnn<float>(exec);
  auto const limits =
      PlanLimits().max_points(most_points).point_columns(7).box(voxels_within(40)).model_voxelizes();
  Plan plan{net, limits, exec};
  auto const points = random_points(3, 900, 10);
  std::vector<float> wide;  // position, then all four numbers again
  for (std::size_t i = 0; i < points.size(); i += 4) {
    auto const first = points.begin() + static_cast<std::ptrdiff_t>(i);
    wide.insert(wide.end(), first, first + 3);
    wide.insert(wide.end(), first, first + 4);
  }
  auto const expected = net.forward(tensor_of_points<float>(points, exec), exec).features_on_host(exec);
  auto const& found = *plan.run(upload_matrix(wide, 7, exec), exec).output;
  CHECK(same_bits(download(found.features().data, 5 * 900, exec), expected));
  plan.check();
}

TEST_CASE("Plan: points on the device whose voxels do not fit are reported, and the next run is right")
{
  if (test::skipped<Device>()) { return; }
  Stream const stream;
  Execution const exec{stream.handle};
  auto net = spvcnn<float>(exec);
  auto const few =
      PlanLimits().max_points(most_points).max_voxels(200).box(voxels_within(40)).model_voxelizes();
  Plan plan{net, few, exec};
  auto const many = upload_matrix(random_points(5, 2500, 10), 4, exec);
  static_cast<void>(plan.run(many, exec));
  CHECK_THROWS_AS(plan.check(), invalid_argument);
  auto const fitting = random_points(6, 150, 10);
  auto const expected = net.forward(tensor_of_points<float>(fitting, exec), exec).features_on_host(exec);
  auto const& found = *plan.run(upload_matrix(fitting, 4, exec), exec).output;
  CHECK(same_bits(download(found.features().data, 5 * 150, exec), expected));
  plan.check();
  auto const outside = upload_matrix(std::vector<float>{50, 0, 0, 1}, 4, exec);
  static_cast<void>(plan.run(outside, exec));
  exec.wait();
  CHECK(plan.status().out_of_bounds);
  plan.acknowledge();
  auto const too_many = upload(std::vector<std::int32_t>{most_points + 1}, exec);
  auto const room = upload_matrix(random_points(7, most_points + 1, 1), 4, exec);
  static_cast<void>(plan.run(room, too_many.data(), {}, exec));
  exec.wait();
  CHECK(plan.status().over_capacity);
  plan.acknowledge();

  CHECK(plan.try_run(room, {}, exec.stream()).error == RunError::too_many_points);
  CHECK(plan.try_run(upload_matrix(std::vector<float>{1, 2, 3}, 3, exec), {}, exec.stream()).error ==
        RunError::wrong_columns);
  PlanDestination<float> to;
  Buffer<float, Device> memory{5, exec};
  to.features = {memory.data(), 1, 5};
  CHECK(plan.try_run(many, to, exec.stream()).error == RunError::small_destination);
  to.features = {memory.data(), 1, 4};
  CHECK(plan.try_run(many, to, exec.stream()).error == RunError::wrong_destination);
  to = {};
  Buffer<std::int32_t, Device> rows{4, exec};
  to.coordinates = {rows.data(), 1, 4};
  CHECK(plan.try_run(many, to, exec.stream()).error == RunError::wrong_destination);
}

namespace {

/// A model that makes no voxels.
struct PointsAsTheyAre {
  using Tensor = SparseTensor<3, float>;
  using Points = PointTensor<3, float>;
  [[nodiscard]] Points forward(Points const& z, Execution<Device> const& exec) { return add(z, z, exec); }
};

}  // namespace

TEST_CASE(
    "Plan: a model of points on the device that makes no voxels is refused, and so are limits without points")
{
  if (test::skipped<Device>()) { return; }
  Execution<Device> const exec{};
  PointsAsTheyAre net;
  CHECK_THROWS_WITH_AS(
      static_cast<void>(Plan{net, PlanLimits().max_points(5).channels(4).model_voxelizes(), exec}),
      "Plan: forward() made 0 sets of voxels of its points; PlanLimits::model_voxelizes() is for "
      "models that make one, by initial_voxelize()",
      invalid_argument);
  CHECK_THROWS_WITH_AS(static_cast<void>(Plan{net, PlanLimits().channels(4).model_voxelizes(), exec}),
                       "Plan: limits of 0 points; PlanLimits::max_points() must be at least 1",
                       invalid_argument);
}

#endif
