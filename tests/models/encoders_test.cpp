// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/device.hpp"
#include "../support/files.hpp"

#ifdef __CUDACC__
#include <tessera/conv/convolution_kernels.cuh>
#endif
#include <tessera/conv/detail/convolution_host.hpp>
#include <tessera/io/convert.hpp>
#include <tessera/io/load.hpp>
#include <tessera/models/minkunet_backbone.hpp>
#include <tessera/models/sparse_encoder.hpp>
#include <tessera/models/sparse_unet.hpp>
#include <tessera/nn/calibrate.hpp>

#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <set>
#include <tuple>

using namespace tessera;

namespace {

using Tensor = SparseTensor<3, float, Host>;

/// Voxels in clumps, so that convolutions meet neighbours, in the middle of the grid and at its borders.
Tensor clumps(IntArray<3> const& extent, int channels, unsigned seed, int count)
{
  std::mt19937 random{seed};
  auto const below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  std::set<std::tuple<int, int, int>> seen;
  std::vector<Coordinate<3>> rows;
  std::vector<float> features;
  while (static_cast<int>(rows.size()) < count) {
    IntArray<3> const corner{below(extent[0]), below(extent[1]), below(extent[2])};
    for (int i = 0; i < 40; ++i) {
      IntArray<3> p;
      for (int axis = 0; axis < 3; ++axis) { p[axis] = std::min(corner[axis] + below(4), extent[axis] - 1); }
      if (!seen.insert({p[0], p[1], p[2]}).second) { continue; }
      rows.push_back({0, p});
      for (int c = 0; c < channels; ++c) {
        features.push_back(static_cast<float>(below(2001)) / 1000.0F - 1.0F);
      }
    }
  }
  Execution<Host> const exec;
  CoordinateSetOptions<3> const options{1, SpatialRange<3>{1, extent}};
  return {make_coordinate_set(rows, options, exec), upload_matrix(features, channels, exec)};
}

/// Shapes of all kernels in order.
std::vector<std::vector<std::int64_t>> kernels_of(nn::ModuleBase const& net)
{
  std::vector<std::vector<std::int64_t>> shapes;
  for (auto const& parameter : net.parameters()) {
    if (parameter.role == nn::ParameterRole::conv_weight) { shapes.push_back(parameter.shape); }
  }
  return shapes;
}

std::vector<std::string> names_of(nn::ModuleBase const& net)
{
  std::vector<std::string> names;
  for (auto const& parameter : net.parameters()) { names.push_back(parameter.name); }
  return names;
}

bool has_name(nn::ModuleBase const& net, std::string const& name)
{
  auto const names = names_of(net);
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool same_bits(std::vector<float> const& a, std::vector<float> const& b)
{
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), 4 * a.size()) == 0;
}

struct Published {
  char const* name;
  IntArray<3> out;  // grid of the result
  int channels;     // of the bird's-eye view
  std::size_t num_convolutions;
};

/// `name` with `last` behind its last dot.
std::string renamed(std::string const& name, std::string const& last)
{
  return name.substr(0, name.rfind('.') + 1) + last;
}

/// Writes `net` as a library of `layout` would, its names of kernels included, converts the file back into a
/// network that `make` makes, and returns its output.
template <class Make, class Run>
std::vector<float> through_file(nn::ModuleBase const& net, io::WeightLayout layout, Make const& make,
                                Run const& run)
{
  Execution<Host> const exec;
  test::TempDir const folder;
  auto const own = folder / "own.safetensors";
  auto const path = folder / "foreign.safetensors";
  io::with_layout(layout, [&](auto type) { io::save(net, own, type, exec); });
  bool const spconv = layout == io::WeightLayout::krsc || layout == io::WeightLayout::rskc ||
                      layout == io::WeightLayout::rsck;
  auto options = ConvertOptions().prefix("").layout(layout);
  options.spconv_major(layout == io::WeightLayout::rsck ? 1 : 2);
  std::string kernel;
  Safetensors const file{own};
  std::vector<NamedTensor> tensors;
  for (auto const& parameter : net.parameters()) {
    auto name = parameter.name;
    if (parameter.role == nn::ParameterRole::conv_weight) {
      kernel = name.substr(name.rfind('.') + 1);
      if (layout != io::WeightLayout::tessera) { name = renamed(name, spconv ? "weight" : "kernel"); }
      if (!spconv) { options.kernel_size(name, parameter.kernel_size); }
    }
    tensors.emplace_back(name, file.tensor(parameter.name));
  }
  write_safetensors(path, tensors);
  auto const converted = io::convert_checkpoint(path, options.kernel_name(kernel));
  auto const copy = make(std::uint64_t{999});  // other weights to begin with
  io::load(*copy, converted.tensors, io::Tessera{}, exec, LoadOptions().strict());
  return run(*copy);
}

