// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/allocations.hpp"
#include "../support/device.hpp"
#include "point_plan_cases.hpp"

// Plans are CUDA graphs; a build without CUDA has none.
#ifdef __CUDACC__
#include "plan_cases.hpp"

#include <tessera/ops/bev.hpp>
#include <tessera/ops/cast.hpp>
#include <tessera/plan/plan.cuh>

#include <atomic>
#include <thread>
#include <vector>

using namespace tessera;
using namespace point_plan_cases;
using namespace plan_cases;

TEST_CASE_TEMPLATE("Plan: points become the voxels and labels that they become stage by stage", Space, Device)
{
  if (test::skipped<Space>()) { return; }
  Stream const stream;
  Execution<Device> const exec{stream.handle};
  IdentityHalf net;
  constexpr int most = 5000;
  auto mean = grid_of_half_metres();
  mean.features(VoxelFeatures::mean);
  auto far_origin = QuantizeOptions<3>(0.7F).origin({0.1F, 20, -3}).rounding(Rounding::nearest_even);
  for (auto const& options : {grid_of_half_metres(), mean, far_origin}) {
    Plan plan{net, PlanLimits().max_points(most).channels(4).voxelize(options), exec};
    Pinned<float> pinned{4 * most};
    Pinned<std::int32_t> labels{most};
    Buffer<__half, Device> logits{4 * most, exec};
    for (unsigned seed = 1; seed <= 6; ++seed) {
      CAPTURE(seed);
      // sizes that rise and fall: what an earlier scan left behind must not be seen
      auto const points = random_points(seed, seed == 5 ? 0 : seed % 2 == 0 ? most : 300, 10);
      auto const count = static_cast<std::int64_t>(points.size() / 4);
      auto const expected = eager_labels(points, options, exec);
      auto const on_device = Matrix<float, Device>{upload(points, exec), count, 4};
      std::copy(points.begin(), points.end(), pinned.data());
      float const* const sources[] = {on_device.data(), pinned.data(), points.data()};
      for (auto const* const source : sources) {
        PlanDestination<__half> to;
        to.labels = {labels.data(), count, 1};
        to.features = {logits.data(), count, 4};  // no more voxels than points
        std::fill_n(labels.data(), most, -7);
        auto const out = plan.run(MatrixView<float const>{source, count, 4}, to, exec);
        CHECK(out.output->coordinates_on_host(exec) == expected.rows);
        CHECK(same_bits(out.output->features_on_host(exec),
                        download(logits.data(), 4 * static_cast<std::int64_t>(expected.rows.size()), exec)));
        CHECK(download(out.labels, count, exec) == expected.labels);
        CHECK(std::vector<std::int32_t>(labels.data(), labels.data() + count) == expected.labels);
        plan.check();
      }
      // a number that only the device knows
      auto const known = upload(std::vector<std::int32_t>{static_cast<std::int32_t>(count / 2)}, exec);
      auto const first_half = std::vector<float>(points.begin(), points.begin() + 4 * (count / 2));
      auto const out = plan.run({on_device.data(), count, 4}, known.data(), {}, exec);
      CHECK(out.output->coordinates_on_host(exec) == eager_labels(first_half, options, exec).rows);
      CHECK(download(out.labels, count / 2, exec) == eager_labels(first_half, options, exec).labels);
      plan.check();
    }
  }
}

TEST_CASE_TEMPLATE("Plan: a network's features are the last columns of a point", Space, Device)
{
  if (test::skipped<Space>()) { return; }
  Execution<Device> const exec{};
  Identity net;
  Plan plan{net, PlanLimits().max_points(100).channels(1).point_columns(4).voxelize(QuantizeOptions<3>(1.0F)),
            exec};
  auto const points = upload_matrix(std::vector<float>{0.5F, 0.5F, 0.5F, 42, 2.5F, 0.5F, 0.5F, 43}, 4, exec);
  CHECK(plan.run(points, exec).output->features_on_host(exec) == std::vector<float>{42, 43});
}

