// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/files.hpp"
#include "registered_scaling.hpp"
#include "tensors.hpp"

#ifdef __CUDACC__
#include <tessera/conv/convolution_kernels.cuh>
#endif
#include <tessera/conv/detail/convolution_host.hpp>
#include <tessera/nn/layer_registry.hpp>
#include <tessera/nn/sequential.hpp>

#include <string>

using namespace tessera;

namespace {

template <class Space>
using Layer = nn::ModulePointer<3, float, Space>;

template <class Space>
Layer<Space> build(nn::LayerConfig const& config, Execution<Space> const& exec)
{
  return nn::build_layer<3, float, Space>(config, exec);
}

template <class Space>
SparseTensor<3, float, Space> cloud(int channels, Execution<Space> const& exec)
{
  auto const in = test::random_tensor<float>(300, channels, {0, 1}, 7);
  return test::upload_tensor<float>(in, exec, 2);
}

}  // namespace

TEST_CASE_TEMPLATE("registry: a name builds the layer it means, an indice_key changes nothing", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const x = cloud(4, exec);
  auto const same = [&](Layer<Space> const& layer, auto&& expected) {
    auto const y = layer->forward(x, exec);
    auto const z = expected.forward(x, exec);
    CHECK(y.coordinates() == z.coordinates());
    CHECK(test::same_bits(y.features_on_host(exec), z.features_on_host(exec)));
  };
  using Conv = nn::Conv<3, float, Space>;
  nn::LayerConfig const keyed = nn::LayerConfig{}.set("indice_key", "a").set("seed", 3);
  auto const named = [&](char const* type) { return nn::LayerConfig{keyed}.type(type); };

  same(nn::build_conv_layer<3, float, Space>(named("SubMConv3d"), 4, 6, 3, 2, 0, exec),
       Conv{nn::SubMConv<3>(4, 6, 3).seed(3), exec});
  same(nn::build_conv_layer<3, float, Space>(named("SparseConv3d"), 4, 6, 3, {1, 2, 2}, {0, 1, 1}, exec),
       Conv{nn::SparseConv<3>(4, 6, 3).stride({1, 2, 2}).padding({0, 1, 1}).seed(3), exec});
  same(nn::build_conv_layer<3, float, Space>(named("SparseConvTranspose3d").set("output_padding", 1), 4, 6, 3,
                                             2, 1, exec),
       Conv{nn::SparseConvTranspose<3>(4, 6, 3).stride(2).padding(1).output_padding(1).seed(3), exec});
  same(nn::build_conv_layer<3, float, Space>(named("TorchSparseConv3d"), 4, 6, 2, 2, 0, exec),
       Conv{ConvOptions<3>(4, 6, 2).stride(2).seed(3), exec});
  same(build(nn::LayerConfig("SparseMaxPool3d").set("kernel_size", 2).set("indice_key", "a"), exec),
       nn::MaxPool<3, float, Space>{PoolOptions<3>(2)});
  same(build(nn::LayerConfig("SparseAvgPool3d").set("kernel_size", 3).set("stride", 2).set("padding", 1),
             exec),
       nn::AveragePool<3, float, Space>{PoolOptions<3>(3).stride(2).padding(1)});
  for (auto const* name : {"BN1d", "TorchSparseBatchNorm", "TorchSparseBN"}) {
    auto const config = nn::LayerConfig{name}.set("eps", 1e-3).set("momentum", 0.01);
    same(nn::build_norm_layer<3, float, Space>(config, 4, exec),
         nn::BatchNorm<3, float, Space>{NormOptions(4).eps(1e-3).momentum(0.01), exec});
  }
  same(nn::build_norm_layer<3, float, Space>(nn::LayerConfig{"LN"}.set("eps", 1e-3), 4, exec),
       nn::LayerNorm<3, float, Space>{NormOptions(4).eps(1e-3), exec});
  same(nn::build_norm_layer<3, float, Space>(nn::LayerConfig{"LN"}.set("elementwise_affine", false), 4, exec),
       nn::LayerNorm<3, float, Space>{NormOptions(4).affine(false), exec});
  for (auto const* name : {"relu", "ReLU", "TorchSparseReLU"}) {
    same(nn::build_activation_layer<3, float, Space>(name, exec), nn::ReLU<3, float, Space>{});
  }
  for (auto const* name : {"swish", "Swish", "SiLU"}) {
    same(nn::build_activation_layer<3, float, Space>(name, exec), nn::SiLU<3, float, Space>{});
  }
  same(nn::build_activation_layer<3, float, Space>("Sigmoid", exec), nn::Sigmoid<3, float, Space>{});
  same(nn::build_activation_layer<3, float, Space>("Tanh", exec), nn::Tanh<3, float, Space>{});
  same(nn::build_activation_layer<3, float, Space>("GELU", exec), nn::GELU<3, float, Space>{});
  for (auto const* name : {"LeakyReLU", "TorchSparseLeakyReLU"}) {
    same(build(nn::LayerConfig(name).set("negative_slope", 0.2), exec), nn::LeakyReLU<3, float, Space>{0.2});
  }
}