constexpr io::WeightLayout all_layouts[] = {io::WeightLayout::tessera,   io::WeightLayout::krsc,
                                            io::WeightLayout::rskc,      io::WeightLayout::rsck,
                                            io::WeightLayout::minkowski, io::WeightLayout::torchsparse};

}  // namespace

TEST_CASE("SparseEncoder: published encoders have the layers and grids of their tables")
{
  Execution<Host> const exec;
  for (auto const& published :
       {Published{"second_kitti", {2, 200, 176}, 256, 12}, Published{"second_waymo", {3, 160, 240}, 384, 12},
        Published{"centerpoint_0_1", {2, 128, 128}, 256, 21},
        Published{"centerpoint_0_075", {2, 180, 180}, 256, 21},
        Published{"det3d_centerpoint", {2, 180, 180}, 256, 21},
        Published{"bevfusion", {180, 180, 2}, 256, 21}}) {
    CAPTURE(published.name);
    auto const options = models::sparse_encoder_options(published.name);
    models::SparseEncoder<float, Host> net{options, exec};
    auto const kernels = kernels_of(net);
    REQUIRE(kernels.size() == published.num_convolutions);
    CHECK(kernels.front() == std::vector<std::int64_t>{27, options.in_channels, 16});
    bool const blocks = options.block() == models::EncoderBlock::basicblock;
    std::int64_t const last = blocks ? 128 : 64;
    CHECK(kernels.back() == std::vector<std::int64_t>{3, last, 128});
    for (std::size_t i = 1; i < kernels.size(); ++i) { CHECK(kernels[i][1] == kernels[i - 1][2]); }
    auto const x = clumps(options.sparse_shape, options.in_channels, 1, 300);
    auto const y = net.forward(x, exec);
    CHECK(y.channels() == 128);
    CHECK(y.coordinates()->spatial_range()->extent == published.out);
    auto const map = net.forward_bev(x, exec);
    CHECK(map.channels() == published.channels);
    bool const zyx = options.axis() == 0;
    CHECK(map.range().extent == IntArray<2>{published.out[zyx ? 1 : 0], published.out[zyx ? 2 : 1]});
  }
  models::SparseEncoder<float, Host> second{models::second_kitti(), exec};
  CHECK(kernels_of(second)[2] == std::vector<std::int64_t>{27, 16, 32});
  CHECK(has_name(second, "encoder_layers.encoder_layer4.2.1.running_var"));
  CHECK(has_name(second, "conv_out.0.weight"));
  CHECK_FALSE(has_name(second, "conv_out.0.bias"));
  models::SparseEncoder<float, Host> det3d{models::det3d_centerpoint(), exec};
  for (auto const* name : {"conv_input.0.weight", "conv1.1.bn2.running_mean", "conv1.0.conv1.bias",
                           "conv2.0.weight", "conv2.1.weight", "conv2.4.conv2.bias", "conv4.3.conv1.weight",
                           "extra_conv.0.weight", "extra_conv.1.bias"}) {
    CAPTURE(name);
    CHECK(has_name(det3d, name));
  }
  CHECK_FALSE(has_name(det3d, "conv_input.0.bias"));
}

