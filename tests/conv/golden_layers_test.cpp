// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/data.hpp"
#include "../support/device.hpp"
#include "../support/golden.hpp"
#include "../support/small.hpp"
#include "../support/ways.hpp"

#ifdef __CUDACC__
#include <tessera/conv/convolution_kernels.cuh>
#endif
#include <tessera/conv/detail/convolution_host.hpp>
#include <tessera/ops/convolution.hpp>

using namespace tessera;

namespace {

template <class Space>
SparseTensor<3, float, Space> input_tensor(std::vector<Coordinate<3>> const& coordinates,
                                           std::vector<float> const& features,
                                           CoordinateSetOptions<3> const& options,
                                           Execution<Space> const& exec)
{
  auto const channels = static_cast<std::int64_t>(features.size() / coordinates.size());
  return {make_coordinate_set(coordinates, options, exec), upload_matrix(features, channels, exec)};
}

}  // namespace

TEST_CASE_TEMPLATE(
    "convolution: every recorded layer of TorchSparse is reproduced in every mode and dataflow", Space,
    TESSERA_TEST_SPACES)
{
  auto const path = test::data_file("golden/kmaps.safetensors");
  if (!path || test::skipped<Space>()) { return; }
  Safetensors const file{*path};
  Execution<Space> const exec{};
  auto const coordinates = test::coordinates_of(file.to<std::int32_t>("input.coords"));
  auto const features = file.to_float("input.feats");

  auto const cases = test::golden_maps(file);
  REQUIRE_FALSE(cases.empty());
  int number = 0;
  for (auto const& golden : cases) {
    if (test::small_sets() && number++ % 8 != 0) { continue; }
    CAPTURE(golden.name);
    CoordinateSetOptions<3> options;
    options.spatial_range = golden.spatial_range;
    auto const x = input_tensor(coordinates, features, options, exec);
    auto const size = golden.geometry.kernel_size;
    auto const weight = upload(test::reorder_offsets(file.to_float(golden.name + ".weight"), size), exec);
    auto const bias = upload(file.to_float(golden.name + ".bias"), exec);
    auto const expected = file.to_float(golden.name + ".out_feats");
    auto const out_channels = static_cast<int>(file.shape(golden.name + ".weight").back());
    for (auto const& way : test::every_way(golden.config)) {
      CAPTURE(way.name);
      auto const y = convolution(x, weight.data(), bias.data(), out_channels, golden.kind(), golden.geometry,
                                 way.config, exec);
      auto const found = y.features_on_host(exec);
      REQUIRE(found.size() == expected.size());
      CHECK(test::largest_difference(found, expected) <= 1e-4);
    }
  }
}

TEST_CASE_TEMPLATE(
    "convolution: recorded stacks of layers, transposed and generative ones too, are reproduced", Space,
    TESSERA_TEST_SPACES)
{
  auto const path = test::data_file("golden/training.safetensors");
  if (!path || test::skipped<Space>()) { return; }
  Safetensors const file{*path};
  Execution<Space> const exec{};

  int entries = 0;
  for (auto const& entry : file.metadata()) {
    std::string const& name = entry.first;
    if (!file.contains(name + ".out_feats")) { continue; }
    ++entries;
    CAPTURE(name);
    auto const json = test::golden_config(file, name);
    bool const generative =
        json.template get<detail::Json::Array>() == nullptr;  // a stack is a list of layers
    auto const coordinates = test::coordinates_of(file.to<std::int32_t>(name + ".in_coords"));
    CoordinateSetOptions<3> options;
    ConvConfig config;
    config.compat = compat::torchsparse;
    std::vector<detail::Json> layers;
    if (generative) {
      // TorchSparse's generative layer asks for a range and the hashmap mode: that of the input, as recorded
      options.tensor_stride = test::per_axis(*json.find("in_stride"));
      auto const box = make_coordinate_set(coordinates, options, exec)->box();
      options.spatial_range =
          SpatialRange<3>{box.batches, {box.upper[0] + 1, box.upper[1] + 1, box.upper[2] + 1}};
      config.kmap = KmapMode::hashmap;
      layers.push_back(json);
    } else {
      layers = *json.template get<detail::Json::Array>();
    }
    auto const expected_coordinates = test::coordinates_of(file.to<std::int32_t>(name + ".out_coords"));
    auto const expected = file.to_float(name + ".out_feats");

    for (auto const& way : test::every_way(config)) {
      CAPTURE(way.name);
      auto x = input_tensor(coordinates, file.to_float(name + ".in_feats"), options, exec);
      for (std::size_t i = 0; i < layers.size(); ++i) {
        auto const weight_name = name + ".weight" + std::to_string(i);
        ConvolutionGeometry<3> geometry;
        geometry.kernel_size = test::per_axis(*layers[i].find("kernel_size"));
        geometry.stride = test::per_axis(*layers[i].find("stride"));
        auto kind = all_equal(geometry.stride, 1) ? ConvolutionKind::submanifold : ConvolutionKind::strided;
        if (auto const* const transposed = layers[i].find("transposed");
            transposed && *transposed->get<bool>()) {
          kind = ConvolutionKind::transposed;
        }
        if (generative) { kind = ConvolutionKind::generative; }
        if (auto const* const padding = layers[i].find("padding")) {
          geometry.padding = test::per_axis(*padding);
        }
        auto const weight =
            upload(test::reorder_offsets(file.to_float(weight_name), geometry.kernel_size), exec);
        x = convolution(x, weight.data(), static_cast<float const*>(nullptr),
                        static_cast<int>(file.shape(weight_name).back()), kind, geometry, way.config, exec);
      }
      REQUIRE(x.num_rows() == static_cast<std::int64_t>(expected_coordinates.size()));
      CHECK(x.coordinates_on_host(exec) == expected_coordinates);
      auto const found = x.features_on_host(exec);
      REQUIRE(found.size() == expected.size());
      CHECK(test::largest_difference(found, expected) <= 1e-4);
    }
  }
  CHECK(entries > 0);
}