TEST_CASE_TEMPLATE("Plan: points may be rows with gaps or columns, where the device can read them", Space,
                   Device)
{
  if (test::skipped<Space>()) { return; }
  Execution<Device> const exec{};
  IdentityHalf net;
  auto const options = grid_of_half_metres();
  Plan plan{net, PlanLimits().max_points(600).channels(4).voxelize(options), exec};
  constexpr std::int64_t count = 500;
  auto const points = random_points(3, count, 8);
  auto const expected = eager_labels(points, options, exec);
  std::vector<float> gaps(7 * count, 5e5F);  // rows of 28 bytes, two numbers before a point
  std::vector<float> columns(4 * (count + 3), 6e5F);
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t c = 0; c < 4; ++c) {
      gaps[7 * i + 2 + c] = points[4 * i + c];
      columns[(count + 3) * c + i] = points[4 * i + c];
    }
  }
  Pinned<float> pinned{gaps.size()};
  std::copy(gaps.begin(), gaps.end(), pinned.data());
  auto const gaps_there = upload(gaps, exec);
  auto const columns_there = upload(columns, exec);
  auto const check = [&](StridedView<float const> const& view) {
    auto const out = plan.run(view, exec);
    CHECK(download(out.labels, count, exec) == expected.labels);
    CHECK(out.output->coordinates_on_host(exec) == expected.rows);
    plan.check();
  };
  check(rows_at<float>(gaps_there.data() + 2, count, 4, 28));
  check(rows_at<float>(pinned.data() + 2, count, 4, 28));
  check(columns_at(columns_there.data(), count, 4, count + 3));
  check(StridedView<float const>{points.data(), count, 4});
  CHECK(plan.try_run(rows_at<float>(gaps.data() + 2, count, 4, 28), {}, exec.stream()).error ==
        RunError::scattered_points);
}

TEST_CASE_TEMPLATE("Plan: hard voxels of points, their map and their labels", Space, Device)
{
  if (test::skipped<Space>()) { return; }
  Execution<Device> const exec{};
  Flattening model;
  constexpr int most = 3000;
  for (int const cap : {50, 100000}) {
    CAPTURE(cap);
    auto const options = VoxelizeOptions({0.5F, 0.5F, 1}, {-8, -8, -4}, {8, 8, 4})
                             .points_per_voxel(3)
                             .voxels(cap)
                             .shape({9, 32, 32});
    auto const limits = PlanLimits().max_points(most).voxelize(options);
    Plan map_plan{forward_bev(model), limits, exec};
    Plan half_plan{forward_bev<__half>(model, DenseLayout::channels_last), limits, exec};
    auto plain_limits = PlanLimits().max_points(most).channels(4).voxelize(options);
    Plan<Flattening, VoxelizeOptions> plan{model, plain_limits, exec};
    for (unsigned seed = 1; seed <= 4; ++seed) {
      CAPTURE(seed);
      auto const host = random_points(seed, seed == 3 ? most : 400, 9);
      auto const points = upload_matrix(host, 4, exec);
      auto const voxels = hard_voxelize<Device>(points.view(), options, exec);
      SparseTensor<3, float> const x{voxels.coordinates, cast<float>(voxels.mean.view(), exec)};
      auto const expected = model.forward_bev(x, exec, DenseLayout::channels_first);
      auto const expected_half = model.forward_bev<__half>(x, exec, DenseLayout::channels_last);
      auto const& map = *map_plan.run(points, exec).output;
      CHECK(map.shape() == expected.shape());
      CHECK(same_bits(download(map.data(), map.size(), exec),
                      download(expected.data(), expected.size(), exec)));
      // into memory of the caller's
      Buffer<__half, Device> own{expected_half.size(), exec};
      PlanDestination<__half> to;
      to.features = {own.data(), own.size(), 1};
      CHECK(half_plan.try_run(points.view(), to, exec.stream()).ok());
      CHECK(same_bits(download(own, exec), download(expected_half.data(), expected_half.size(), exec)));
      to.features.rows -= 1;
      CHECK(half_plan.try_run(points.view(), to, exec.stream()).error == RunError::small_destination);

      auto const out = plan.run(points, exec);
      CHECK(same_bits(out.output->features_on_host(exec), x.features_on_host(exec)));
      CHECK(out.output->coordinates_on_host(exec) == x.coordinates_on_host(exec));
      auto const inverse = voxel_of_points<Device>(points.view(), options, *voxels.coordinates, exec);
      auto const labels = download(gather(argmax(x.features(), exec), inverse, -1, exec), exec);
      CHECK(download(out.labels, points.rows(), exec) == labels);
      map_plan.check();
      half_plan.check();
      plan.check();
    }
  }
}

