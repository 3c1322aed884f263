// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/device.hpp"
#include "../support/files.hpp"

#ifdef __CUDACC__
#include <tessera/conv/convolution_kernels.cuh>
#endif
#include <tessera/conv/detail/convolution_host.hpp>
#include <tessera/nn/to_bev.hpp>

#include <map>
#include <random>
#include <set>
#include <tuple>

using namespace tessera;

namespace {

constexpr int batches = 2;
constexpr std::size_t in_channels = 3;
constexpr std::size_t out_channels = 4;
using Column = std::tuple<int, int, int>;  // batch, and the two axes of the plane

struct Voxels {
  IntArray<3> extent{4, 5, 6};
  std::vector<Coordinate<3>> rows;
  std::vector<float> features;  // [rows, in_channels]
};

Voxels random_voxels(unsigned seed)
{
  std::mt19937 random{seed};
  Voxels voxels;
  std::set<std::tuple<int, int, int, int>> seen;
  for (int i = 0; i < 60; ++i) {
    auto const below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
    Coordinate<3> const c{below(batches), {below(4), below(5), below(6)}};
    if (!seen.insert({c.batch, c.position[0], c.position[1], c.position[2]}).second) { continue; }
    voxels.rows.push_back(c);
    for (std::size_t k = 0; k < in_channels; ++k) {
      voxels.features.push_back(static_cast<float>(below(200)) / 100.0F - 1.0F);
    }
  }
  return voxels;
}

template <class Space>
SparseTensor<3, float, Space> tensor_of(Voxels const& voxels, bool ranged, Execution<Space> const& exec)
{
  CoordinateSetOptions<3> options;
  if (ranged) { options.spatial_range = SpatialRange<3>{batches, voxels.extent}; }
  return {make_coordinate_set(voxels.rows, options, exec),
          upload_matrix(voxels.features, static_cast<std::int64_t>(in_channels), exec)};
}

Column column_of(Coordinate<3> const& c, int axis)
{
  return {c.batch, c.position[axis == 0 ? 1 : 0], c.position[axis == 2 ? 1 : 2]};
}

/// `combine(sum, voxel, height)` over the voxels of each column.
template <class Combine>
std::map<Column, std::vector<double>> columns(Voxels const& voxels, int axis, std::size_t channels,
                                              Combine const& combine)
{
  std::map<Column, std::vector<double>> result;
  for (std::size_t i = 0; i < voxels.rows.size(); ++i) {
    auto& sum = result[column_of(voxels.rows[i], axis)];
    sum.resize(channels);
    combine(sum, voxels.features.data() + i * in_channels,
            static_cast<std::size_t>(voxels.rows[i].position[axis]));
  }
  return result;
}

template <class Space>
void expect_columns(SparseTensor<3, float, Space> const& y,
                    std::map<Column, std::vector<double>> const& expected, int axis,
                    Execution<Space> const& exec)
{
  auto const rows = y.coordinates_on_host(exec);
  auto const values = y.features_on_host(exec);
  REQUIRE(rows.size() == expected.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    CHECK(rows[i].position[axis] == 0);
    auto const found = expected.find(column_of(rows[i], axis));
    REQUIRE(found != expected.end());
    auto const channels = found->second.size();
    for (std::size_t c = 0; c < channels; ++c) {
      CHECK(values[i * channels + c] == doctest::Approx(found->second[c]).epsilon(1e-5));
    }
  }
}

}  // namespace