TEST_CASE("SparseEncoder: OpenPCDet's names")
{
  Execution<Host> const exec;
  using models::EncoderNames;
  models::SparseEncoder<float, Host> plain{models::second_kitti().names(EncoderNames::openpcdet), exec};
  for (auto const* name : {"conv_input.0.weight", "conv1.0.0.weight", "conv2.0.0.weight", "conv2.2.1.bias",
                           "conv4.0.1.running_var", "conv4.2.0.weight", "conv_out.0.weight"}) {
    CAPTURE(name);
    CHECK(has_name(plain, name));
  }
  models::SparseEncoder<float, Host> residual{
      models::centerpoint_0_1().names(EncoderNames::openpcdet).biased_blocks(true), exec};
  for (auto const* name :
       {"conv1.0.conv1.bias", "conv1.1.bn2.weight", "conv2.0.0.weight", "conv2.1.conv1.weight",
        "conv4.0.1.bias", "conv4.2.conv2.bias", "conv_out.1.weight"}) {
    CAPTURE(name);
    CHECK(has_name(residual, name));
  }
  CHECK(names_of(plain).size() ==
        names_of(models::SparseEncoder<float, Host>{models::second_kitti(), exec}).size());
}

TEST_CASE("SparseUNet: Part-A2 has the channels of its table, and decodes onto the voxels of the input")
{
  Execution<Host> const exec;
  models::SparseUNet<float, Host> net{models::parta2_kitti(), exec};
  auto const x = clumps({41, 1600, 1408}, 4, 2, 300);
  auto const y = net.forward(x, exec);
  CHECK(y.encoded.channels() == 128);
  CHECK(y.encoded.coordinates()->spatial_range()->extent == IntArray<3>{2, 200, 176});
  CHECK(y.decoded.channels() == 16);
  CHECK(y.decoded.coordinates() == x.coordinates());
  CHECK(has_name(net, "lateral_layer4.bn2.running_var"));
  CHECK(has_name(net, "merge_layer1.0.weight"));
  CHECK(has_name(net, "upsample_layer3.1.weight"));
  std::map<std::string, std::vector<std::int64_t>> shapes;
  for (auto const& parameter : net.parameters()) { shapes[parameter.name] = parameter.shape; }
  CHECK(shapes["merge_layer4.0.weight"] == std::vector<std::int64_t>{27, 128, 64});
  CHECK(shapes["upsample_layer3.0.weight"] == std::vector<std::int64_t>{27, 64, 32});
  CHECK(shapes["upsample_layer2.0.weight"] == std::vector<std::int64_t>{27, 32, 16});
}

TEST_CASE("MinkUNetBackbone: names and shapes of either backend; features on the input's voxels")
{
  Execution<Host> const exec;
  auto const x = clumps({61, 60, 31}, 4, 3, 400);
  for (auto const backend : {models::SparseBackend::spconv, models::SparseBackend::torchsparse}) {
    models::MinkUNetBackbone<float, Host> net{MinkUNetBackboneOptions(4).backend(backend), exec};
    auto const y = net.forward(x, exec);
    CHECK(y.channels() == 96);
    CHECK(y.coordinates() == x.coordinates());
    bool const spconv = backend == models::SparseBackend::spconv;
    for (auto const& name :
         spconv
             ? std::vector<std::string>{"conv_input.1.0.weight", "encoder.0.0.0.weight",
                                        "encoder.1.1.downsample.0.weight", "decoder.3.0.1.bias",
                                        "decoder.0.1.1.conv2.weight", "decoder.3.1.0.downsample.1.weight"}
             : std::vector<std::string>{"conv_input.1.net.0.kernel", "encoder.0.0.net.0.kernel",
                                        "encoder.1.1.downsample.0.kernel", "decoder.3.0.net.1.bias",
                                        "decoder.0.1.1.net.3.kernel", "decoder.3.1.0.downsample.1.weight"}) {
      CAPTURE(name);
      CHECK(has_name(net, name));
    }
    CHECK_FALSE(
        has_name(net, spconv ? "encoder.0.1.downsample.0.weight" : "encoder.0.1.downsample.0.kernel"));
  }
}

TEST_CASE("SparseEncoder: weights come back from every layout, and compute the same bits")
{
  Execution<Host> const exec;
  for (auto const name : models::sparse_encoder_names()) {
    CAPTURE(std::string{name});
    auto options = models::sparse_encoder_options(name).width(0.25);
    auto const make = [&](std::uint64_t seed) {
      return std::make_unique<models::SparseEncoder<float, Host>>(options.seed(seed), exec);
    };
    auto const net = make(1);
    auto const x = clumps(options.sparse_shape, options.in_channels, 4, 300);
    nn::calibrate(*net, x, exec);
    auto const run = [&](auto& model) { return model.forward(x, exec).features_on_host(exec); };
    auto const expected = run(*net);
    for (auto const layout : all_layouts) {
      CAPTURE(std::string{io::name_of(layout)});
      CHECK(same_bits(through_file(*net, layout, make, run), expected));
    }
  }
}

