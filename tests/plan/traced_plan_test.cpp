// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// Plans of traced models.

#include "../support/device.hpp"

// Plans are CUDA graphs; a build without CUDA has none.
#ifdef __CUDACC__
#include "plan_cases.hpp"

#include <tessera/conv/convolution.cuh>
#include <tessera/core/scalar.cuh>
#include <tessera/models/minkunet.hpp>
#include <tessera/models/sparse_encoder.hpp>
#include <tessera/models/spvcnn.hpp>
#include <tessera/nn/fuse.hpp>
#include <tessera/nn/tune.cuh>
#include <tessera/plan/plan.cuh>

#include <doctest/doctest.h>

using namespace tessera;
using namespace plan_cases;

TEST_CASE_TEMPLATE("Plan: of a traced model gives its bits, fused or not, and raises the output's version",
                   Space, Device)
{
  if (test::skipped<Space>()) { return; }
  Stream const stream;
  Execution<Device> const exec{stream.handle};
  models::MinkUNet<3, __half> net{MinkUNetOptions(4, 5).width(0.5), exec};
  auto const sample = tensor_of<__half>(random_surface(1, 12), 4, {}, exec);
  auto traced = nn::trace(net, sample, exec);
  for (bool const fused : {false, true}) {
    CAPTURE(fused);
    if (fused) { nn::fuse(traced, exec); }
    Plan plan{traced, PlanLimits().max_voxels(3000), exec};
    for (unsigned seed : {2U, 3U}) {
      auto const x = tensor_of<__half>(random_surface(seed, 40), 4, {}, exec);
      auto const expected = traced.forward(x, exec).features_on_host(exec);
      auto const before = plan.output().version();
      CHECK(same_bits(plan.run(x, exec).features_on_host(exec), expected));
      CHECK(plan.output().version() == before + 1);
      if (!fused) { CHECK(same_bits(net.forward(x, exec).features_on_host(exec), expected)); }
    }
    plan.check();
  }
}

TEST_CASE_TEMPLATE(
    "Plan: with PlanLimits::fuse() gives the bits of nn::fuse(), and follows written parameters", Space,
    Device)
{
  if (test::skipped<Space>()) { return; }
  Stream const stream;
  Execution<Device> const exec{stream.handle};
  models::MinkUNet<3, __half> net{MinkUNetOptions(4, 5).width(0.5), exec};
  auto const x = tensor_of<__half>(random_surface(1, 40), 4, {}, exec);
  auto const before = net.forward(x, exec).features_on_host(exec);
  auto const fused = nn::fuse(net, x, exec);
  Plan plan{net, PlanLimits().max_voxels(3000).fuse(), exec};
  Plan const unfused{net, PlanLimits().max_voxels(3000), exec};
  CHECK(plan.num_nodes() < unfused.num_nodes());
  CHECK(same_bits(plan.run(x, exec).features_on_host(exec), fused.forward(x, exec).features_on_host(exec)));
  CHECK(same_bits(net.forward(x, exec).features_on_host(exec), before));  // the model is as it was
  for (auto const& view : net.writable_parameters()) {
    if (view.name == "stem.1.running_mean") { detail::fill_constant(view.as<float, Device>(), 0.5, exec); }
  }
  auto const status = plan.try_run(x, exec.stream());
  CHECK(status.error == RunError::stale_parameter);
  REQUIRE(status.parameter != nullptr);
  CHECK(std::string{status.parameter} == "stem.1.running_mean");
  plan.refresh(exec);
  auto const after = fused.forward(x, exec).features_on_host(exec);
  CHECK(same_bits(plan.run(x, exec).features_on_host(exec), after));
  plan.check();
}

TEST_CASE_TEMPLATE("Plan: views of a model are fused too: a dense map, and points on voxels", Space, Device)
{
  if (test::skipped<Space>()) { return; }
  Stream const stream;
  Execution<Device> const exec{stream.handle};
  IntArray<3> const shape{41, 64, 64};
  models::SparseEncoder<__half, Device> encoder{models::centerpoint(shape).width(0.5), exec};
  CoordinateSetOptions<3> options;
  options.spatial_range = SpatialRange<3>{1, shape};
  auto rows = random_surface(1, 40);
  for (auto& row : rows) { std::swap(row.position[0], row.position[2]); }  // the height first
  auto const x = tensor_of<__half>(rows, 5, options, exec);
  auto const map = nn::fuse(forward_bev(encoder), x, exec).forward(x, exec);
  Plan of_map{forward_bev(encoder),
              PlanLimits().max_voxels(3000).channels(5).grid(*options.spatial_range).fuse(), exec};
  auto const& planned = of_map.run(x, exec);
  CHECK(same_bits(download(planned.data(), planned.size(), exec), download(map.data(), map.size(), exec)));
  of_map.check();

  models::SPVCNN<3, __half> points{SPVCNNOptions(4, 5).width(0.25), exec};
  auto const voxels = tensor_of<__half>(random_surface(2, 40), 4, {}, exec);
  auto const labels = nn::fuse(forward_voxels(points), voxels, exec).forward(voxels, exec);
  Plan of_points{forward_voxels(points), PlanLimits().max_voxels(3000).fuse(), exec};
  CHECK(same_bits(of_points.run(voxels, exec).features_on_host(exec), labels.features_on_host(exec)));
  of_points.check();
}

TEST_CASE_TEMPLATE("Plan: of a fused network that was tuned gives its bits; one made before stays", Space,
                   Device)
{
  if (test::skipped<Space>()) { return; }
  Stream const stream;
  Execution<Device> const exec{stream.handle};
  models::MinkUNet<3, __half> net{MinkUNetOptions(4, 5).width(0.5), exec};
  auto const x = tensor_of<__half>(random_surface(1, 40), 4, {}, exec);
  auto fused = nn::fuse(net, x, exec);
  Plan first{fused, PlanLimits().max_voxels(3000), exec};
  auto const before = first.run(x, exec).features_on_host(exec);
  static_cast<void>(nn::tune(fused, {x}, TuneOptions().quiet().repetitions(1), exec));
  CHECK(same_bits(first.run(x, exec).features_on_host(exec), before));
  Plan second{fused, PlanLimits().max_voxels(3000), exec};
  CHECK(same_bits(second.run(x, exec).features_on_host(exec), fused.forward(x, exec).features_on_host(exec)));
  first.check();
  second.check();
}

#endif
