// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/device.hpp"
#include "../support/small.hpp"

// Streams belong to the device; a build without CUDA has none.
#ifdef __CUDACC__
#include <tessera/conv/detail/convolution_device.cuh>
#include <tessera/models/minkunet.hpp>
#include <tessera/models/sparse_encoder.hpp>
#include <tessera/nn/module.hpp>
#include <tessera/plan/plan.cuh>
#include <tessera/tensor/collate.hpp>

#include <algorithm>
#include <cstring>
#include <random>
#include <utility>
#include <vector>

using namespace tessera;

namespace {

using Rows = std::vector<Coordinate<3>>;
using Net = models::MinkUNet<3, __half, Device>;

/// A wavy ground of size x size columns, three out of four of them occupied, in random order.
Rows ground(unsigned seed, int size)
{
  std::mt19937 random{seed};
  Rows rows;
  for (int i = 0; i < size; ++i) {
    for (int j = 0; j < size; ++j) {
      if (random() % 4 == 0) { continue; }
      rows.push_back({0, {i, j, (i * i / 40 + j) / 6 % 20 + static_cast<int>(random() % 2)}});
    }
  }
  std::shuffle(rows.begin(), rows.end(), random);
  return rows;
}

SparseTensor<3, __half> tensor_of(Rows const& rows, Execution<Device> const& exec)
{
  std::mt19937 random{static_cast<unsigned>(rows.size())};
  std::uniform_real_distribution<float> uniform{-1, 1};
  std::vector<__half> features(rows.size() * 4);
  for (auto& value : features) { value = __half(uniform(random)); }
  Matrix<__half, Device> matrix{upload(features, exec), static_cast<std::int64_t>(rows.size()), 4};
  return {make_coordinate_set(rows, CoordinateSetOptions<3>{}, exec), std::move(matrix)};
}

bool same_bits(std::vector<__half> const& a, std::vector<__half> const& b)
{
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(__half)) == 0;
}

struct Stream {
  cudaStream_t handle = nullptr;
  Stream() { detail::cuda_check(cudaStreamCreateWithFlags(&handle, cudaStreamNonBlocking)); }
  Stream(Stream const&) = delete;
  Stream& operator=(Stream const&) = delete;
  ~Stream() { static_cast<void>(cudaStreamDestroy(handle)); }
};

}  // namespace

TEST_CASE_TEMPLATE("SideStreams: a fused network gives its bits, planned and not, on few voxels and on many",
                   Space, Device)
{
  if (test::skipped<Space>()) { return; }
  // from 34k voxels on, blocks of the kernels of 96 channels no longer share tiles
  std::vector<int> const sizes =
      test::small_sets() ? std::vector<int>{20, 36, 12} : std::vector<int>{30, 250, 60, 230, 8};
  Stream const stream;
  Execution<Device> const exec{stream.handle};
  SideStreams sides{stream.handle};
  auto const beside = exec.with_sides(sides);
  Net net{models::MinkUNetOptions(4, 5).width(test::small_sets() ? 0.5 : 1.0), exec};
  nn::fuse(net, exec);
  Plan plan{net, PlanLimits().max_voxels(test::small_sets() ? 2000 : 50'000), exec};
  std::vector<std::vector<__half>> expected;
  for (int const size : sizes) {
    auto const x = tensor_of(ground(1, size), exec);
    expected.push_back(net.forward(x, exec).features_on_host(exec));
  }
  for (int repetition = 0; repetition < (test::small_sets() ? 1 : 5); ++repetition) {
    CAPTURE(repetition);
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      CAPTURE(sizes[i]);
      auto const rows = ground(1, sizes[i]);
      CHECK(same_bits(plan.run(tensor_of(rows, exec), exec).features_on_host(exec), expected[i]));
      plan.check();
      CHECK(same_bits(net.forward(tensor_of(rows, beside), beside).features_on_host(beside), expected[i]));
    }
  }
}

TEST_CASE_TEMPLATE("SideStreams: scans follow one another without a wait, each frame gone before it has run",
                   Space, Device)
{
  if (test::skipped<Space>()) { return; }
  Stream const stream;
  Execution<Device> const exec{stream.handle};
  SideStreams sides{stream.handle};
  auto const beside = exec.with_sides(sides);
  Net net{models::MinkUNetOptions(4, 5).width(0.25), exec};
  nn::fuse(net, exec);
  int const size = test::small_sets() ? 16 : 90;
  std::vector<std::vector<__half>> expected;
  std::vector<Buffer<__half, Device>> outputs;
  for (unsigned seed = 1; seed <= 6; ++seed) {
    expected.push_back(net.forward(tensor_of(ground(seed, size), exec), exec).features_on_host(exec));
  }
  for (unsigned seed = 1; seed <= 6; ++seed) {
    auto const y = net.forward(tensor_of(ground(seed, size), beside), beside);
    outputs.push_back(copy(y.features().data, y.features().size(), beside));
  }
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    CAPTURE(i);
    CHECK(same_bits(download(outputs[i], exec), expected[i]));
  }
}

