// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/device.hpp"

// Plans are CUDA graphs; a build without CUDA has none.
#ifdef __CUDACC__
#include "plan_cases.hpp"

#include <tessera/conv/convolution_kernels.cuh>
#include <tessera/models/minkunet.hpp>
#include <tessera/nn/fuse.hpp>
#include <tessera/nn/pooling.hpp>
#include <tessera/nn/sequential.hpp>
#include <tessera/ops/cast.hpp>
#include <tessera/ops/combine_by_coordinate.hpp>
#include <tessera/plan/plan.cuh>

#include <memory>
#include <random>
#include <vector>

using namespace tessera;
using namespace plan_cases;

namespace {

using Net = models::MinkUNet<3, __half, Device>;

MinkUNetOptions small_net(Compatibility compat = compat::none, int mode = 1)
{
  ConvConfig config;
  config.sort = mode > 0;
  config.splits = mode == 2 ? 3 : 1;
  config.compat = compat;
  return MinkUNetOptions(4, 5).width(0.25).config(config);
}

/// Reaches the voxels of stride 4 in two ways and combines them in every one.
struct TwoWays final : nn::Module<3, __half, Device> {
  using Conv = nn::Conv<3, __half, Device>;

  explicit TwoWays(Execution<Device> const& exec)
      : half{ConvOptions<3>(4, 8, 2).stride(2), exec},
        twice{ConvOptions<3>(8, 8, 3).stride(2), exec},
        once{ConvOptions<3>(4, 8, 4).stride(4), exec}
  {
    register_child("half", half);
    register_child("twice", twice);
    register_child("once", once);
  }
  Tensor forward(Tensor const& x, Execution<Device> const& exec) override
  {
    auto const a = twice(half(x, exec), exec);
    auto const b = once(x, exec);
    auto const sum = add_by_coordinate({a, b}, Join::outer, exec);
    auto const product = multiply_by_coordinate({a, b}, Join::inner, exec);
    auto const left = cat_by_coordinate({b, a}, Join::left, exec);
    return cat_by_coordinate({sum, product, left}, Join::outer, exec);
  }

  Conv half, twice, once;
};

}  // namespace

TEST_CASE_TEMPLATE("Plan: voxels reached in two ways are combined by coordinate, with the bits of forward()",
                   Space, Device)
{
  if (test::skipped<Space>()) { return; }
  Stream const stream;
  Execution<Device> const exec{stream.handle};
  TwoWays net{exec};
  Plan plan{net, PlanLimits().max_voxels(3000).channels(4), exec};
  for (unsigned const seed : {1U, 2U, 3U}) {
    CAPTURE(seed);
    auto const x = tensor_of<__half>(random_surface(seed, seed == 2 ? 60 : 30), 4, {}, exec);
    auto const expected = net.forward(x, exec);
    auto const& y = plan.run(x, exec);
    CHECK(y.channels() == 32);
    CHECK(y.coordinates_on_host(exec) == expected.coordinates_on_host(exec));
    CHECK(same_bits(y.features_on_host(exec), expected.features_on_host(exec)));
    plan.check();
  }
  auto const empty = tensor_of<__half>({}, 4, {}, exec);
  CHECK(plan.run(empty, exec).num_rows() == 0);
  plan.check();
}

TEST_CASE_TEMPLATE("Plan: from voxels to classes, fused or not: convolution, pooling, linear", Space, Device)
{
  if (test::skipped<Space>()) { return; }
  Stream const stream;
  Execution<Device> const exec{stream.handle};
  using Conv = nn::Conv<3, __half, Device>;
  for (bool const fused : {false, true}) {
    CAPTURE(fused);
    nn::Sequential net{std::make_unique<Conv>(ConvOptions<3>(4, 16, 3).bias(true), exec),
                       std::make_unique<nn::BatchNorm<3, __half, Device>>(16, exec),
                       std::make_unique<nn::ReLU<3, __half, Device>>(),
                       std::make_unique<nn::GlobalAveragePool<3, __half, Device>>(),
                       std::make_unique<nn::Linear<3, __half, Device>>(LinearOptions(16, 5), exec),
                       std::make_unique<nn::Sigmoid<3, __half, Device>>()};
    auto limits = PlanLimits().max_voxels(3000).channels(4).grid(SpatialRange<3>{2, {64, 64, 16}});
    Plan plan{net, limits.fuse(fused), exec};
    for (unsigned const seed : {1U, 2U}) {
      CAPTURE(seed);
      CoordinateSetOptions<3> options;
      options.spatial_range = SpatialRange<3>{2, {64, 64, 16}};
      auto const x = tensor_of<__half>(random_surface(seed, seed == 2 ? 60 : 30), 4, options, exec);
      auto const expected = fused ? nn::fuse(net, x, exec).forward(x, exec) : net.forward(x, exec);
      auto const& y = plan.run(x, exec);
      REQUIRE(y.rows() == 2);
      REQUIRE(y.columns() == 5);
      CHECK(same_bits(download(y.data(), y.size(), exec), download(expected.data(), expected.size(), exec)));
      plan.check();
    }
  }
}

