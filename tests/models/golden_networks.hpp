// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// Networks as TorchSparse ran them: the configuration, the parameters, the input and the outputs come from
// the file, whichever network of whatever width it holds. And networks with weights from a seed on a cloud so
// small that every tool can follow.

#include "../support/data.hpp"
#include "../support/device.hpp"
#include "../support/golden.hpp"
#include "../support/small.hpp"
#include "random_networks.hpp"
#include "recorded_network.hpp"
#include "tolerance.hpp"

#ifdef __CUDACC__
#include <tessera/conv/convolution_kernels.cuh>
#endif
#include <tessera/conv/detail/convolution_host.hpp>
#include <tessera/io/load.hpp>
#include <tessera/nn/calibrate.hpp>
#include <tessera/nn/fuse.hpp>

#include <array>
#include <string>
#include <vector>

namespace golden_networks {

namespace ts = tessera;

using networks::check_close;
using networks::of_fused;
using networks::Tolerance;

/// `output.coordsN` and `output.featsN` of the file against tensor number N, `output.logits` against the
/// last, rows in order.
template <class Tensors, class Space>
void check_outputs(ts::Safetensors const& file, Tensors const& tensors, Tolerance const& tolerance,
                   ts::Execution<Space> const& exec)
{
  std::string const prefix = "output.";
  int checked = 0;
  for (auto const& name : file.names()) {
    if (name.rfind(prefix, 0) != 0) { continue; }
    CAPTURE(name);
    auto const digits = name.find_first_of("0123456789");
    auto const kind = name.substr(prefix.size(), digits - prefix.size());
    auto const number = digits == std::string::npos ? tensors.size() - 1 : std::stoul(name.substr(digits));
    REQUIRE(number < tensors.size());
    auto const& tensor = tensors[number];
    if (kind == "coords") {
      CHECK(tensor.coordinates_on_host(exec) == test::coordinates_of(file.to<std::int32_t>(name)));
    } else {
      REQUIRE((kind == "feats" || kind == "logits"));
      check_close(tensor.features_on_host(exec), file.to_float(name), tolerance);
    }
    ++checked;
  }
  CHECK(checked > 0);
}

/// The input of the file in `Space`.
template <class Scalar, class Space>
ts::SparseTensor<3, Scalar, Space> input_of(ts::Safetensors const& file, ts::detail::Json const& config,
                                            ts::Execution<Space> const& exec)
{
  auto const coordinates = test::coordinates_of(file.to<std::int32_t>("input.coords"));
  std::vector<Scalar> features;
  for (auto const value : file.to_float("input.feats")) { features.push_back(static_cast<Scalar>(value)); }
  ts::CoordinateSetOptions<3> options;
  if (auto const* const range = config.find("spatial_range"); range != nullptr && !range->is_null()) {
    auto const list = test::ints(*range);
    options.spatial_range = ts::SpatialRange<3>{list.at(0), {list.at(1), list.at(2), list.at(3)}};
  }
  return {ts::make_coordinate_set(coordinates, options, exec),
          ts::upload_matrix(features, file.shape("input.feats").back(), exec)};
}

/// Loads the parameters; the only ones left over are SPVNAS's point transforms.
template <class Space>
void load(ts::nn::ModuleBase& net, ts::Safetensors const& file, ts::Execution<Space> const& exec)
{
  auto const report =
      ts::io::load(net, file, ts::io::TorchSparse{}, exec, ts::LoadOptions().prefix("param."));
  CHECK(report.loaded.size() == net.parameters().size());
  for (auto const& name : report.unused) {
    CAPTURE(name);
    CHECK(name.rfind("param.point_transforms.", 0) == 0);
  }
}

/// One output or several, as a list.
template <class Scalar, class Space>
std::vector<ts::SparseTensor<3, Scalar, Space>> list(ts::SparseTensor<3, Scalar, Space> const& tensor)
{
  return {tensor};
}
template <class Scalar, class Space, std::size_t Count>
std::vector<ts::SparseTensor<3, Scalar, Space>> list(
    std::array<ts::SparseTensor<3, Scalar, Space>, Count> const& tensors)
{
  return {tensors.begin(), tensors.end()};
}

/// Runs the network that the file `relative` holds, in every conv mode, and compares.
template <class Scalar, class Space>
void check_network(std::string const& relative, Tolerance const& tolerance)
{
  auto const path = test::data_file(relative);
  if (!path || test::skipped<Space>() || test::skipped_as_large()) { return; }
  ts::Safetensors const file{*path};
  auto const config = test::golden_config(file, "config");
  auto const model = recorded_network::model(config);
  CAPTURE(model);
  ts::Execution<Space> const exec{};
  for (int mode = 0; mode < 3; ++mode) {
    CAPTURE(mode);
    auto const x = input_of<Scalar>(file, config, exec);
    ts::ConvConfig conv;
    conv.compat = ts::compat::torchsparse;
    recorded_network::with_network<Scalar>(config, ts::with_conv_mode(conv, mode), exec, [&](auto& network) {
      load(network, file, exec);
      auto const tensors = list(network(x, exec));
      if (model == "MinkUNet") { CHECK(tensors.back().coordinates() == x.coordinates()); }
      check_outputs(file, tensors, tolerance, exec);
      if (mode != 1) { return; }
      auto const fused = ts::nn::fuse(network, x, exec);
      check_outputs(file, list(fused(x, exec)), of_fused(tolerance), exec);
    });
  }
}

constexpr int small_cloud = 48;  // voxels along an edge

/// Every output of `Network` in `Space` against those of the same network on the host in float, on as few
/// voxels as leave the coarsest level enough for statistics that rounding does not upset.
template <template <int, class, class> class Network, class Scalar, class Space, class Options>
void check_small_cloud(Options const& options, Tolerance const& tolerance)
{
  if (test::skipped<Space>()) { return; }
  ts::Execution<ts::Host> const host;
  Network<3, float, ts::Host> reference{options, host};
  auto const x = random_networks::input<3>(small_cloud, 2, options.in_channels, host);
  ts::nn::calibrate(reference, x, host);
  auto const expected = list(reference(x, host));

  ts::Execution<Space> const exec{};
  Network<3, Scalar, Space> network{options, exec};
  random_networks::copy_statistics(reference, network, exec);
  auto const found =
      list(network(random_networks::input<3, Scalar>(small_cloud, 2, options.in_channels, exec), exec));
  REQUIRE(found.size() == expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    CAPTURE(i);
    CHECK(found[i].coordinates_on_host(exec) == expected[i].coordinates_on_host(host));
    check_close(found[i].features_on_host(exec), expected[i].features_on_host(host), tolerance);
  }
}

/// check_small_cloud() of every network.
template <class Scalar, class Space>
void check_small_clouds(Tolerance const& tolerance)
{
  auto const backbone = ts::BackboneOptions(5).width(0.25).seed(6);
  check_small_cloud<ts::models::MinkUNet, Scalar, Space>(ts::MinkUNetOptions(4, 19).width(0.25).seed(6),
                                                         tolerance);
  check_small_cloud<ts::models::SparseResNet21D, Scalar, Space>(backbone, tolerance);
  check_small_cloud<ts::models::SparseResUNet42, Scalar, Space>(backbone, tolerance);
}

}  // namespace golden_networks
