// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/device.hpp"
#include "../support/small.hpp"

// Streams belong to the device; a build without CUDA has none.
#ifdef __CUDACC__
#include "plan_cases.hpp"

#include <tessera/conv/convolution_kernels.cuh>
#include <tessera/models/minkunet.hpp>
#include <tessera/models/sparse_encoder.hpp>
#include <tessera/nn/module.hpp>
#include <tessera/plan/plan.cuh>
#include <tessera/tensor/collate.hpp>

#include <utility>
#include <vector>

using namespace tessera;
using namespace plan_cases;

namespace {

using Net = models::MinkUNet<3, __half, Device>;

/// A stream, and the same with map streams.
struct Beside {
  Stream stream;
  Execution<Device> exec{stream.handle};
  MapStreams map_streams{stream.handle};
  Execution<Device> with_maps = exec.with_map_streams(map_streams);
};

SparseTensor<3, __half> scan(Rows const& rows, Execution<Device> const& exec)
{
  return tensor_of<__half>(rows, 4, {}, exec);
}

}  // namespace

TEST_CASE_TEMPLATE("MapStreams: a fused network gives its bits, planned and not, on few voxels and on many",
                   Space, Device)
{
  if (test::skipped<Space>()) { return; }
  // from 34k voxels on, blocks of the kernels of 96 channels no longer share tiles
  std::vector<int> const sizes =
      test::small_sets() ? std::vector<int>{20, 36, 12} : std::vector<int>{30, 250, 60, 230, 8};
  Beside streams;
  auto const& exec = streams.exec;
  auto const& with_maps = streams.with_maps;
  Net network{MinkUNetOptions(4, 5).width(test::small_sets() ? 0.5 : 1.0), exec};
  auto net = nn::fuse(network, scan(random_surface(1, 8), exec), exec);
  Plan plan{net, PlanLimits().max_voxels(test::small_sets() ? 2000 : 50'000), exec};
  std::vector<std::vector<__half>> expected;
  for (int const size : sizes) {
    auto const x = scan(random_surface(1, size), exec);
    expected.push_back(net.forward(x, exec).features_on_host(exec));
  }
  for (int repetition = 0; repetition < (test::small_sets() ? 1 : 5); ++repetition) {
    CAPTURE(repetition);
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      CAPTURE(sizes[i]);
      auto const rows = random_surface(1, sizes[i]);
      CHECK(same_bits(plan.run(scan(rows, exec), exec).features_on_host(exec), expected[i]));
      plan.check();
      CHECK(
          same_bits(net.forward(scan(rows, with_maps), with_maps).features_on_host(with_maps), expected[i]));
    }
  }
}

TEST_CASE_TEMPLATE("MapStreams: scans follow one another without a wait, each frame gone before it has run",
                   Space, Device)
{
  if (test::skipped<Space>()) { return; }
  Beside streams;
  auto const& exec = streams.exec;
  auto const& with_maps = streams.with_maps;
  Net network{MinkUNetOptions(4, 5).width(0.25), exec};
  auto net = nn::fuse(network, scan(random_surface(1, 8), exec), exec);
  int const size = test::small_sets() ? 16 : 90;
  std::vector<std::vector<__half>> expected;
  std::vector<Buffer<__half, Device>> outputs;
  for (unsigned seed = 1; seed <= 6; ++seed) {
    expected.push_back(net.forward(scan(random_surface(seed, size), exec), exec).features_on_host(exec));
  }
  for (unsigned seed = 1; seed <= 6; ++seed) {
    auto const y = net.forward(scan(random_surface(seed, size), with_maps), with_maps);
    outputs.push_back(copy(y.features().data, y.features().size(), with_maps));
  }
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    CAPTURE(i);
    CHECK(same_bits(download(outputs[i], exec), expected[i]));
  }
}

TEST_CASE_TEMPLATE("MapStreams: a tensor made without them, a batch, and calls with and without them in turn",
                   Space, Device)
{
  if (test::skipped<Space>()) { return; }
  Beside streams;
  MapStreams others{streams.stream.handle};
  auto const& exec = streams.exec;
  auto const& with_maps = streams.with_maps;
  Net network{MinkUNetOptions(4, 5).width(0.25), exec};
  auto net = nn::fuse(network, scan(random_surface(1, 8), exec), exec);
  int const size = test::small_sets() ? 14 : 70;
  for (unsigned const seed : {1U, 2U, 3U}) {
    CAPTURE(seed);
    auto const a = random_surface(seed, size);
    auto const b = random_surface(seed + 10, size);
    auto const batch = [&](Execution<Device> const& execution) {
      return sparse_collate<3, __half, Device>({scan(a, execution), scan(b, execution)}, execution);
    };
    auto const expected = net.forward(batch(exec), exec).features_on_host(exec);
    CHECK(same_bits(net.forward(batch(with_maps), with_maps).features_on_host(with_maps), expected));
    auto const x = batch(exec);
    CHECK(same_bits(net.forward(x, with_maps).features_on_host(with_maps),
                    expected));  // the tensor takes the map streams
    CHECK(same_bits(net.forward(x, exec).features_on_host(exec), expected));
    auto const y = batch(exec);
    static_cast<void>(kernel_map(*y.coordinates(), ConvolutionKind::submanifold, ConvolutionGeometry<3>{},
                                 compat::none, exec));
    CHECK(same_bits(net.forward(y, with_maps).features_on_host(with_maps), expected));
    CHECK_THROWS_WITH_AS((void)net.forward(y, exec.with_map_streams(others)),
                         "coordinates: made with other MapStreams than they are used with", invalid_argument);
    CHECK(same_bits(net.forward(y, with_maps).features_on_host(with_maps), expected));
  }
  CHECK_THROWS_WITH_AS((void)Execution<Device>{}.with_map_streams(streams.map_streams),
                       "Execution::with_map_streams: map streams of another stream", invalid_argument);
}

TEST_CASE_TEMPLATE("MapStreams: an encoder gives its bits, whose outputs come from overlapping kernels",
                   Space, Device)
{
  if (test::skipped<Space>()) { return; }
  Beside streams;
  auto const& exec = streams.exec;
  auto const& with_maps = streams.with_maps;
  IntArray<3> const shape{41, 128, 128};
  models::SparseEncoder<__half, Device> encoder{models::centerpoint(shape).width(0.5), exec};
  CoordinateSetOptions<3> options;
  options.spatial_range = SpatialRange<3>{1, shape};
  auto const fused =
      nn::fuse(forward_bev(encoder), tensor_of<__half>(random_surface(1, 4), 5, options, exec), exec);
  for (unsigned const seed : {1U, 2U, 3U}) {
    CAPTURE(seed);
    auto rows = random_surface(seed, test::small_sets() ? 24 : 120);
    for (auto& row : rows) { std::swap(row.position[0], row.position[2]); }  // the height first
    std::vector<__half> const features(rows.size() * 5, __half(0.5F));
    auto const run = [&](Execution<Device> const& execution) {
      Matrix<__half, Device> matrix{upload(features, execution), static_cast<std::int64_t>(rows.size()), 5};
      SparseTensor<3, __half> const x{make_coordinate_set(rows, options, execution), std::move(matrix)};
      auto const map = fused.forward(x, execution);
      return download(map.data(), map.size(), execution);
    };
    CHECK(same_bits(run(with_maps), run(exec)));
  }
}
#endif