TEST_CASE_TEMPLATE("registry: the type is the whole migration from one system to another", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const x = cloud(4, exec);
  std::vector<std::vector<float>> results;
  for (auto const& names : {std::pair{"SubMConv3d", "BN1d"}, {"TorchSparseConv3d", "TorchSparseBatchNorm"}}) {
    auto const config = nn::LayerConfig{names.first}.set("bias", false).set("indice_key", "subm1");
    auto const conv = nn::build_conv_layer<3, float, Space>(config, 4, 8, 3, 1, 1, exec);
    auto const norm = nn::build_norm_layer<3, float, Space>(names.second, 8, exec);
    results.push_back(norm->forward(conv->forward(x, exec), exec).features_on_host(exec));
    REQUIRE(conv->parameters().size() == 1);
    CHECK(conv->parameters()[0].name ==
          (std::string{names.first} == "SubMConv3d" ? "weight" : "kernel"));  // as each system's checkpoints
  }
  CHECK(test::same_bits(results[0], results[1]));
}

TEST_CASE("registry: what is invalid is refused with what there is")
{
  Execution<Host> const exec{};
  auto const unknown = test::error_of([&] { (void)build("SparseConv2d", exec); });
  CHECK(test::has(unknown, "\"SparseConv2d\" in 3 dimensions"));
  CHECK(test::has(unknown, "SparseConv3d"));
  CHECK(test::has(unknown, "TorchSparseBatchNorm"));
  auto const conv = nn::LayerConfig("SubMConv3d").set("in_channels", 4).set("out_channels", 4);
  CHECK(test::has(test::error_of([&] { (void)build(conv, exec); }), "\"kernel_size\" is missing"));
  auto const sized = nn::LayerConfig{conv}.set("kernel_size", 3);
  auto const option = test::error_of([&] { (void)build(nn::LayerConfig{sized}.set("strid", 2), exec); });
  CHECK(test::has(option, "no option \"strid\""));
  CHECK(test::has(option, "stride"));
  CHECK(test::has(test::error_of([&] { (void)build(nn::LayerConfig{sized}.set("bias", 1), exec); }),
                  "\"bias\" is an integer, but a truth value was expected"));
  CHECK(test::has(test::error_of([&] {
                    (void)build(nn::LayerConfig{sized}.set("stride", std::vector<int>{1, 2}), exec);
                  }),
                  "\"stride\" is the list [1, 2], but one integer that fits or a list of 3 was expected"));
  auto const large = nn::LayerConfig{conv}.set("kernel_size", (std::int64_t{1} << 32) + 3);
  CHECK(
      test::has(test::error_of([&] { (void)build(large, exec); }), "\"kernel_size\" is an integer, but one"));
  CHECK(test::has(test::error_of([&] { (void)build(nn::LayerConfig{sized}.set("compat", "spconv3"), exec); }),
                  "compat \"spconv3\" does not exist"));
  CHECK(test::has(test::error_of([&] { (void)build(nn::LayerConfig{sized}.set("groups", 2), exec); }),
                  "2 groups"));
  CHECK(test::has(test::error_of([&] { (void)build(nn::LayerConfig{sized}.set("kernel_size", -1), exec); }),
                  "kernel size [-1, -1, -1] must be at least 1"));
  CHECK(test::has(test::error_of([&] { test::register_scaling<Host>("SubMConv3d"); }), "registered already"));
  auto const none = [&] { nn::Registry<3, float, Host>{}.add("A", nullptr); };
  CHECK(test::has(test::error_of(none), "\"A\" has no factory"));
  CHECK(test::has(test::error_of([&] { nn::Sequential<3, float, Host>{}.append(nullptr); }),
                  "no module to append"));
}

TEST_CASE_TEMPLATE("registry: layers of users, from this translation unit and from another", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  static bool const registered = test::register_scaling<Space>("Scaling");
  CHECK(registered);
  auto const x = cloud(2, exec);
  auto const features = x.features_on_host(exec);
  for (auto const* name : {"Scaling", "ScalingOfAnotherUnit"}) {
    auto const y = build(nn::LayerConfig{name}.set("times", 3), exec)->forward(x, exec);
    auto const found = y.features_on_host(exec);
    REQUIRE(found.size() == features.size());
    for (std::size_t i = 0; i < found.size(); ++i) {
      REQUIRE(found[i] == doctest::Approx(3 * double(features[i])).epsilon(1e-6));
    }
  }
}

TEST_CASE("registry: every dimension has its own names")
{
  CHECK(nn::layer_registry<1, float, Host>().contains("SubMConv1d"));
  CHECK(nn::layer_registry<2, double, Host>().contains("SparseInverseConv2d"));
  CHECK(nn::layer_registry<4, float, Host>().contains("SparseMaxPool4d"));
  CHECK_FALSE(nn::layer_registry<4, float, Host>().contains("SubMConv3d"));
}