TEST_CASE_TEMPLATE("ToBevConvolution: a kernel for each height, summed over each column", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const voxels = random_voxels(1);
  for (int const axis : {0, 1, 2}) {
    for (bool const bias : {false, true}) {
      for (bool const ranged : {false, true}) {
        CAPTURE(axis);
        auto const options =
            ToBevOptions(in_channels, out_channels, voxels.extent[axis]).axis(axis).bias(bias).seed(3);
        nn::ToBevConvolution<float, Space> layer{options, exec};
        auto const parameters = layer.parameters();
        REQUIRE(parameters.size() == (bias ? 2 : 1));
        CHECK(parameters[0].name == "kernel");
        CHECK(parameters[0].shape ==
              std::vector<std::int64_t>{voxels.extent[axis], in_channels, out_channels});
        auto const kernel =
            download(parameters[0].template as<float, Space>().data(), parameters[0].size, exec);
        auto const shift =
            bias ? download(parameters[1].template as<float, Space>().data(), out_channels, exec)
                 : std::vector<float>(out_channels);
        auto expected = columns(
            voxels, axis, out_channels, [&](std::vector<double>& sum, float const* x, std::size_t height) {
              for (std::size_t o = 0; o < out_channels; ++o) {
                for (std::size_t c = 0; c < in_channels; ++c) {
                  sum[o] += static_cast<double>(x[c]) * kernel[(height * in_channels + c) * out_channels + o];
                }
              }
            });
        for (auto& [column, sum] : expected) {
          for (std::size_t o = 0; o < out_channels; ++o) { sum[o] += shift[o]; }
        }
        auto const x = tensor_of(voxels, ranged, exec);
        expect_columns(layer.forward(x, exec), expected, axis, exec);
        if (!ranged) { continue; }

        nn::ToDenseBevConvolution<float, Space> dense{options, exec};
        auto const map = dense.forward(x, exec);
        auto const extent = map.range().extent;
        REQUIRE(map.channels() == static_cast<int>(out_channels));
        auto const values = download(map.data(), map.size(), exec);
        std::size_t at = 0;
        for (int b = 0; b < batches; ++b) {
          for (std::size_t o = 0; o < out_channels; ++o) {
            for (int h = 0; h < extent[0]; ++h) {
              for (int w = 0; w < extent[1]; ++w) {
                auto const found = expected.find({b, h, w});
                double const value = found == expected.end() ? 0 : found->second[o];
                CHECK(values[at++] == doctest::Approx(value).epsilon(1e-5));
              }
            }
          }
        }
      }
    }
  }
}

TEST_CASE_TEMPLATE("ToBevReduction: the mean of the voxels of each column", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const voxels = random_voxels(2);
  for (int const axis : {0, 2}) {
    auto expected =
        columns(voxels, axis, in_channels + 1, [](std::vector<double>& sum, float const* x, std::size_t) {
          for (std::size_t c = 0; c < in_channels; ++c) { sum[c] += x[c]; }
          sum[in_channels] += 1;
        });
    for (auto& [column, sum] : expected) {
      for (std::size_t c = 0; c < in_channels; ++c) { sum[c] /= sum[in_channels]; }
      sum.pop_back();
    }
    nn::ToBevReduction<float, Space> layer{axis, voxels.extent[axis]};
    expect_columns(layer.forward(tensor_of(voxels, true, exec), exec), expected, axis, exec);
  }
}

TEST_CASE_TEMPLATE("ToBevHeightCompression: channel d * C + c", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const voxels = random_voxels(3);
  nn::ToBevHeightCompression<float, Space> layer;
  auto const map = layer.forward(tensor_of(voxels, true, exec), exec);
  auto const values = download(map.data(), map.size(), exec);
  auto const& c = voxels.rows[0];
  auto const at = ((std::int64_t{c.batch} * map.channels() + c.position[2] * 3 + 1) * 4 + c.position[0]) * 5 +
                  c.position[1];
  CHECK(values[static_cast<std::size_t>(at)] == voxels.features[1]);
}

TEST_CASE("to BEV: heights that are not the tensor's are refused")
{
  Execution<Host> const exec{};
  auto const voxels = random_voxels(4);
  nn::ToBevConvolution<float, Host> layer{ToBevOptions(in_channels, out_channels, 5), exec};
  CHECK(test::error_of([&] { static_cast<void>(layer.forward(tensor_of(voxels, true, exec), exec)); }) ==
        "ToBevConvolution: the tensor's grid has 6 cells on axis 2, not 5");
  CHECK(test::has(
      test::error_of([&] { static_cast<void>(layer.forward(tensor_of(voxels, false, exec), exec)); }),
      "exceed 5 heights"));
  CHECK(test::has(test::error_of([&] {
                    static_cast<void>(nn::ToBevConvolution<float, Host>{ToBevOptions(1, 1, 3).axis(4), exec});
                  }),
                  "axis 4"));
  CHECK(test::has(test::error_of([&] {
                    static_cast<void>(nn::ToBevReduction<float, Host>{0, 0});
                  }),
                  "0 heights"));
}