TEST_CASE_TEMPLATE(
    "SideStreams: a tensor made without them, a batch, and calls with and without them in turn", Space,
    Device)
{
  if (test::skipped<Space>()) { return; }
  Stream const stream;
  Execution<Device> const exec{stream.handle};
  SideStreams sides{stream.handle};
  SideStreams others{stream.handle};
  auto const beside = exec.with_sides(sides);
  Net net{models::MinkUNetOptions(4, 5).width(0.25), exec};
  nn::fuse(net, exec);
  int const size = test::small_sets() ? 14 : 70;
  for (unsigned const seed : {1U, 2U, 3U}) {
    CAPTURE(seed);
    auto const a = ground(seed, size);
    auto const b = ground(seed + 10, size);
    auto const batch = [&](Execution<Device> const& execution) {
      return sparse_collate<3, __half, Device>({tensor_of(a, execution), tensor_of(b, execution)}, execution);
    };
    auto const expected = net.forward(batch(exec), exec).features_on_host(exec);
    CHECK(same_bits(net.forward(batch(beside), beside).features_on_host(beside), expected));
    auto const x = batch(exec);
    CHECK(
        same_bits(net.forward(x, beside).features_on_host(beside), expected));  // the tensor takes the sides
    CHECK(same_bits(net.forward(x, exec).features_on_host(exec), expected));
    auto const y = batch(exec);
    static_cast<void>(kernel_map(*y.coordinates(), ConvolutionKind::submanifold, ConvolutionGeometry<3>{},
                                 compat::none, exec));
    CHECK(same_bits(net.forward(y, beside).features_on_host(beside), expected));
    CHECK_THROWS_WITH_AS((void)net.forward(y, exec.with_sides(others)),
                         "coordinates: made with other SideStreams than they are used with",
                         invalid_argument);
    CHECK(same_bits(net.forward(y, beside).features_on_host(beside), expected));
  }
  CHECK_THROWS_WITH_AS((void)Execution<Device>{}.with_sides(sides),
                       "Execution::with_sides: sides of another stream", invalid_argument);
}

TEST_CASE_TEMPLATE("SideStreams: an encoder gives its bits, whose outputs come from overlapping kernels",
                   Space, Device)
{
  if (test::skipped<Space>()) { return; }
  Stream const stream;
  Execution<Device> const exec{stream.handle};
  SideStreams sides{stream.handle};
  auto const beside = exec.with_sides(sides);
  IntArray<3> const shape{41, 128, 128};
  models::SparseEncoder<__half, Device> encoder{models::centerpoint(shape).width(0.5), exec};
  nn::fuse(encoder, exec);
  CoordinateSetOptions<3> options;
  options.spatial_range = SpatialRange<3>{1, shape};
  for (unsigned const seed : {1U, 2U, 3U}) {
    CAPTURE(seed);
    auto rows = ground(seed, test::small_sets() ? 24 : 120);
    for (auto& row : rows) { std::swap(row.position[0], row.position[2]); }  // the height first
    std::vector<__half> const features(rows.size() * 5, __half(0.5F));
    auto const run = [&](Execution<Device> const& execution) {
      Matrix<__half, Device> matrix{upload(features, execution), static_cast<std::int64_t>(rows.size()), 5};
      SparseTensor<3, __half> const x{make_coordinate_set(rows, options, execution), std::move(matrix)};
      auto const map = encoder.forward_bev(x, execution);
      return download(map.data(), map.size(), execution);
    };
    CHECK(same_bits(run(beside), run(exec)));
  }
}
#endif