TEST_CASE_TEMPLATE("Plan: gives the bits of forward(), scan after scan, in every conv mode and compat", Space,
                   Device)
{
  if (test::skipped<Space>()) { return; }
  Stream const stream;
  Execution<Device> const exec{stream.handle};
  for (auto const compat : {compat::none, compat::torchsparse}) {
    for (int const mode : {0, 1, 2}) {
      CAPTURE(static_cast<int>(compat));
      CAPTURE(mode);
      Net net{small_net(compat, mode), exec};
      Plan plan{net, PlanLimits().max_voxels(3000), exec};
      CHECK(plan.bytes() > 0);
      for (unsigned const seed : {1U, 2U, 3U, 4U}) {
        CAPTURE(seed);
        // sizes that rise and fall: what an earlier scan left behind must not be seen
        auto const x = tensor_of<__half>(random_surface(seed, seed == 2 ? 60 : 30), 4, {}, exec);
        auto const expected = net.forward(x, exec).features_on_host(exec);
        auto const& y = plan.run(x, exec);
        CHECK(y.num_rows() == x.num_rows());
        CHECK(same_bits(y.features_on_host(exec), expected));
        CHECK(y.coordinates_on_host(exec) == x.coordinates_on_host(exec));
        plan.check();
      }
    }
  }
}

TEST_CASE_TEMPLATE(
    "Plan: from points to labels, the bits of quantizing, cast(), forward(), argmax() and gather()", Space,
    Device)
{
  if (test::skipped<Space>()) { return; }
  Stream const stream;
  Execution<Device> const exec{stream.handle};
  Net net{small_net(), exec};
  auto const options = QuantizeOptions<3>(0.4F)
                           .origin(GridOrigin::lowest_voxel)
                           .range({-30, -30, -5}, {30, 30, 5})
                           .features(VoxelFeatures::mean);
  Plan plan{net, PlanLimits().max_points(6000).max_voxels(6000).voxelize(options), exec};
  std::mt19937 random{7};
  std::uniform_real_distribution<float> uniform{-1, 1};
  for (int const count : {6000, 100, 0, 3000}) {
    CAPTURE(count);
    std::vector<float> points;
    std::vector<float> positions;
    for (int i = 0; i < count; ++i) {
      float const p[] = {9 * uniform(random), 9 * uniform(random), 2 * uniform(random), uniform(random)};
      points.insert(points.end(), p, p + 4);
      positions.insert(positions.end(), p, p + 3);
    }
    Matrix<float, Device> const on_device{upload(points, exec), count, 4};
    Matrix<float, Device> const positions_alone{upload(positions, exec), count, 3};
    auto const voxels =
        sparse_quantize(PointsView<float>{positions_alone.view(), on_device.view()}, options, exec);
    auto const logits = net.forward({voxels.coordinates, cast<__half>(voxels.features.view(), exec)}, exec);
    auto const labels = gather(argmax(logits.features(), exec), voxels.inverse, -1, exec);
    auto const out = plan.run(on_device, exec);
    CHECK(same_bits(out.output->features_on_host(exec), logits.features_on_host(exec)));
    CHECK(download(out.labels, count, exec) == download(labels, exec));
    plan.check();
  }
}

