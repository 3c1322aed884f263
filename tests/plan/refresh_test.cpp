// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// Plans of a model whose parameters are written after the plan was made; packed_weights_test.cpp of tests/nn has
// the same with a fake backend.

#include "../support/device.hpp"

// Plans are CUDA graphs; a build without CUDA has none.
#ifdef __CUDACC__
#include "../support/files.hpp"
#include "plan_cases.hpp"

#include <tessera/conv/convolution_kernels.cuh>
#include <tessera/models/minkunet.hpp>
#include <tessera/nn/detail/conv_calls.hpp>
#include <tessera/nn/initialize.hpp>
#include <tessera/nn/sequential.hpp>
#include <tessera/plan/plan.cuh>
#include <tessera/train/parameter_arena.hpp>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

using namespace tessera;
using namespace plan_cases;

namespace {

using Net = models::MinkUNet<3, __half, Device>;

/// Other weights for all convolutions and linear layers.
void randomize_weights(nn::ModuleBase& net, std::uint64_t seed, Execution<Device> const& exec)
{
  for (auto const& view : net.writable_parameters()) {
    if (view.dtype != DType::float16) { continue; }
    detail::fill_uniform(view.as<__half, Device>(), 0.1, ++seed, exec);
  }
}

[[nodiscard]] bool packs_weights(Net& net, Execution<Device> const& exec)
{
  bool packs = false;
  for (auto const& conv : detail::convs_of(net)) { packs |= conv.layer->packed(exec).values != nullptr; }
  return packs;
}

}  // namespace

TEST_CASE_TEMPLATE(
    "Plan: a parameter that was written is refused by name, and refresh() gives the bits of a plan made now",
    Space, Device)
{
  if (test::skipped<Space>()) { return; }
  Stream const stream;
  Stream const other;
  Execution<Device> const exec{stream.handle};
  Execution<Device> const on_other{other.handle};
  Net net{MinkUNetOptions(4, 5).width(0.5), exec};
  Plan plan{net, PlanLimits().max_voxels(3000), exec};
  auto const nodes = plan.num_nodes();
  auto const x = tensor_of<__half>(random_surface(1, 40), 4, {}, exec);
  auto const expected = net.forward(x, exec).features_on_host(exec);
  CHECK(same_bits(plan.run(x, exec).features_on_host(exec), expected));
  bool const packs = packs_weights(net, exec);
  auto before = expected;
  for (std::uint64_t const round : {1U, 2U}) {
    CAPTURE(round);
    randomize_weights(net, 100 * round, exec);
    exec.wait();
    auto const status = plan.try_run(x, exec.stream());
    CHECK(status.ok() == !packs);
    if (packs) {
      CHECK(status.error == RunError::stale_parameter);
      REQUIRE(status.parameter != nullptr);
      std::string const name = status.parameter;
      CAPTURE(name);
      auto const views = net.parameters();
      CHECK(std::any_of(views.begin(), views.end(), [&](auto const& view) { return view.name == name; }));
      auto const error = test::error_of([&] { static_cast<void>(plan.run(x, exec)); });
      CHECK(error == "Plan: \"" + name + "\" was written since it was packed or folded; call refresh()");
    }
    plan.refresh(on_other);  // and run at once on another stream
    auto const found = plan.run(x, exec).features_on_host(exec);
    plan.check();
    Net fresh{MinkUNetOptions(4, 5).width(0.5), exec};
    randomize_weights(fresh, 100 * round, exec);
    Plan fresh_plan{fresh, PlanLimits().max_voxels(3000), exec};
    CHECK(same_bits(found, fresh_plan.run(x, exec).features_on_host(exec)));
    CHECK(same_bits(found, net.forward(x, exec).features_on_host(exec)));
    CHECK_FALSE(same_bits(found, before));
    before = found;
  }
  CHECK(plan.num_nodes() == nodes);
}

TEST_CASE_TEMPLATE("Plan: parameters that were moved to an arena are refused by name, a plan made then runs",
                   Space, Device)
{
  if (test::skipped<Space>()) { return; }
  Stream const stream;
  Execution<Device> const exec{stream.handle};
  Net net{MinkUNetOptions(4, 5).width(0.5), exec};
  auto const x = tensor_of<__half>(random_surface(1, 40), 4, {}, exec);
  Plan plan{net, PlanLimits().max_voxels(3000), exec};
  auto const expected = plan.run(x, exec).features_on_host(exec);
  train::ParameterArena<__half, Device> const arena{net, exec};
  auto const status = plan.try_run(x, exec.stream());
  CHECK(status.error == RunError::moved_parameter);
  REQUIRE(status.parameter != nullptr);
  CHECK(test::error_of([&] { static_cast<void>(plan.run(x, exec)); }) ==
        "Plan: the values of \"" + std::string{status.parameter} +
            "\" were moved to other memory after it was made; make the plan anew");
  plan.refresh(exec);
  CHECK(plan.try_run(x, exec.stream()).error == RunError::moved_parameter);
  Plan again{net, PlanLimits().max_voxels(3000), exec};
  CHECK(same_bits(again.run(x, exec).features_on_host(exec), expected));
}

