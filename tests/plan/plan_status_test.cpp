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

using namespace tessera;
using namespace point_plan_cases;
using namespace plan_cases;

TEST_CASE_TEMPLATE("Plan: try_run() says what run() would throw, and status() what check() would", Space,
                   Device)
{
  if (test::skipped<Space>()) { return; }
  Stream const stream;
  Execution<Device> const exec{stream.handle};
  Identity net;
  Plan plan{net, PlanLimits().max_voxels(500).channels(4).grid(SpatialRange<3>{1, {30, 30, 30}}), exec};
  CHECK(plan.status().finished);
  CHECK(plan.status().ok());
  CHECK(plan.status().runs == 0);
  auto rows = random_surface(1, 20);
  auto const good = tensor_of<float>(rows, 4, {}, exec);
  CHECK(plan.try_run(Identity::Tensor{}, exec.stream()).error == RunError::no_coordinates);
  CHECK(plan.try_run(tensor_of<float>(rows, 3, {}, exec), exec.stream()).error == RunError::wrong_channels);
  CHECK(plan.try_run(tensor_of<float>(random_surface(1, 40), 4, {}, exec), exec.stream()).error ==
        RunError::too_many_voxels);
  CoordinateSetOptions<3> coarse;
  coarse.tensor_stride = 2;
  CHECK(plan.try_run(tensor_of<float>(rows, 4, coarse, exec), exec.stream()).error == RunError::wrong_stride);
  CoordinateSetOptions<3> other;
  other.spatial_range = SpatialRange<3>{1, {31, 30, 30}};
  CHECK(plan.try_run(tensor_of<float>(rows, 4, other, exec), exec.stream()).error == RunError::wrong_range);
  for (auto const error : {RunError::none, RunError::too_many_voxels, RunError::cuda_failure}) {
    CHECK(std::string{RunStatus{error}.what()}.size() > 3);
  }
  CHECK(plan.status().runs == 0);

  CHECK(plan.try_run(good, exec.stream()).ok());
  exec.wait();
  CHECK(plan.status().finished);
  CHECK(plan.status().ok());
  CHECK(plan.status().runs == 1);
  CHECK(same_bits(plan.output().features_on_host(exec), good.features_on_host(exec)));

  rows[5] = rows[6];
  auto const twice = tensor_of<float>(rows, 4, {}, exec);
  CHECK(plan.try_run(twice, exec.stream()).ok());
  rows[5] = {0, {30, 0, 0}};
  auto const outside = tensor_of<float>(rows, 4, {}, exec);
  CHECK(plan.try_run(outside, exec.stream()).ok());
  CHECK(plan.try_run(good, exec.stream()).ok());
  exec.wait();
  auto const report = plan.status();
  CHECK(report.finished);
  CHECK(!report.ok());
  CHECK(report.duplicates);
  CHECK(report.out_of_bounds);
  CHECK(!report.over_capacity);
  CHECK(!report.negative_count);
  CHECK(report.runs == 4);
  CHECK(plan.status().duplicates);  // asking changes nothing
  plan.acknowledge();
  CHECK(plan.status().ok());
  plan.check();

  // nothing of this is allocated on the host
  test::AllocationWatch const watch;
  bool const enqueued = plan.try_run(good, exec.stream()).ok();
  bool const refused = !plan.try_run(Identity::Tensor{}, exec.stream()).ok();
  bool const reported = plan.status().ok();
  auto const allocations = watch.allocations();
  CHECK(enqueued);
  CHECK(refused);
  CHECK(reported);
  CHECK(allocations == 0);

  CHECK(plan.try_run(twice, exec.stream()).ok());
  exec.wait();
  CHECK(plan.status().duplicates);
  CHECK(!plan.status().out_of_bounds);
  CHECK_THROWS_WITH_AS(plan.check(), doctest::Contains("two rows hold the same coordinate"),
                       invalid_argument);
  CHECK(plan.status().ok());
}

TEST_CASE_TEMPLATE("Plan: status() sees a run that has not finished, and does not wait for it", Space, Device)
{
  if (test::skipped<Space>()) { return; }
  Stream const stream;
  Execution<Device> const exec{stream.handle};
  Identity net;
  Plan plan{net, PlanLimits().max_voxels(500).channels(4), exec};
  auto const x = tensor_of<float>(random_surface(1, 20), 4, {}, exec);
  CHECK(plan.try_run(x, stream.handle)
            .ok());  // loads its kernels, which a stream that stands still may hold up
  plan.check();
  // the stream stands still until the host lets it go on
  std::atomic<bool> goes_on{false};
  detail::cuda_check(cudaLaunchHostFunc(
      stream.handle,
      [](void* flag) {
        while (!static_cast<std::atomic<bool>*>(flag)->load()) { std::this_thread::yield(); }
      },
      &goes_on));
  CHECK(plan.try_run(x, stream.handle).ok());
  auto const before = plan.status();
  CHECK(!before.finished);
  CHECK(before.runs == 1);
  CHECK(before.ok());
  goes_on = true;
  plan.check();
  CHECK(plan.status().finished);
  CHECK(plan.status().runs == 2);
}
#endif