TEST_CASE_TEMPLATE("Plan: a run neither allocates nor waits", Space, Device)
{
  if (test::skipped<Space>()) { return; }
  Stream const stream;
  Execution<Device> const exec{stream.handle};
  Net net{small_net(), exec};
  Plan plan{net, PlanLimits().max_voxels(3000), exec};
  auto const x = tensor_of<__half>(random_surface(1, 40), 4, {}, exec);
  auto const expected = net.forward(x, exec).features_on_host(exec);
  // a stream that is being captured refuses allocations outside pools and whatever waits
  detail::CapturedGraph outer;
  outer.capture(stream.handle, [&] { static_cast<void>(plan.run(x, exec)); });
  CHECK(outer.num_nodes() == 2);  // the copy of the scan, and the plan
  outer.launch(stream.handle);
  exec.wait();
  CHECK(same_bits(plan.output().features_on_host(exec), expected));
}

TEST_CASE_TEMPLATE("Plan: more voxels than planned are refused or reported, and the next scan is right",
                   Space, Device)
{
  if (test::skipped<Space>()) { return; }
  Stream const stream;
  Execution<Device> const exec{stream.handle};
  Net net{small_net(), exec};
  auto const few = tensor_of<__half>(random_surface(1, 20), 4, {}, exec);
  auto const many = tensor_of<__half>(random_surface(1, 40), 4, {}, exec);
  auto const expected = net.forward(few, exec).features_on_host(exec);

  Plan plan{net, PlanLimits().max_voxels(500), exec};
  CHECK_THROWS_WITH_AS((void)plan.run(many, exec), doctest::Contains("are more than the 500 it was made for"),
                       invalid_argument);
  // a number of rows that only the device knows
  auto const count = upload(std::vector<std::int32_t>{static_cast<std::int32_t>(many.num_rows())}, exec);
  auto const* const coordinates = reinterpret_cast<std::int32_t const*>(many.coordinates()->data());
  (void)plan.run(coordinates, many.features().data, RowCount{many.num_rows(), count.data()}, exec);
  CHECK_THROWS_WITH_AS(plan.check(), "coordinates: more rows than the capacity given", invalid_argument);
  CHECK(same_bits(plan.run(few, exec).features_on_host(exec), expected));
  plan.check();

  // a level that does not fit
  Plan tight{net, PlanLimits().max_voxels(3000).max_voxels_at(4, 10), exec};
  (void)tight.run(many, exec);
  CHECK_THROWS_WITH_AS(tight.check(), "coordinates: more rows than the capacity given", invalid_argument);
  tight.check();  // reported once
}

TEST_CASE_TEMPLATE("Plan: duplicates and voxels outside the bounds are reported", Space, Device)
{
  if (test::skipped<Space>()) { return; }
  Execution<Device> const exec{};
  Net net{small_net(), exec};
  Plan plan{net, PlanLimits().max_voxels(500).grid(SpatialRange<3>{1, {30, 30, 30}}), exec};
  auto rows = random_surface(1, 20);
  auto const good = tensor_of<__half>(rows, 4, {}, exec);
  rows[5] = rows[6];
  auto const twice = tensor_of<__half>(rows, 4, {}, exec);
  (void)plan.run(twice, exec);
  CHECK_THROWS_WITH_AS(plan.check(), doctest::Contains("two rows hold the same coordinate"),
                       invalid_argument);
  rows[5] = {0, {30, 0, 0}};
  (void)plan.run(tensor_of<__half>(rows, 4, {}, exec), exec);
  CHECK_THROWS_WITH_AS(plan.check(), doctest::Contains("outside the declared spatial range"),
                       invalid_argument);
  (void)plan.run(good, exec);
  plan.check();
}

TEST_CASE_TEMPLATE("Plan: no voxels and one voxel are scans like any other", Space, Device)
{
  if (test::skipped<Space>()) { return; }
  Execution<Device> const exec{};
  Net net{small_net(), exec};
  Plan plan{net, PlanLimits().max_voxels(500), exec};
  for (auto const& rows : {random_surface(1, 20), Rows{}, Rows{{0, {3, 1, 2}}}, random_surface(2, 20)}) {
    auto const x = tensor_of<__half>(rows, 4, {}, exec);
    auto const expected = net.forward(x, exec).features_on_host(exec);
    CHECK(same_bits(plan.run(x, exec).features_on_host(exec), expected));
    plan.check();
  }
}

