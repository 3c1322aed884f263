// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// Every encoder on ten accumulated sweeps, on the host and on the device.

#include "../support/data.hpp"
#include "../support/device.hpp"
#include "../support/files.hpp"
#include "../support/small.hpp"

#ifdef __CUDACC__

#include <tessera/conv/convolution_kernels.cuh>
#include <tessera/conv/detail/convolution_host.hpp>
#include <tessera/io/load.hpp>
#include <tessera/models/minkunet_backbone.hpp>
#include <tessera/models/sparse_encoder.hpp>
#include <tessera/models/sparse_unet.hpp>
#include <tessera/nn/calibrate.hpp>

#include <cmath>
#include <cstring>

using namespace tessera;

namespace {

struct Sweeps {
  std::vector<std::int32_t> rows;  // [n, 4] (b, z, y, x) in 41 x 1440 x 1440
  std::vector<float> features;     // [n, 5]
};

/// A file of five integers (magic, 2, type, rows, columns), then rows of `element` bytes a value.
std::vector<std::uint8_t> tensor_bytes(std::string const& path, std::int32_t columns, std::size_t element)
{
  auto bytes = test::read_bytes(path);
  REQUIRE(bytes.size() >= 20);
  std::int32_t header[5];
  std::memcpy(header, bytes.data(), sizeof(header));
  REQUIRE(header[4] == columns);
  REQUIRE(bytes.size() ==
          20 + static_cast<std::size_t>(header[3]) * static_cast<std::size_t>(columns) * element);
  bytes.erase(bytes.begin(), bytes.begin() + 20);
  return bytes;
}

std::optional<Sweeps> read_sweeps()
{
  auto const indices = test::data_file("data/nuscenes_10sweep_indices_bzyx.tensor");
  auto const features = test::data_file("data/nuscenes_10sweep_features.tensor");
  if (!indices || !features) { return std::nullopt; }
  Sweeps sweeps;
  auto const rows = tensor_bytes(*indices, 4, 4);
  sweeps.rows.resize(rows.size() / 4);
  std::memcpy(sweeps.rows.data(), rows.data(), rows.size());
  auto const halves = tensor_bytes(*features, 5, 2);
  for (std::size_t i = 0; i < halves.size(); i += 2) {
    std::uint16_t bits = 0;
    std::memcpy(&bits, halves.data() + i, 2);
    sweeps.features.push_back(detail::half_bits_to_float(bits));
  }
  return sweeps;
}

/// The voxels that lie in a grid of `extent`, `reversed` as (x, y, z), with the first `channels` features.
template <class Scalar, class Space>
SparseTensor<3, Scalar, Space> tensor_of(Sweeps const& sweeps, IntArray<3> const& extent, int channels,
                                         bool reversed, Execution<Space> const& exec)
{
  std::vector<Coordinate<3>> rows;
  std::vector<Scalar> features;
  std::size_t const step = test::small_sets() ? 400 : 1;
  for (std::size_t i = 0; i < sweeps.rows.size() / 4; i += step) {
    auto const* const row = sweeps.rows.data() + 4 * i;
    IntArray<3> const p{row[reversed ? 3 : 1], row[2], row[reversed ? 1 : 3]};
    if (p[0] >= extent[0] || p[1] >= extent[1] || p[2] >= extent[2]) { continue; }
    rows.push_back({row[0], p});
    for (std::size_t c = 0; c < static_cast<std::size_t>(channels); ++c) {
      features.push_back(static_cast<Scalar>(sweeps.features[5 * i + c]));
    }
  }
  CoordinateSetOptions<3> const options{1, SpatialRange<3>{1, extent}};
  return {make_coordinate_set(rows, options, exec), upload_matrix(features, channels, exec)};
}

double distance(std::vector<float> const& found, std::vector<float> const& expected)
{
  REQUIRE(found.size() == expected.size());
  double difference = 0;
  double length = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    difference += std::pow(static_cast<double>(found[i]) - expected[i], 2);
    length += std::pow(static_cast<double>(expected[i]), 2);
  }
  REQUIRE(length > 0);
  return std::sqrt(difference / length);
}

/// `Net<Space>` from `options`, the host's weights on the device, the same tensors from `run`.
template <template <class> class Net, class Options, class Run>
void expect_agreement(Sweeps const& sweeps, Options const& options, IntArray<3> const& extent, int channels,
                      bool reversed, Run const& run)
{
  Execution<Host> const host;
  Execution<Device> const device;
  Net<Host> on_host{options, host};
  auto const x = tensor_of<float>(sweeps, extent, channels, reversed, host);
  nn::calibrate(on_host, x, host);
  test::TempDir const folder;
  io::save(on_host, folder / "net.safetensors", io::Tessera{}, host);
  Net<Device> on_device{options, device};
  io::load(on_device, folder / "net.safetensors", io::Tessera{}, device, LoadOptions().strict());

  auto const expected = run(on_host, x, host);
  auto const found = run(on_device, tensor_of<float>(sweeps, extent, channels, reversed, device), device);
  REQUIRE(found.size() == expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    CHECK(found[i].coordinates_on_host(device) == expected[i].coordinates_on_host(host));
    CHECK(distance(found[i].features_on_host(device), expected[i].features_on_host(host)) <= 1e-4);
  }
}

template <class Space>
using Encoder = models::SparseEncoder<float, Space>;
template <class Space>
using UNet = models::SparseUNet<float, Space>;
template <class Space>
using MinkUNet = models::MinkUNetBackbone<float, Space>;

template <class T>
std::vector<T> one(T value)
{
  std::vector<T> list;
  list.push_back(std::move(value));
  return list;
}

/// The tensors that a network gives.
struct Forward {
  template <class Net, class Tensor, class Space>
  std::vector<Tensor> operator()(Net& net, Tensor const& x, Execution<Space> const& exec) const
  {
    if constexpr (std::is_same_v<Net, UNet<Space>>) {
      auto const y = net.forward(x, exec);
      return {y.encoded, y.decoded};
    } else {
      return one(net.forward(x, exec));
    }
  }
};

}  // namespace

TEST_CASE("SparseEncoder: host and device agree on ten sweeps, for every published encoder")
{
  if (test::skipped<Device>()) { return; }
  auto const sweeps = read_sweeps();
  if (!sweeps) { return; }
  for (auto const name : models::sparse_encoder_names()) {
    CAPTURE(std::string{name});
    auto const options = models::sparse_encoder_options(name).width(0.5).seed(7);
    expect_agreement<Encoder>(*sweeps, options, options.sparse_shape, options.in_channels,
                              options.axis() == 2, Forward{});
  }
}

TEST_CASE("SparseUNet and MinkUNetBackbone: host and device agree on ten sweeps")
{
  if (test::skipped<Device>()) { return; }
  auto const sweeps = read_sweeps();
  if (!sweeps) { return; }
  auto const options = models::parta2_kitti();
  expect_agreement<UNet>(*sweeps, options, options.encoder.sparse_shape, options.encoder.in_channels, false,
                         Forward{});
  for (auto const backend : {models::SparseBackend::spconv, models::SparseBackend::torchsparse}) {
    auto const minkunet = MinkUNetBackboneOptions(5)
                              .backend(backend)
                              .base(16)
                              .encoder({16, 32, 48, 64}, {2, 2, 2, 2})
                              .decoder({64, 48, 32, 32}, {2, 2, 2, 2});
    expect_agreement<MinkUNet>(*sweeps, minkunet, {41, 1440, 1440}, 5, false, Forward{});
  }
}

#endif
