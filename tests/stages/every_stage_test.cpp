// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// One small way through every stage on the host, so that a processor nobody has at hand can be tried in a minute under
// an emulator: tests/aarch64.sh.

#include "../support/files.hpp"
#include "../support/oracle.hpp"

#include <tessera/coords/quantize.hpp>
#include <tessera/data/lidar_simulator.hpp>
#include <tessera/hash/coordinate_table.hpp>
#include <tessera/io/load.hpp>
#include <tessera/io/ply.hpp>
#include <tessera/models/minkunet.hpp>
#include <tessera/nn/conv.hpp>
#include <tessera/ops/activation.hpp>
#include <tessera/ops/dense.hpp>
#include <tessera/tensor/dlpack.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

using namespace tessera;

namespace {

using Tensor = SparseTensor<3, float, Host>;

PointCloud scan()
{
  LidarOptions options;
  options.beams = 16;
  options.azimuth_steps = 120;
  return simulate_lidar(options);
}

Tensor voxels(Execution<Host> const& exec)
{
  auto const cloud = scan();
  auto const positions = upload_matrix(cloud.positions, 3, exec);
  auto const features = upload_matrix(cloud.features, cloud.channels, exec);
  auto quantized = sparse_quantize(PointsView<float>{positions, features}, QuantizeOptions<3>(1.0F), exec);
  return {quantized.coordinates, std::move(quantized.features)};
}

/// The largest difference of two lists of numbers, infinite where they have not the same length.
double difference(std::vector<float> const& a, std::vector<double> const& b)
{
  double worst = a.size() == b.size() ? 0 : INFINITY;
  for (std::size_t i = 0; i < a.size() && worst < INFINITY; ++i) {
    worst = std::fmax(worst, std::fabs(double{a[i]} - b[i]));
  }
  return worst;
}

}  // namespace

TEST_CASE("every stage: data and points, to a file and back")
{
  test::TempDir const folder;
  auto const cloud = scan();
  CHECK(cloud.size() > 100);
  for (auto const format :
       {PlyFormat::ascii, PlyFormat::binary_little_endian, PlyFormat::binary_big_endian}) {
    PlyOptions options;
    options.format = format;
    write_ply(folder / "scan.ply", cloud, options);
    auto const back = read_ply(folder / "scan.ply");
    CHECK(back.positions == cloud.positions);
    CHECK(back.features == cloud.features);
  }
}

TEST_CASE("every stage: coords, hash and kmap, as their definitions say")
{
  Execution<Host> const exec{2};
  auto const x = voxels(exec);
  auto const rows = x.coordinates_on_host(exec);
  CHECK(rows.size() > 50);
  CHECK(rows == test::sorted_unique(rows));

  auto const table = coordinate_table(*x.coordinates(), exec);
  table->visit([&](auto const& ref) {
    for (std::size_t i = 0; i < rows.size(); ++i) { CHECK(ref.find(rows[i]) == static_cast<int>(i)); }
    CHECK(ref.find({0, {100000, 0, 0}}) == -1);
  });

  ConvolutionGeometry<3> geometry;
  geometry.kernel_size = {3, 3, 3};
  auto const mapped = kernel_map<HashmapOnTheFly, SpconvDownsample>(
      *x.coordinates(), ConvolutionKind::submanifold, geometry, compat::none, exec);
  KernelRegion<3> region;
  region.size = {3, 3, 3};
  region.anchor = {1, 1, 1};
  auto const expected = test::kernel_map_by_definition(rows, rows, region);
  CHECK(download(mapped.map->out_in(exec), static_cast<std::int64_t>(expected.size()), exec) == expected);
}

TEST_CASE("every stage: convolutions of every dataflow, and what a file keeps of a network")
{
  Execution<Host> const exec{2};
  auto const x = voxels(exec);
  auto const rows = x.coordinates_on_host(exec);
  auto const features = x.features_on_host(exec);
  auto const channels = static_cast<std::size_t>(x.channels());
  KernelRegion<3> region;
  region.size = {3, 3, 3};
  region.anchor = {1, 1, 1};
  auto const map = test::kernel_map_by_definition(rows, rows, region);

  for (auto const dataflow : {Dataflow::implicit_gemm, Dataflow::gather_scatter, Dataflow::fetch_on_demand}) {
    ConvConfig config;
    config.dataflow = dataflow;
    nn::Conv<3, float, Host> conv(ConvOptions<3>(x.channels(), 5, 3).bias(true).config(config), exec);
    auto const weight = download(conv.weight().data(), conv.weight().size(), exec);
    auto const bias = download(conv.bias().data(), conv.bias().size(), exec);
    std::vector<double> expected;
    for (std::size_t row = 0; row < rows.size(); ++row) {
      std::vector<double> sums(bias.begin(), bias.end());
      for (std::size_t k = 0; k < 27; ++k) {
        auto const from = map[row * 27 + k];
        for (std::size_t i = 0; from >= 0 && i < channels; ++i) {
          for (std::size_t o = 0; o < 5; ++o) {
            sums[o] += double{features[static_cast<std::size_t>(from) * channels + i]} *
                       double{weight[(k * channels + i) * 5 + o]};
          }
        }
      }
      for (auto const sum : sums) { expected.push_back(std::fmax(sum, 0.0)); }
    }
    CHECK(difference(relu(conv(x, exec), exec).features_on_host(exec), expected) < 1e-5);
  }

  test::TempDir const folder;
  using Net = models::MinkUNet<3, float, Host>;
  auto const options = MinkUNetOptions(x.channels(), 4).width(0.25);
  Net net(options, exec);
  Net trained(MinkUNetOptions(options).seed(7), exec);
  io::save(trained, folder / "net.safetensors", io::Tessera{}, exec);
  auto const expected = trained(x, exec).features_on_host(exec);
  CHECK(net(x, exec).features_on_host(exec) != expected);
  io::load(net, folder / "net.safetensors", io::Tessera{}, exec);
  CHECK(net(x, exec).features_on_host(exec) == expected);
}

TEST_CASE("every stage: dense tensors, and DLPack there and back")
{
  Execution<Host> const exec{2};
  auto const x = voxels(exec);
  auto const features =
      dlpack::import_features<float>(x.coordinates(), dlpack::export_features(x, exec).release(), exec);
  CHECK(features.features().data == x.features().data);
  std::vector<Coordinate<2>> const rows{{0, {0, 1}}, {1, {2, 0}}};
  SparseTensor<2, float, Host> const flat{make_coordinate_set(rows, {}, exec),
                                          upload_matrix(std::vector<float>{1, 2, 3, 4}, 2, exec)};
  auto const map = dense(flat, DenseOptions<2>{SpatialRange<2>{2, {3, 2}}}, exec);
  CHECK(sparse(map, exec).coordinates_on_host(exec) == rows);
}