TEST_CASE("SparseUNet and MinkUNetBackbone: weights come back from every layout, and compute the same bits")
{
  Execution<Host> const exec;
  auto const x = clumps({41, 60, 44}, 4, 5, 300);
  for (auto const layout : all_layouts) {
    CAPTURE(std::string{io::name_of(layout)});
    {
      auto const make = [&](std::uint64_t seed) {
        SparseEncoderOptions encoder(4, {41, 60, 44});
        encoder.base(4).out(8).channels({{4}, {8, 8, 8}, {8, 8, 8}, {8, 8, 8}}).seed(seed);
        return std::make_unique<models::SparseUNet<float, Host>>(
            SparseUNetOptions{encoder}.decoder({{8, 8, 8}, {8, 8, 8}, {8, 8, 4}, {4, 4, 4}}), exec);
      };
      auto const run = [&](auto& model) { return model.forward(x, exec).decoded.features_on_host(exec); };
      auto const net = make(1);
      nn::calibrate(*net, x, exec);
      CHECK(same_bits(through_file(*net, layout, make, run), run(*net)));
    }
    for (auto const backend : {models::SparseBackend::spconv, models::SparseBackend::torchsparse}) {
      auto const make = [&](std::uint64_t seed) {
        return std::make_unique<models::MinkUNetBackbone<float, Host>>(
            MinkUNetBackboneOptions(4)
                .backend(backend)
                .base(4)
                .encoder({4, 8, 8, 12}, {1, 2, 1, 1})
                .decoder({12, 8, 8, 4}, {1, 1, 2, 1})
                .seed(seed),
            exec);
      };
      auto const run = [&](auto& model) { return model.forward(x, exec).features_on_host(exec); };
      auto const net = make(1);
      nn::calibrate(*net, x, exec);
      CHECK(same_bits(through_file(*net, layout, make, run), run(*net)));
    }
  }
}

TEST_CASE("SparseEncoder: what is invalid is refused")
{
  Execution<Host> const exec;
  auto const error = [&](SparseEncoderOptions const& options) {
    return test::error_of([&] { models::SparseEncoder<float, Host> const net{options, exec}; });
  };
  CHECK(test::error_of([] { static_cast<void>(models::sparse_encoder_options("second")); }) ==
        "sparse_encoder_options: 'second' is none of [second_kitti, second_waymo, centerpoint_0_1, "
        "centerpoint_0_075, det3d_centerpoint, bevfusion]");
  CHECK(test::has(error(models::second_kitti().channels({})), "no stages"));
  CHECK(test::has(error(models::second_kitti().paddings({{1}})), "4 stages but paddings of 1"));
  CHECK(test::has(error(models::centerpoint_0_1().channels({{24, 24}, {32, 32}, {64, 64}, {64}})),
                  "stage 0 has 2 layers and 3 paddings"));
  CHECK(test::has(error(models::centerpoint_0_1().base(24)),
                  "block 0 of stage 0 has 16 channels, but gets 24"));
  CHECK(test::has(error(models::second_kitti().names(models::EncoderNames::det3d)), "basic blocks"));
  CHECK(test::has(error(models::second_kitti().axis(3)), "height axis 3"));
  CHECK(
      test::has(test::error_of([] { static_cast<void>(models::second_kitti().width(0.01)); }), "width 0.01"));

  models::SparseEncoder<float, Host> net{models::second_kitti().width(0.25), exec};
  auto const forward_error = [&](Tensor const& x) {
    return test::error_of([&] { static_cast<void>(net.forward(x, exec)); });
  };
  CHECK(forward_error(clumps({41, 1600, 1400}, 4, 6, 50)) ==
        "SparseEncoder: the tensor's spatial range is [41, 1600, 1400], but the encoder was made for [41, "
        "1600, "
        "1408]");
  CHECK(forward_error(clumps({41, 1600, 1408}, 5, 6, 50)) ==
        "Conv: the tensor has 5 channels but 4 -> 4 were expected");
  CHECK(forward_error(Tensor{}) == "SparseEncoder: the tensor has no coordinates");
}