TEST_CASE_TEMPLATE("Plan: points past the limit and voxels past the room are refused or reported", Space,
                   Device)
{
  if (test::skipped<Space>()) { return; }
  Execution<Device> const exec{};
  IdentityHalf net;
  auto const options = grid_of_half_metres();
  Plan plan{net, PlanLimits().max_points(500).max_voxels(100).channels(4).voxelize(options), exec};
  auto const host = random_points(1, 501, 8);
  auto const many = upload_matrix(host, 4, exec);
  CHECK_THROWS_WITH_AS((void)plan.run(many, exec), "Plan: 501 points are more than the 500 it was made for",
                       invalid_argument);
  CHECK(plan.try_run(many.view(), {}, exec.stream()).error == RunError::too_many_points);
  CHECK_THROWS_WITH_AS((void)plan.run(MatrixView<float const>{many.data(), 90, 5}, exec),
                       "Plan: columns of coordinates or points are not what was planned: 5 where it is 4",
                       invalid_argument);
  auto const too_many = upload(std::vector<std::int32_t>{501}, exec);
  (void)plan.run({many.data(), 501, 4}, too_many.data(), {}, exec);
  CHECK_THROWS_WITH_AS(plan.check(), doctest::Contains("more rows than the capacity"), invalid_argument);
  (void)plan.run(MatrixView<float const>{many.data(), 400, 4}, exec);  // some 170 voxels
  CHECK_THROWS_WITH_AS(plan.check(), doctest::Contains("more rows than the capacity"), invalid_argument);
  auto const few = std::vector<float>(host.begin(), host.begin() + 4 * 60);
  auto const out = plan.run(MatrixView<float const>{many.data(), 60, 4}, exec);
  CHECK(download(out.labels, 60, exec) == eager_labels(few, options, exec).labels);
  plan.check();

  CHECK_THROWS_WITH_AS(
      (Plan<IdentityHalf, QuantizeOptions<3>>{net, PlanLimits().channels(4).voxelize(options), exec}),
      "Plan: limits of 0 points; PlanLimits::max_points() must be at least 1", invalid_argument);
  CHECK_THROWS_WITH_AS((Plan<IdentityHalf, QuantizeOptions<3>>{
                           net, PlanLimits().max_points(9).channels(2).voxelize(options), exec}),
                       doctest::Contains("say PlanLimits::point_columns()"), invalid_argument);
}

TEST_CASE_TEMPLATE("Plan: outputs are written into the caller's memory, rows in use alone", Space, Device)
{
  if (test::skipped<Space>()) { return; }
  Execution<Device> const exec{};
  for (int const channels : {1, 3, 8, 16}) {  // of 2, 6, 16 and 32 bytes
    CAPTURE(channels);
    IdentityHalf net;
    Plan plan{net, PlanLimits().max_voxels(900).channels(channels), exec};
    auto const x = tensor_of<__half>(random_surface(1, 25), channels, {}, exec);
    auto const rows = x.num_rows();
    for (int const shift : {0, 1}) {  // places that are no multiple of 16 bytes
      CAPTURE(shift);
      auto const size = static_cast<std::size_t>(900 * channels + shift);
      std::vector<__half> const untouched(size, __half(77.0F));
      auto features = upload(untouched, exec);
      auto coordinates = upload(std::vector<std::int32_t>(4 * 900, -9), exec);
      Buffer<std::int32_t, Device> count{1, exec};
      PlanDestination<__half> to;
      to.features = {features.data() + shift, rows, channels};
      to.coordinates = {coordinates.data(), rows, 4};
      to.num_rows = count.data();
      (void)plan.run(x, to, exec);
      plan.check();
      CHECK(download(count, exec)[0] == rows);
      auto expected = untouched;
      auto const values = x.features_on_host(exec);
      std::copy(values.begin(), values.end(), expected.begin() + shift);
      CHECK(same_bits(download(features, exec), expected));
      auto const found = download(coordinates, exec);
      auto const own = x.coordinates_on_host(exec);
      CHECK(std::memcmp(found.data(), own.data(), own.size() * sizeof(own[0])) == 0);
      CHECK(found[own.size() * 4] == -9);

      // one row too few: refused before anything is enqueued
      to.features.rows = rows - 1;
      CHECK_THROWS_WITH_AS((void)plan.run(x, to, exec),
                           doctest::Contains("the destination has too little room for the output"),
                           invalid_argument);
      auto const status = plan.try_run(x, to, exec.stream());
      CHECK(status.error == RunError::small_destination);
      CHECK(status.given == rows - 1);
      CHECK(status.planned == rows);
      to.features = {features.data(), 900, channels + 1};
      CHECK(plan.try_run(x, to, exec.stream()).error == RunError::wrong_destination);
      // where only the device knows how many rows there are, there must be room for all
      to.features = {features.data(), 899, channels};
      to.coordinates = {};
      auto const rows_of_x = reinterpret_cast<std::int32_t const*>(x.coordinates()->data());
      CHECK(
          plan.try_run(rows_of_x, x.features().data, RowCount{900, count.data()}, to, exec.stream()).error ==
          RunError::small_destination);
      to.features = {};
      to.labels = {coordinates.data(), 900, 1};
      CHECK(plan.try_run(x, to, exec.stream()).error == RunError::wrong_destination);
    }
  }
}