TEST_CASE_TEMPLATE("Plan: what forward() packs anew, on another stream too, needs no refresh()", Space,
                   Device)
{
  if (test::skipped<Space>()) { return; }
  Stream const a;
  Stream const b;
  Execution<Device> const on_a{a.handle};
  Execution<Device> const on_b{b.handle};
  Net net{MinkUNetOptions(4, 5).width(0.5), on_a};
  Plan plan{net, PlanLimits().max_voxels(3000), on_a};
  auto const x = tensor_of<__half>(random_surface(2, 40), 4, {}, on_a);
  static_cast<void>(net.forward(x, on_a));  // makes the maps
  on_a.wait();
  for (std::uint64_t const round : {1U, 2U, 3U}) {
    CAPTURE(round);
    randomize_weights(net, 100 * round, on_a);
    on_a.wait();
    auto const y = net.forward(x, on_b);  // packs on b
    auto const& planned = plan.run(x, on_a);
    CHECK(same_bits(planned.features_on_host(on_a), y.features_on_host(on_b)));
    plan.check();
  }
}

TEST_CASE_TEMPLATE("conv layer on the device: streams that share a layer wait for whoever packs its weight",
                   Space, Device)
{
  if (test::skipped<Space>()) { return; }
  Stream const streams[4];
  Execution<Device> const exec{};
  nn::Conv<3, __half> layer{ConvOptions<3>(64, 256, 3).bias(true), exec};
  auto const x = tensor_of<__half>(random_surface(3, 60), 64, {}, exec);
  static_cast<void>(layer.forward(x, exec));  // makes the map
  for (std::uint64_t const round : {1U, 2U, 3U, 4U}) {
    CAPTURE(round);
    detail::fill_uniform(layer.weight(), 0.1, round, exec);
    exec.wait();
    std::vector<SparseTensor<3, __half>> results;
    for (auto const& stream : streams) {
      results.push_back(layer.forward(x, Execution<Device>{stream.handle}));
    }
    nn::Conv<3, __half> fresh{ConvOptions<3>(64, 256, 3).bias(true), exec};
    detail::fill_uniform(fresh.weight(), 0.1, round, exec);
    auto const expected = fresh.forward(x, exec).features_on_host(exec);
    for (std::size_t i = 0; i < 4; ++i) {
      CAPTURE(i);
      CHECK(same_bits(results[i].features_on_host(Execution<Device>{streams[i].handle}), expected));
    }
  }
}

TEST_CASE_TEMPLATE("Plan: a plan made before a layer got other tiles still runs, and is refreshed in its own",
                   Space, Device)
{
  if (test::skipped<Space>()) { return; }
  Execution<Device> const exec{};
  using Conv = nn::Conv<3, __half>;
  nn::Sequential<3, __half> net;
  auto& layer = net.add<Conv>(ConvOptions<3>(32, 96, 3), exec);
  auto const x = tensor_of<__half>(random_surface(4, 40), 32, {}, exec);
  Plan plan{net, PlanLimits().max_voxels(3000).channels(32), exec};
  auto const planned = plan.run(x, exec).features_on_host(exec);
  for (auto const kernel : {GemmKernel::warp, GemmKernel::block, GemmKernel::warpgroup}) {
    auto config = layer.config();
    config.kernel = kernel;
    layer.configure(config, exec);
    CHECK(same_bits(plan.run(x, exec).features_on_host(exec), planned));
  }
  detail::fill_uniform(layer.weight(), 0.1, 9, exec);
  plan.refresh(exec);
  auto const found = plan.run(x, exec).features_on_host(exec);
  nn::Sequential<3, __half> fresh;
  detail::fill_uniform(fresh.add<Conv>(ConvOptions<3>(32, 96, 3), exec).weight(), 0.1, 9, exec);
  Plan fresh_plan{fresh, PlanLimits().max_voxels(3000).channels(32), exec};
  CHECK(same_bits(found, fresh_plan.run(x, exec).features_on_host(exec)));
  CHECK_FALSE(same_bits(found, planned));
}

#endif
