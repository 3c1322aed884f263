// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// mmdetection3d's own encoders: the checkpoint as a detector saves it goes through the converter, the
// configuration, the input and the outputs come from the file beside it, of whatever width they are.

#include "../support/data.hpp"
#include "../support/device.hpp"
#include "../support/golden.hpp"
#include "../support/small.hpp"
#include "tolerance.hpp"

#ifdef __CUDACC__
#include <tessera/conv/convolution_kernels.cuh>
#endif
#include <tessera/conv/detail/convolution_host.hpp>
#include <tessera/io/convert.hpp>
#include <tessera/io/load.hpp>
#include <tessera/models/minkunet_backbone.hpp>
#include <tessera/models/sparse_encoder.hpp>
#include <tessera/models/sparse_unet.hpp>
#include <tessera/nn/fuse.hpp>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

namespace golden_encoders {

namespace ts = tessera;
using Json = ts::detail::Json;

using networks::check_close;
using networks::of_fused;
using networks::Tolerance;

inline constexpr Tolerance in_single{1e-4, 0.99999};
inline constexpr Tolerance in_half{1e-2, 0.9999};

/// Recorded input and outputs, and the checkpoint converted.
struct Golden {
  ts::Safetensors file;
  ts::io::ConvertedCheckpoint checkpoint;
  Json config;
};

/// @param name  e.g. "second_kitti"; nothing, and the case skipped, where it was not recorded or is too large
inline std::optional<Golden> open(std::string const& name, ts::ConvertOptions const& options = {})
{
  if (test::skipped_as_large()) { return std::nullopt; }
  auto const file = test::data_file("golden/spconv/" + name + ".safetensors");
  auto const checkpoint = test::data_file("golden/spconv/" + name + ".pth");
  if (!file || !checkpoint) { return std::nullopt; }
  ts::Safetensors opened{*file};
  auto config = test::golden_config(opened, "config");
  return Golden{std::move(opened), ts::io::convert_checkpoint(*checkpoint, options), std::move(config)};
}

inline int number(Json const& config, char const* key)
{
  return test::ints(*config.find(key))[0];
}

inline ts::IntArray<3> shape_of(Golden const& golden)
{
  return test::per_axis(test::golden_config(golden.file, "sparse_shape"));
}

inline ts::SparseEncoderOptions encoder_options(Golden const& golden)
{
  auto const& config = golden.config;
  ts::SparseEncoderOptions options(number(config, "in_channels"), shape_of(golden));
  options.base(number(config, "base_channels")).out(number(config, "output_channels"));
  ts::SparseEncoderOptions::Channels channels;
  for (auto const& stage : *config.find("encoder_channels")->get<Json::Array>()) {
    channels.push_back(test::ints(stage));
  }
  options.channels(std::move(channels));
  if (auto const* const paddings = config.find("encoder_paddings")) {
    ts::SparseEncoderOptions::Paddings lists;
    for (auto const& stage : *paddings->get<Json::Array>()) {
      auto& list = lists.emplace_back();
      for (auto const& padding : *stage.get<Json::Array>()) { list.push_back(test::per_axis(padding)); }
    }
    options.paddings(std::move(lists));
  }
  if (auto const* const block = config.find("block_type")) {
    bool const basic = *block->get<std::string>() == "basicblock";
    options.block(basic ? ts::models::EncoderBlock::basicblock : ts::models::EncoderBlock::conv_module);
  }
  // the height is the axis that ends with the fewest cells
  auto const out = test::per_axis(test::golden_config(golden.file, "output_shape"));
  options.axis(out[0] < out[2] ? 0 : 2);
  return options;
}

template <class Scalar, class Space>
ts::SparseTensor<3, Scalar, Space> input_of(Golden const& golden, ts::Execution<Space> const& exec)
{
  auto const rows = test::coordinates_of(golden.file.to<std::int32_t>("input.coords"));
  int batches = 1;
  for (auto const& row : rows) { batches = std::max(batches, row.batch + 1); }
  auto const values = golden.file.to_float("input.feats");
  std::vector<Scalar> features;
  for (float const value : values) { features.push_back(static_cast<Scalar>(value)); }
  ts::CoordinateSetOptions<3> const options{1, ts::SpatialRange<3>{batches, shape_of(golden)}};
  return {ts::make_coordinate_set(rows, options, exec),
          ts::upload_matrix(features, golden.file.shape("input.feats")[1], exec)};
}

/// The sparse encoder's last tensor: all coordinates, and the rows that were recorded.
template <class Scalar, class Space>
void check_output(Golden const& golden, ts::SparseTensor<3, Scalar, Space> const& y,
                  Tolerance const& tolerance, ts::Execution<Space> const& exec)
{
  auto const shape = test::per_axis(test::golden_config(golden.file, "output_shape"));
  REQUIRE(y.coordinates()->spatial_range());
  CHECK(y.coordinates()->spatial_range()->extent == shape);
  auto const key = [](ts::Coordinate<3> const& c) {
    return std::make_tuple(c.batch, c.position[0], c.position[1], c.position[2]);
  };
  auto const ours = y.coordinates_on_host(exec);
  std::map<std::tuple<int, int, int, int>, std::size_t> row_of;
  for (std::size_t i = 0; i < ours.size(); ++i) { row_of[key(ours[i])] = i; }
  auto const expected = test::coordinates_of(golden.file.to<std::int32_t>("output.coords"));
  REQUIRE(ours.size() == expected.size());
  // "every 4. row of output.coords"
  auto const& text = golden.file.metadata().at("output_rows");
  auto const every = static_cast<std::size_t>(std::atoi(text.c_str() + text.find_first_of("0123456789")));
  REQUIRE(every >= 1);
  auto const values = y.features_on_host(exec);
  auto const channels = static_cast<std::size_t>(y.channels());
  std::vector<Scalar> found;
  bool all_there = true;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    auto const row = row_of.find(key(expected[i]));
    all_there = all_there && row != row_of.end();
    if (!all_there || i % every != 0) { continue; }
    auto const begin = values.begin() + static_cast<std::ptrdiff_t>(row->second * channels);
    found.insert(found.end(), begin, begin + static_cast<std::ptrdiff_t>(channels));
  }
  CHECK(all_there);
  check_close(found, golden.file.to_float("output.feats"), tolerance);
}