TEST_CASE_TEMPLATE("Plan: a run is a part of a graph that the caller captures, points and destination too",
                   Space, Device)
{
  if (test::skipped<Space>()) { return; }
  Stream const stream;
  Execution<Device> const exec{stream.handle};
  IdentityHalf net;
  constexpr std::int64_t count = 700;
  Plan plan{net, PlanLimits().max_points(count).max_voxels(600).channels(4).voxelize(grid_of_half_metres()),
            exec};
  Pinned<float> points{4 * count};
  Pinned<std::int32_t> labels{count};
  PlanDestination<__half> to;
  to.labels = {labels.data(), count, 1};
  detail::CapturedGraph outer;
  outer.capture(stream.handle, [&] {
    CHECK(plan.try_run(MatrixView<float const>{points.data(), count, 4}, to, stream.handle).ok());
    CHECK(plan.status().ok());  // may be asked meanwhile
  });
  for (unsigned seed = 1; seed <= 3; ++seed) {
    CAPTURE(seed);
    auto const host = random_points(seed, count, 5);
    std::copy(host.begin(), host.end(), points.data());
    outer.launch(stream.handle);
    exec.wait();
    CHECK(std::vector<std::int32_t>(labels.data(), labels.data() + count) ==
          eager_labels(host, grid_of_half_metres(), exec).labels);
    CHECK(plan.status().runs == seed);
    plan.check();
  }
  // what went wrong in such a run is there once its stream was waited for
  for (int i = 0; i < count; ++i) {  // each in a voxel of its own
    float const point[] = {0.6F * static_cast<float>(i % 27) - 8, 0.6F * static_cast<float>(i / 27) - 8, 0,
                           1};
    std::copy(point, point + 4, points.data() + 4 * i);
  }
  outer.launch(stream.handle);
  exec.wait();
  CHECK(plan.status().over_capacity);
  CHECK_THROWS_WITH_AS(plan.check(), doctest::Contains("more rows than the capacity"), invalid_argument);
}

TEST_CASE_TEMPLATE("Plan: two threads run plans of one arena, each run whole", Space, Device)
{
  if (test::skipped<Space>()) { return; }
  Execution<Device> const exec{};
  Identity net;
  auto const limits = PlanLimits().max_voxels(4000).channels(4);
  auto const arena = std::make_shared<PlanArena>(Plan<Identity>::measure(net, limits, 4, exec), exec);
  Plan first{net, limits, exec, arena};
  Plan second{net, limits, exec, arena};
  Plan<Identity>* const plans[] = {&first, &second};
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 4; ++t) {  // two threads a plan, too
    threads.emplace_back([&, t] {
      Stream const stream;
      Execution<Device> const own{stream.handle};
      auto const x = tensor_of<float>(random_surface(t + 1, 40 + 5 * static_cast<int>(t)), 4, {}, own);
      auto const expected = x.features_on_host(own);
      Buffer<float, Device> values{4000 * 4, own};
      PlanDestination<float> to;
      to.features = {values.data(), 4000, 4};
      for (int i = 0; i < 200; ++i) {
        if (!plans[t % 2]->try_run(x, to, stream.handle).ok()) { ++wrong; }
        auto const found = download(values.data(), static_cast<std::int64_t>(expected.size()), own);
        if (!same_bits(found, expected)) { ++wrong; }
      }
    });
  }
  for (auto& thread : threads) { thread.join(); }
  CHECK(wrong == 0);
  first.check();
  second.check();
  CHECK(first.status().runs + second.status().runs == 800);
}
#endif