TEST_CASE_TEMPLATE("Plan: plans share an arena, and several run on several streams at once", Space, Device)
{
  if (test::skipped<Space>()) { return; }
  Execution<Device> const exec{};
  Net net{small_net(), exec};
  auto wide_options = small_net();
  wide_options.width(0.5);
  Net wide{wide_options, exec};
  auto const limits = PlanLimits().max_voxels(3000);
  auto const x = tensor_of<__half>(random_surface(1, 40), 4, {}, exec);
  auto const expected = net.forward(x, exec).features_on_host(exec);
  auto const expected_wide = wide.forward(x, exec).features_on_host(exec);

  auto const bytes =
      std::max(Plan<Net>::measure(net, limits, 4, exec), Plan<Net>::measure(wide, limits, 4, exec));
  auto const arena = std::make_shared<PlanArena>(bytes, exec);
  Plan first{net, limits, exec, arena};
  Plan second{wide, limits, exec, arena};
  CHECK(std::max(first.bytes(), second.bytes()) == bytes);
  Stream const a;
  Stream const b;
  Execution<Device> const on_a{a.handle};
  Execution<Device> const on_b{b.handle};
  for (int i = 0; i < 5; ++i) {
    (void)second.run(x, on_b);
    CHECK(same_bits(first.run(x, on_a).features_on_host(on_a), expected));
    (void)first.run(x, on_a);
    CHECK(same_bits(second.run(x, on_b).features_on_host(on_b), expected_wide));
  }
  CHECK_THROWS_WITH_AS((Plan<Net>{wide, PlanLimits().max_voxels(9000), exec, arena}),
                       doctest::Contains("are needed"), invalid_argument);

  // memory of their own: at once, many times over
  Plan third{net, limits, exec};
  Plan fourth{wide, limits, exec};
  exec.wait();
  for (int i = 0; i < 20; ++i) {
    (void)third.run(x, on_a);
    (void)fourth.run(x, on_b);
  }
  CHECK(same_bits(third.output().features_on_host(on_a), expected));
  CHECK(same_bits(fourth.output().features_on_host(on_b), expected_wide));
}

TEST_CASE_TEMPLATE("Plan: limits taken from a scan fit it", Space, Device)
{
  if (test::skipped<Space>()) { return; }
  Execution<Device> const exec{};
  Net net{small_net(), exec};
  auto const x = tensor_of<__half>(random_surface(1, 40), 4, {}, exec);
  auto const expected = net.forward(x, exec).features_on_host(exec);
  Plan loose{net, PlanLimits().max_voxels(3000), exec};
  Plan plan{net, PlanLimits().like(*x.coordinates(), 1.0), exec};
  CHECK(plan.bytes() < loose.bytes());
  CHECK(same_bits(plan.run(x, exec).features_on_host(exec), expected));
  plan.check();
}

TEST_CASE_TEMPLATE("Plan: what cannot be planned is refused in a sentence", Space, Device)
{
  if (test::skipped<Space>()) { return; }
  Execution<Device> const exec{};
  Net net{small_net(), exec};
  CHECK_THROWS_WITH_AS((Plan<Net>{net, PlanLimits(), exec}),
                       "Plan: limits of 0 voxels; PlanLimits::max_voxels() must be at least 1",
                       invalid_argument);
  CHECK_THROWS_WITH_AS((Plan<Net>{net, PlanLimits().max_voxels(9).grid(SpatialRange<2>{1, {4, 4}}), exec}),
                       "Plan: limits of 2 axes for a network of 3", invalid_argument);
  auto options = small_net();
  auto config = *options.config();
  config.dataflow = Dataflow::gather_scatter;
  options.config(config);
  Net waits{options, exec};
  CHECK_THROWS_WITH_AS((Plan<Net>{waits, PlanLimits().max_voxels(100), exec}),
                       doctest::Contains("waits for the host"), invalid_argument);
  // and nothing is broken by it
  auto const x = tensor_of<__half>(random_surface(1, 9), 4, {}, exec);
  Plan plan{net, PlanLimits().max_voxels(100), exec};
  (void)plan.run(x, exec);
  plan.check();
}
#endif