/// SECOND, CenterPoint or BEVFusion.
template <class Scalar, class Space>
void check_encoder(std::string const& name, Tolerance const& tolerance)
{
  if (test::skipped<Space>()) { return; }
  auto const golden = open(name);
  if (!golden) { return; }
  ts::Execution<Space> const exec{};
  auto const options = encoder_options(*golden);
  ts::models::SparseEncoder<Scalar, Space> net{options, exec};
  ts::io::load(net, golden->checkpoint.tensors, ts::io::Tessera{}, exec, ts::LoadOptions().strict());
  auto const x = input_of<Scalar>(*golden, exec);
  auto const y = net.forward(x, exec);
  check_output(*golden, y, tolerance, exec);
  check_output(*golden, ts::nn::fuse(net, x, exec).forward(x, exec), of_fused(tolerance), exec);
  if (!golden->file.contains("bev.cells")) { return; }

  auto const map = net.forward_bev(x, exec);
  auto const values = ts::download(map.data(), map.size(), exec);
  auto const cells = golden->file.to<std::int32_t>("bev.cells");
  auto const extent = map.range().extent;
  std::vector<Scalar> found;
  for (std::size_t i = 0; i + 2 < cells.size(); i += 3) {
    for (int c = 0; c < map.channels(); ++c) {
      auto const at = ((std::int64_t{cells[i]} * map.channels() + c) * extent[0] + cells[i + 1]) * extent[1] +
                      cells[i + 2];
      REQUIRE(at < map.size());
      found.push_back(values[static_cast<std::size_t>(at)]);
    }
  }
  check_close(found, golden->file.to_float("bev.values"), tolerance);
}

/// Part-A2's SparseUNet.
template <class Scalar, class Space>
void check_unet(std::string const& name, Tolerance const& tolerance)
{
  if (test::skipped<Space>()) { return; }
  auto const golden = open(name);
  if (!golden) { return; }
  ts::Execution<Space> const exec{};
  ts::SparseUNetOptions options{encoder_options(*golden)};
  std::vector<std::array<int, 3>> levels;
  for (auto const& level : *golden->config.find("decoder_channels")->get<Json::Array>()) {
    auto const list = test::ints(level);
    levels.push_back({list.at(0), list.at(1), list.at(2)});
  }
  options.decoder(std::move(levels));
  ts::models::SparseUNet<Scalar, Space> net{options, exec};
  ts::io::load(net, golden->checkpoint.tensors, ts::io::Tessera{}, exec, ts::LoadOptions().strict());
  auto const x = input_of<Scalar>(*golden, exec);
  auto const y = net.forward(x, exec);
  check_output(*golden, y.encoded, tolerance, exec);
  check_output(*golden, ts::nn::fuse(net, x, exec).forward(x, exec).encoded, of_fused(tolerance), exec);
  check_close(y.decoded.features_on_host(exec), golden->file.to_float("seg_features"), tolerance);
}

/// mmdetection3d's MinkUNet.
template <class Scalar, class Space>
void check_minkunet(std::string const& name, Tolerance const& tolerance)
{
  if (test::skipped<Space>()) { return; }
  // mmdetection3d 1.4 runs spconv 2, which multiplies by the memory of kernels of one voxel
  auto const golden = open(name, ts::ConvertOptions().spconv_major(2));
  if (!golden) { return; }
  ts::Execution<Space> const exec{};
  auto const& config = golden->config;
  auto const list = [&](char const* key) { return test::ints(*config.find(key)); };
  auto const options = ts::MinkUNetBackboneOptions(number(config, "in_channels"))
                           .base(number(config, "base_channels"))
                           .encoder(list("encoder_channels"), list("encoder_blocks"))
                           .decoder(list("decoder_channels"), list("decoder_blocks"));
  ts::models::MinkUNetBackbone<Scalar, Space> net{options, exec};
  ts::io::load(net, golden->checkpoint.tensors, ts::io::Tessera{}, exec, ts::LoadOptions().strict());
  auto const x = input_of<Scalar>(*golden, exec);
  auto const y = net.forward(x, exec);
  check_output(*golden, y, tolerance, exec);
  check_output(*golden, ts::nn::fuse(net, x, exec).forward(x, exec), of_fused(tolerance), exec);
  check_close(y.features_on_host(exec), golden->file.to_float("point_order.feats"), tolerance);
}

