// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/files.hpp"

#include <tessera/conv/detail/convolution_host.hpp>
#include <tessera/io/layer_config.hpp>
#include <tessera/nn/layer_registry.hpp>

#include <doctest/doctest.h>

using namespace tessera;

TEST_CASE("layer config: JSON gives what Python's dict gives")
{
  auto const config = io::parse_layer_config(
      R"({"type": "SparseConv3d", "in_channels": 4, "out_channels": 8, "kernel_size": [3, 1, 1],
          "stride": [2, 1, 1], "padding": 0, "bias": false, "indice_key": null})");
  CHECK(config.type() == "SparseConv3d");
  CHECK_FALSE(config.has("indice_key"));
  CHECK_FALSE(config.require<bool>("bias"));
  CHECK(config.require<IntArray<3>>("padding") == IntArray<3>(0));
  CHECK(io::parse_layer_config(R"({"type": "BN1d", "eps": 1e-3})").require<double>("eps") == 1e-3);

  Execution<Host> const exec{};
  SparseTensor<3, float, Host> const x{make_coordinate_set<3>({{0, {1, 2, 3}}, {0, {4, 5, 6}}}, {}, exec),
                                       upload_matrix(std::vector<float>(8, 1.0F), 4, exec)};
  auto const y = nn::build_layer<3, float, Host>(config, exec)->forward(x, exec);
  CHECK(y.channels() == 8);
  CHECK(y.tensor_stride() == IntArray<3>{2, 1, 1});
}

TEST_CASE("layer config: a list of layers, from text and from a file")
{
  std::string const text = R"([{"type": "SubMConv3d", "kernel_size": 3}, {"type": "ReLU"}])";
  auto const layers = io::parse_layer_configs(text);
  REQUIRE(layers.size() == 2);
  CHECK(layers[0].require<int>("kernel_size") == 3);
  CHECK(layers[1].type() == "ReLU");
  CHECK(io::parse_layer_configs(R"({"type": "ReLU"})").size() == 1);
  CHECK(io::parse_layer_configs("[]").empty());

  test::TempDir const folder;
  test::write_bytes(folder / "layers.json", text);
  CHECK(io::read_layer_configs(folder / "layers.json").size() == 2);
  CHECK(test::has(test::error_of([&] { (void)io::read_layer_configs(folder / "none.json"); }), "none.json"));
}

TEST_CASE("layer config: JSON that describes no layer is refused")
{
  auto const refused = [](char const* text) {
    return test::error_of([&] { (void)io::parse_layer_config(text); });
  };
  CHECK(test::has(refused("[]"), "a layer is a JSON object"));
  CHECK(test::has(refused(R"({"kernel_size": 3})"), "needs a \"type\""));
  CHECK(test::has(refused(R"({"type": 3})"), "needs a \"type\""));
  CHECK(test::has(refused(R"({"type": "A", "b": {}})"), "is an object"));
  CHECK(test::has(refused(R"({"type": "A", "b": [1, 2.5]})"), "something else than integers"));
  CHECK(test::has(refused(R"({"type": "A", "b": [5000000000]})"), "something else than integers"));
  CHECK(test::has(refused(R"({"type": "A")"), "not valid JSON"));
}
