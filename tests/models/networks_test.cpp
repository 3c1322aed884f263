// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/data.hpp"
#include "../support/files.hpp"
#include "random_networks.hpp"
#include "recorded_network.hpp"

#include <tessera/conv/detail/convolution_host.hpp>
#include <tessera/io/load.hpp>
#include <tessera/nn/calibrate.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <map>

using namespace tessera;
using random_networks::input;

namespace {

using MinkUNet = models::MinkUNet<3, float, Host>;

std::int64_t trained_parameters(nn::ModuleBase const& module)
{
  std::int64_t count = 0;
  for (auto const& parameter : module.parameters()) {
    count += parameter.role == nn::ParameterRole::buffer ? 0 : parameter.size;
  }
  return count;
}

/// Every value is finite and no row is like the first.
void check_alive(std::vector<float> const& values)
{
  double mean = 0;
  double square = 0;
  for (auto const value : values) {
    REQUIRE(std::isfinite(value));
    mean += value / static_cast<double>(values.size());
    square += double{value} * value / static_cast<double>(values.size());
  }
  CHECK(square - mean * mean > 1e-3);
  CHECK(square < 1e4);
}

}  // namespace

TEST_CASE("MinkUNet: as many trained parameters as SPVNAS states")
{
  Execution<Host> const exec;
  std::map<double, std::int64_t> const expected{{1.0, 21'723'315}, {0.64, 8'771'298}, {0.5, 5'435'235}};
  for (auto const& entry : expected) {
    double const width = entry.first;
    CAPTURE(width);
    MinkUNet const net{MinkUNetOptions(4, 19).width(width), exec};
    CHECK(trained_parameters(net) == entry.second);
  }
}

TEST_CASE("networks: names and shapes of parameters are those of the recorded state_dicts")
{
  Execution<Host> const exec;
  for (std::string const name : {"minkunet_semkitti", "resnet21d_nuscenes", "resunet42_nuscenes"}) {
    auto const path = test::data_file("golden/" + name + ".safetensors");
    if (!path) { continue; }
    CAPTURE(name);
    Safetensors const file{*path};
    std::map<std::string, std::vector<std::int64_t>> expected;
    std::string const prefix = "param.";
    for (auto const& tensor : file.names()) {
      bool const ours = tensor.rfind(prefix, 0) == 0 &&
                        tensor.find("point_transforms.") == std::string::npos &&
                        tensor.find("num_batches_tracked") == std::string::npos;
      if (ours) { expected.emplace(tensor.substr(prefix.size()), file.shape(tensor)); }
    }
    std::map<std::string, std::vector<std::int64_t>> found;
    recorded_network::with_network<float>(
        test::golden_config(file, "config"), ConvConfig{}, exec, [&](auto& network) {
          for (auto const& parameter : network.parameters()) {
            CHECK(found.emplace(parameter.name, detail::file_shape(parameter, io::TorchSparse{})).second);
          }
        });
    CHECK(found == expected);
  }
}

TEST_CASE("MinkUNet: logits on the voxels of the input, alive with random weights once calibrated")
{
  Execution<Host> const exec;
  auto const x = input<3>(40, 2, 4, exec);
  MinkUNet net{MinkUNetOptions(4, 13).width(0.25).seed(3), exec};
  nn::calibrate(net, x, exec);
  auto const logits = net(x, exec);
  CHECK(logits.coordinates() == x.coordinates());
  CHECK(logits.channels() == 13);
  auto const values = logits.features_on_host(exec);
  check_alive(values);

  MinkUNet same{MinkUNetOptions(4, 13).width(0.25).seed(3), exec};
  nn::calibrate(same, x, exec);
  CHECK(same(x, exec).features_on_host(exec) == values);
  MinkUNet other{MinkUNetOptions(4, 13).width(0.25).seed(4), exec};
  nn::calibrate(other, x, exec);
  CHECK(other(x, exec).features_on_host(exec) != values);
}

TEST_CASE("MinkUNet: layers of one seed have different weights")
{
  Execution<Host> const exec;
  MinkUNet const net{MinkUNetOptions(4, 13).width(0.25), exec};
  std::map<float, std::string> first_value;
  for (auto const& parameter : net.parameters()) {
    if (parameter.role != nn::ParameterRole::conv_weight) { continue; }
    CAPTURE(parameter.name);
    auto const scale = std::sqrt(static_cast<float>(parameter.shape[parameter.shape.size() - 2]));
    auto const value = *parameter.as<float, Host>().data() * scale;
    CHECK(first_value.emplace(value, parameter.name).second);
  }
}

TEST_CASE("MinkUNet: other dimensions than 3")
{
  Execution<Host> const exec;
  auto const flat = input<2>(33, 2, 3, exec);
  models::MinkUNet<2, float, Host> planar{MinkUNetOptions(3, 5).width(0.125), exec};
  nn::calibrate(planar, flat, exec);
  check_alive(planar(flat, exec).features_on_host(exec));
}

TEST_CASE("networks: no voxels, one voxel, wrong channels, a width that leaves nothing")
{
  Execution<Host> const exec;
  MinkUNet net{MinkUNetOptions(4, 13).width(0.25), exec};
  auto const none = net(input<3>(0, 1, 4, exec), exec);
  CHECK(none.num_rows() == 0);
  CHECK(none.channels() == 13);
  CHECK(net(input<3>(1, 1, 4, exec), exec).num_rows() == 1);
  CHECK(test::error_of([&] { (void)net(input<3>(5, 1, 3, exec), exec); }).find("3 channels but 4 -> 8") !=
        std::string::npos);
  CHECK(net(input<3>(5, 1, 4, exec), exec).num_rows() == 25);  // still usable
  CHECK(test::error_of([&] { MinkUNet(MinkUNetOptions(4, 13).width(0.01), exec); }).find("width 0.01") !=
        std::string::npos);
  CHECK_FALSE(test::error_of([&] { MinkUNet(MinkUNetOptions(0, 13), exec); }).empty());
  CHECK_FALSE(test::error_of([&] { MinkUNet(MinkUNetOptions(4, 0).width(0.25), exec); }).empty());
}

TEST_CASE("backbones: strides and channels of their tensors")
{
  Execution<Host> const exec;
  auto const x = input<3>(40, 1, 5, exec);
  models::SparseResNet21D<3, float, Host> resnet{BackboneOptions(5), exec};
  auto const stages = resnet(x, exec);
  int const channels[] = {16, 32, 64, 128, 128};
  for (std::size_t i = 0; i < 5; ++i) {
    CHECK(stages[i].channels() == channels[i]);
    auto const stride = 1 << std::min<int>(static_cast<int>(i), 3);
    CHECK(stages[i].tensor_stride() == (i == 4 ? IntArray<3>{8, 16, 8} : IntArray<3>(stride)));
  }
  models::SparseResUNet42<3, float, Host> resunet{BackboneOptions(5), exec};
  auto const tensors = resunet(x, exec);
  int const widths[] = {32, 32, 64, 128, 256, 256, 128, 96, 96};
  for (std::size_t i = 0; i < 9; ++i) {
    CHECK(tensors[i].channels() == widths[i]);
    CHECK(tensors[i].coordinates() == tensors[i <= 4 ? i : 8 - i].coordinates());
  }
  CHECK(tensors[8].coordinates() == x.coordinates());
  CHECK(tensors[4].tensor_stride() == IntArray<3>(16));
}