/// SPVNAS's name of a parameter as mmdetection3d's torchsparse backend has it: stem.3 is conv_input.1.net.0,
/// stage2.1.net.0 is encoder.1.1.net.0, up3.1.0 is decoder.2.1.0.
inline std::string backbone_name(std::string const& name)
{
  auto const number = [&](std::size_t at) { return name[at] - '0'; };
  if (name.rfind("stem.", 0) == 0) {
    int const layer = number(5);
    return "conv_input." + std::to_string(layer / 3) + ".net." + std::to_string(layer % 3) + name.substr(6);
  }
  if (name.rfind("stage", 0) == 0) { return "encoder." + std::to_string(number(5) - 1) + name.substr(6); }
  if (name.rfind("up", 0) == 0) { return "decoder." + std::to_string(number(2) - 1) + name.substr(3); }
  return name;
}

/// mmdetection3d's MinkUNet on TorchSparse is SPVNAS's under other names, without its classifier: the weights
/// recorded from TorchSparse's run, renamed, and the recorded classifier on the result give its logits.
template <class Scalar, class Space>
void check_torchsparse_minkunet(Tolerance const& tolerance)
{
  if (test::skipped<Space>() || test::skipped_as_large()) { return; }
  auto const path = test::data_file("golden/minkunet_semkitti.safetensors");
  if (!path) { return; }
  ts::Safetensors const file{*path};
  ts::Execution<Space> const exec{};
  std::string const before = "param.";
  std::vector<ts::NamedTensor> tensors;
  for (auto const& name : file.names()) {
    if (name.rfind(before, 0) != 0 || name.rfind(before + "point_transforms.", 0) == 0) { continue; }
    tensors.emplace_back(backbone_name(name.substr(before.size())), file.tensor(name));
  }
  ts::Safetensors const renamed{ts::safetensors_bytes(tensors), "renamed"};
  auto const channels = [&](std::string const& kernel) {
    return static_cast<int>(renamed.shape(kernel + ".kernel").back());
  };
  std::vector<int> down;
  std::vector<int> up;
  for (std::string const level : {"0", "1", "2", "3"}) {
    down.push_back(channels("encoder." + level + ".1.net.0"));
    up.push_back(channels("decoder." + level + ".0.net.0"));
  }
  ts::ConvConfig config;
  config.compat = ts::compat::torchsparse;
  auto const in_channels = static_cast<int>(file.shape("input.feats").back());
  auto const options = ts::MinkUNetBackboneOptions(in_channels)
                           .backend(ts::models::SparseBackend::torchsparse)
                           .base(channels("conv_input.0.net.0"))
                           .encoder(down, {2, 2, 2, 2})
                           .decoder(up, {2, 2, 2, 2})
                           .config(config);
  ts::models::MinkUNetBackbone<Scalar, Space> net{options, exec};
  auto const report = ts::io::load(net, renamed, ts::io::TorchSparse{}, exec);
  CHECK(std::set<std::string>(report.unused.begin(), report.unused.end()) ==
        std::set<std::string>{"classifier.0.bias", "classifier.0.weight"});

  std::vector<Scalar> features;
  for (float const value : file.to_float("input.feats")) { features.push_back(static_cast<Scalar>(value)); }
  ts::SparseTensor<3, Scalar, Space> const x{
      ts::make_coordinate_set(test::coordinates_of(file.to<std::int32_t>("input.coords")), {}, exec),
      ts::upload_matrix(features, in_channels, exec)};
  auto const y = net.forward(x, exec);
  CHECK(y.coordinates() == x.coordinates());
  auto const weight = file.to_float("param.classifier.0.weight");  // [classes, channels]
  auto const bias = file.to_float("param.classifier.0.bias");
  auto const values = y.features_on_host(exec);
  auto const width = static_cast<std::size_t>(y.channels());
  std::vector<float> logits;
  for (std::size_t row = 0; row < values.size() / width; ++row) {
    for (std::size_t c = 0; c < bias.size(); ++c) {
      double sum = bias[c];
      for (std::size_t i = 0; i < width; ++i) {
        sum += static_cast<double>(static_cast<float>(values[row * width + i])) * weight[c * width + i];
      }
      logits.push_back(static_cast<float>(sum));
    }
  }
  check_close(logits, file.to_float("output.logits"), tolerance);
}

}  // namespace golden_encoders
