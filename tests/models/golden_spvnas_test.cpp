// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "golden_networks.hpp"

#ifdef __CUDACC__
#include <tessera/core/detail/scan.cuh>
#include <tessera/core/detail/sort.cuh>
#endif
#include <tessera/io/spvnas_config.hpp>
#include <tessera/models/spvnas_supernet.hpp>
#include <tessera/nn/fuse.hpp>

#include <map>

namespace {

namespace ts = tessera;

constexpr golden_networks::Tolerance in_float{1e-4, 0.999999};

/// The supernet of the file: its channels, and as few of them as there may be.
ts::models::SPVNASSpace recorded_space(ts::Safetensors const& file)
{
  auto const config = test::golden_config(file, "config");
  REQUIRE(recorded_network::model(config) == "SPVNAS");
  auto const upper = test::ints(*config.find("output_channels"));
  ts::models::SPVNASSpace space{static_cast<int>(file.shape("input.feats").back()),
                                recorded_network::integer(config, "num_classes")};
  REQUIRE(upper.size() == space.upper().size());
  ts::models::SPVNASSpace::Channels most{};
  ts::models::SPVNASSpace::Channels fewest{};
  for (std::size_t i = 0; i < most.size(); ++i) {
    most[i] = upper[i];
    fewest[i] = 16;
  }
  CHECK(most[0] == recorded_network::integer(config, "base_channels"));
  return space.channels(most, fewest)
      .min_depth(recorded_network::integer(config, "macro_depth_constraint"))
      .sizes(static_cast<float>(recorded_network::number(config, "pres")),
             static_cast<float>(recorded_network::number(config, "vres")));
}

/// Shapes of the weights of a network, as PyTorch has them.
std::map<std::string, std::vector<std::int64_t>> weight_shapes(ts::nn::ModuleBase const& network)
{
  std::map<std::string, std::vector<std::int64_t>> shapes;
  for (auto const& parameter : network.parameters()) {
    if (parameter.role == ts::nn::ParameterRole::conv_weight) { shapes[parameter.name] = parameter.shape; }
    if (parameter.role == ts::nn::ParameterRole::matrix) {
      shapes[parameter.name] = {parameter.shape.rbegin(), parameter.shape.rend()};
    }
  }
  return shapes;
}

std::map<std::string, std::vector<std::int64_t>> recorded_shapes(ts::detail::Json const& json)
{
  std::map<std::string, std::vector<std::int64_t>> shapes;
  auto const* const object = json.get<ts::detail::Json::Object>();
  REQUIRE(object != nullptr);
  for (std::size_t i = 0; i < object->keys.size(); ++i) {
    auto const extents = test::ints(object->values[i]);
    shapes[object->keys[i]] = {extents.begin(), extents.end()};
  }
  return shapes;
}

template <class Scalar, class Space>
void check_spvnas(golden_networks::Tolerance const& tolerance)
{
  auto const path = test::data_file("golden/spvnas_semkitti.safetensors");
  if (!path || test::skipped<Space>() || test::skipped_as_large()) { return; }
  ts::Safetensors const file{*path};
  auto const space = recorded_space(file);
  ts::Execution<Space> const exec{};
  ts::ConvConfig conv;
  conv.compat = ts::compat::torchsparse;
  ts::models::SPVNASSupernet<3, Scalar, Space> supernet{space, exec, conv};
  auto const report =
      ts::io::load(supernet, file, ts::io::TorchSparse{}, exec, ts::LoadOptions().prefix("param.").strict());
  CHECK(report.loaded.size() == supernet.parameters().size());
  auto const x = golden_networks::input_of<Scalar>(file, test::golden_config(file, "config"), exec);

  int number = 0;
  for (; file.metadata().count("subnet" + std::to_string(number)) > 0; ++number) {
    auto const name = "subnet" + std::to_string(number);
    CAPTURE(name);
    auto const config = ts::io::parse_spvnas_config(file.metadata().at(name), space);
    CHECK(ts::io::parse_spvnas_config(ts::io::spvnas_config_text(config), space) == config);
    supernet.select(config, exec);
    auto const logits = supernet.forward(x, exec).features_on_host(exec);
    golden_networks::check_close(logits, file.to_float(name + ".logits"), tolerance);

    auto const subnet = supernet.extract(config, exec);
    CHECK(weight_shapes(*subnet) == recorded_shapes(test::golden_config(file, name + ".params")));
    CHECK(subnet->forward(x, exec).features_on_host(exec) == logits);
    auto const fused = ts::nn::fuse(*subnet, x, exec);
    golden_networks::check_close(fused(x, exec).features_on_host(exec), file.to_float(name + ".logits"),
                                 tolerance);
  }
  CHECK(number > 0);
}

}  // namespace

TEST_CASE_TEMPLATE("SPVNAS: subnets of the supernet give TorchSparse's logits in float", Space,
                   TESSERA_TEST_SPACES)
{
  check_spvnas<float, Space>(in_float);
}

#ifdef __CUDACC__
TEST_CASE("SPVNAS: subnets of the supernet give TorchSparse's logits in half on the device")
{
  check_spvnas<__half, ts::Device>({1e-2, 0.9999});
}
#endif
