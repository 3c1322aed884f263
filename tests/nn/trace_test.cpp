// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/device.hpp"
#include "../support/difference.hpp"
#include "../support/spaces.hpp"
#include "random_norms.hpp"

#include <tessera/models/minkunet.hpp>
#include <tessera/models/sparse_resnet21d.hpp>
#include <tessera/nn/blocks.hpp>
#include <tessera/nn/dropout.hpp>
#include <tessera/nn/fuse.hpp>
#include <tessera/nn/group_norm.hpp>
#include <tessera/nn/linear.hpp>
#include <tessera/nn/pooling.hpp>
#include <tessera/nn/sequential.hpp>
#include <tessera/nn/sparse_blocks.hpp>
#include <tessera/nn/to_bev.hpp>
#include <tessera/ops/custom.hpp>

#include <doctest/doctest.h>

#ifdef __CUDACC__
#include <tessera/conv/convolution.cuh>
#endif

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <vector>

using namespace tessera;

namespace {

template <class Space>
using TensorOf = SparseTensor<3, float, Space>;

template <class Space>
TensorOf<Space> random_tensor(int channels, unsigned seed, Execution<Space> const& exec,
                              bool has_range = true)
{
  std::mt19937 random{seed};
  std::uniform_real_distribution<float> uniform{-1, 1};
  std::vector<Coordinate<3>> rows;
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < 16; ++j) { rows.push_back({0, {i, j, static_cast<int>(random() % 4)}}); }
  }
  std::vector<float> features(rows.size() * static_cast<std::size_t>(channels));
  for (auto& value : features) { value = uniform(random); }
  CoordinateSetOptions<3> options;
  if (has_range) { options.spatial_range = SpatialRange<3>{1, {16, 16, 4}}; }
  return {make_coordinate_set(rows, options, exec), upload_matrix(features, channels, exec)};
}

template <class Traced>
std::map<std::string, int> counts(Traced const& traced)
{
  std::map<std::string, int> result;
  for (auto const& operation : traced.operations()) { ++result[operation->name()]; }
  return result;
}

/// What a model as a list gives of other voxels: the bits of the model, and once fused what rounding explains. The
/// list has then `expected` operations.
template <class Space, class Model>
void check_trace(Model& model, int channels, std::map<std::string, int> const& expected)
{
  Execution<Space> const exec{};
  test::randomize_norms(model, exec);
  auto traced = nn::trace(model, random_tensor(channels, 1, exec), exec);
  auto const x = random_tensor(channels, 2, exec);
  auto const before = model.forward(x, exec).features_on_host(exec);
  REQUIRE(test::magnitude(before) > 0);
  CHECK(traced.forward(x, exec).features_on_host(exec) == before);
  nn::fuse(traced, exec);
  CHECK(counts(traced) == expected);
  auto const fused = traced.forward(x, exec).features_on_host(exec);
  CHECK(test::largest_difference(fused, before) < 1e-5 * (1 + test::magnitude(before)));
  CHECK(model.forward(x, exec).features_on_host(exec) == before);  // the model is as it was
  nn::fuse(traced, exec);
  CHECK(counts(traced) == expected);
  CHECK(traced.forward(x, exec).features_on_host(exec) == fused);
}

/// A network of free functions alone.
template <class Space>
struct FunctionNet {
  using Tensor = TensorOf<Space>;

  explicit FunctionNet(Execution<Space> const& exec)
      : conv{ConvOptions<3>(8, 16, 3).seed(3), exec},
        second{ConvOptions<3>(16, 16, 3).seed(5), exec},
        head{ConvOptions<3>(32, 4, 1).seed(7), exec},
        norm{16, exec}
  {}
  [[nodiscard]] Tensor forward(Tensor const& x, Execution<Space> const& exec)
  {
    auto const apply = [&](Tensor const& of, nn::Conv<3, float, Space>& layer) {
      auto const& o = layer.options();
      return convolution(of, layer.weight(), nullptr, o.out_channels, o.kind(), o.geometry, layer.config(),
                         exec);
    };
    auto const normalize = [&](Tensor const& of) {
      return batch_norm(of, norm.running_mean(), norm.running_var(), norm.weight(), norm.bias(), 1e-5, exec);
    };
    auto const a = leaky_relu(normalize(apply(x, conv)), 0.1, exec);
    auto const b = relu(add(normalize(apply(a, second)), a, exec), exec);
    return ops::custom(
        "halve", exec, [](Tensor const& of, Execution<Space> const& inside) { return add(of, of, inside); },
        apply(cat({a, b}, exec), head));
  }
  void eval() {}

  nn::Conv<3, float, Space> conv, second, head;
  nn::BatchNorm<3, float, Space> norm;
};

}  // namespace

TEST_CASE_TEMPLATE("trace: blocks and networks are lists that give their bits on other voxels, and fuse",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  using Ops = std::map<std::string, int>;
  nn::SparseConvBlock<3, float, Space> block{ConvOptions<3>(5, 12, 3).stride(2).seed(3), exec};
  check_trace<Space>(block, 5, Ops{{"convolution", 1}});
  nn::SparseResBlock<3, float, Space> residual{ConvOptions<3>(5, 12, 3).bias(true).seed(4), exec};
  check_trace<Space>(residual, 5, Ops{{"convolution", 3}});
  nn::SparseBasicBlock<3, float, Space> basic{SparseBlockOptions<3>(6, 6).seed(5), exec};
  check_trace<Space>(basic, 6, Ops{{"convolution", 2}});
  nn::SparseBasicBlock<3, float, Space> swish{
      SparseBlockOptions<3>(6, 6).seed(5).activation(nn::LayerConfig{"swish"}), exec};
  check_trace<Space>(swish, 6, Ops{{"convolution", 2}});
  nn::SparseBottleneck<3, float, Space> bottleneck{SparseBlockOptions<3>(8, 2).seed(6), exec};
  check_trace<Space>(bottleneck, 8, Ops{{"convolution", 3}});
  nn::SparseBottleneck<3, float, Space> gelu{
      SparseBlockOptions<3>(8, 2).seed(6).activation(nn::LayerConfig{"GELU"}), exec};
  check_trace<Space>(gelu, 8, Ops{{"convolution", 3}, {"gelu", 3}});
  nn::Sequential<3, float, Space> bev;
  bev.template add<nn::ToBevConvolution<float, Space>>(ToBevOptions(6, 8, 4), exec);
  bev.template add<nn::BatchNorm<3, float, Space>>(8, exec);
  bev.template add<nn::ReLU<3, float, Space>>();
  bev.template add<nn::Linear<3, float, Space>>(LinearOptions(8, 5), exec);
  bev.template add<nn::BatchNorm<3, float, Space>>(5, exec);
  bev.template add<nn::SiLU<3, float, Space>>();
  bev.template add<nn::Dropout<3, float, Space>>();
  check_trace<Space>(bev, 6, Ops{{"convolution", 1}, {"linear", 1}});
  nn::Sequential<3, float, Space> group;
  group.template add<nn::Conv<3, float, Space>>(ConvOptions<3>(4, 8, 3), exec);
  group.template add<nn::GroupNorm<3, float, Space>>(2, 8, exec);
  group.template add<nn::ReLU<3, float, Space>>();
  check_trace<Space>(group, 4, Ops{{"convolution", 1}, {"group_norm", 1}, {"relu", 1}});
}

TEST_CASE("trace: a U-Net is a list of convolutions and a classifier once it is fused")
{
  Execution<Host> const exec{};
  models::MinkUNet<3, float, Host> net{MinkUNetOptions(4, 3).width(0.25), exec};
  test::randomize_norms(net, exec);
  auto const traced = nn::fuse(net, random_tensor(4, 1, exec, false), exec);
  for (auto const& found : counts(traced)) {
    CAPTURE(found.first);
    CHECK((found.first == "convolution" || found.first == "linear" || found.first == "cat"));
  }
  auto const x = random_tensor(4, 9, exec, false);
  auto const before = net.forward(x, exec).features_on_host(exec);
  CHECK(test::largest_difference(traced.forward(x, exec).features_on_host(exec), before) <
        1e-4 * (1 + test::magnitude(before)));
  net.train();  // it can still be trained
  net.eval();

  TensorOf<Host> const nothing{make_coordinate_set(std::vector<Coordinate<3>>{}, {}, exec),
                               Matrix<float, Host>{0, 4, exec}};
  auto const of_nothing = nn::fuse(net, nothing, exec);  // no voxels are as good
  CHECK(counts(of_nothing) == counts(traced));
  CHECK(of_nothing.forward(x, exec).features_on_host(exec) == traced.forward(x, exec).features_on_host(exec));
}

TEST_CASE("trace: an array of outputs, a matrix and a dense map come back as they are")
{
  Execution<Host> const exec{};
  models::SparseResNet21D<3, float, Host> backbone{BackboneOptions(4).width(0.5), exec};
  auto const stages = nn::trace(backbone, random_tensor(4, 1, exec, false), exec);
  auto const open = random_tensor(4, 3, exec, false);
  auto const expected = backbone.forward(open, exec);
  auto const found = stages.forward(open, exec);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    CHECK(found[i].features_on_host(exec) == expected[i].features_on_host(exec));
  }
  auto const x = random_tensor(4, 3, exec);
  nn::Sequential head{std::make_unique<nn::GlobalAveragePool<3, float, Host>>(),
                      std::make_unique<nn::Linear<3, float, Host>>(LinearOptions(4, 3), exec),
                      std::make_unique<nn::BatchNorm<3, float, Host>>(3, exec),
                      std::make_unique<nn::ReLU<3, float, Host>>()};
  test::randomize_norms(head, exec);
  auto traced = nn::trace(head, random_tensor(4, 1, exec), exec);
  auto const rows = traced.forward(x, exec);
  auto const wanted = head.forward(x, exec);
  CHECK(download(rows.data(), rows.size(), exec) == download(wanted.data(), wanted.size(), exec));
  nn::fuse(traced, exec);
  CHECK(counts(traced) == std::map<std::string, int>{{"global_average_pool", 1}, {"linear", 1}});
  CHECK(test::largest_difference(download(traced.forward(x, exec).data(), 3, exec),
                                 download(wanted.data(), 3, exec)) < 1e-5);
  nn::ToBevHeightCompression<float, Host> compression;
  auto const map = nn::trace(compression, random_tensor(4, 1, exec), exec).forward(x, exec);
  auto const whole = compression.forward(x, exec);
  CHECK(download(map.data(), map.size(), exec) == download(whole.data(), whole.size(), exec));
}

TEST_CASE("trace: a network of free functions fuses as one of modules does")
{
  Execution<Host> const exec{};
  FunctionNet<Host> net{exec};
  test::randomize_norms(net.norm, exec);
  auto traced = nn::trace(net, random_tensor(8, 1, exec), exec);
  auto const x = random_tensor(8, 4, exec);
  auto const before = net.forward(x, exec).features_on_host(exec);
  CHECK(traced.forward(x, exec).features_on_host(exec) == before);
  nn::fuse(traced, exec);
  auto found = counts(traced);
  found.erase("cat");  // whose fate is the kernels'
  CHECK(found == std::map<std::string, int>{{"convolution", 3}, {"halve", 1}});
  CHECK(test::largest_difference(traced.forward(x, exec).features_on_host(exec), before) < 1e-4);
}

TEST_CASE("fuse: what somebody else reads stays")
{
  Execution<Host> const exec{};
  struct Net {
    using Tensor = TensorOf<Host>;
    std::array<Tensor, 2> forward(Tensor const& x, Execution<Host> const& exec)
    {
      auto const y = conv.forward(x, exec);
      return {relu(y, exec), y};  // y is an output too
    }
    nn::Conv<3, float, Host> conv;
  };
  Net net{{ConvOptions<3>(4, 4, 3), exec}};
  auto const traced = nn::fuse(net, random_tensor(4, 1, exec), exec);
  CHECK(counts(traced) == std::map<std::string, int>{{"convolution", 1}, {"relu", 1}});
  auto const x = random_tensor(4, 2, exec);
  auto const expected = net.forward(x, exec);
  auto const found = traced.forward(x, exec);
  CHECK(found[0].features_on_host(exec) == expected[0].features_on_host(exec));
  CHECK(found[1].features_on_host(exec) == expected[1].features_on_host(exec));
}

TEST_CASE("fuse: a layer that is used twice is folded for each norm behind it")
{
  Execution<Host> const exec{};
  struct Net {
    using Tensor = TensorOf<Host>;
    Tensor forward(Tensor const& x, Execution<Host> const& exec)
    {
      return second.forward(conv.forward(first.forward(conv.forward(x, exec), exec), exec), exec);
    }
    nn::Conv<3, float, Host> conv;
    nn::BatchNorm<3, float, Host> first, second;
  };
  Net net{{ConvOptions<3>(4, 4, 3), exec}, {4, exec}, {4, exec}};
  test::randomize_norms(net.first, exec);
  auto traced = nn::trace(net, random_tensor(4, 1, exec), exec);
  nn::fuse(traced, exec);
  CHECK(counts(traced) == std::map<std::string, int>{{"convolution", 2}});
  auto const x = random_tensor(4, 2, exec);
  auto const before = net.forward(x, exec).features_on_host(exec);
  CHECK(test::largest_difference(traced.forward(x, exec).features_on_host(exec), before) < 1e-5);
}

TEST_CASE("trace: what could not run again is refused by name")
{
  Execution<Host> const exec{};
  using Tensor = TensorOf<Host>;
  auto const x = random_tensor(4, 1, exec);
  struct Net {
    using Tensor = TensorOf<Host>;
    std::function<Tensor(Tensor const&, Execution<Host> const&)> body;
    Tensor forward(Tensor const& of, Execution<Host> const& with) { return body(of, with); }
  };
  auto const error = [&](auto const& body) {
    Net net{body};
    try {
      static_cast<void>(nn::trace(net, x, exec));
    } catch (invalid_argument const& thrown) {
      return std::string{thrown.what()};
    }
    return std::string{};
  };
  using Exec = Execution<Host>;
  CHECK(error([](Tensor const& of, Exec const& with) { return relu(of, with); }).empty());
  CHECK(error([](Tensor const& of, Exec const& with) {
          return of.num_rows() > 0 ? relu(of, with) : of;
        }).find("trace: num_rows() was called after 0 operations") == 0);
  CHECK(error([](Tensor const& of, Exec const& with) {
          auto const y = relu(of, with);
          return y.features_on_host(with)[0] > 0 ? y : of;
        }).find("trace: num_rows() was called after 1 operations") == 0);
  CHECK(error([](Tensor const& of, Exec const& with) {
          return download(of.features().data, 1, with)[0] > 0 ? relu(of, with) : of;
        }).find("trace: download() was called after 0 operations") == 0);
  CHECK(error([](Tensor const& of, Exec const& with) {
          return of.coordinates()->num_rows() > 0 ? relu(of, with) : of;
        }).find("trace: num_rows() was called after 0 operations") == 0);
  auto const position = random_tensor(4, 5, exec);
  auto const made = x.with_features(upload_matrix(std::vector<float>(x.features().rows * 4), 4, exec));
  auto const reads_made = [&](Tensor const& of, Exec const& with) { return add(of, made, with); };
  CHECK(error(reads_made).find("trace: input 1 of operation 0, add, was made by no recorded operation") == 0);
  CHECK(error([&](Tensor const&, Exec const&) { return made; }) ==
        "trace: an output was made by no recorded operation");
  nn::SparseConvBlock<3, float, Host> block{ConvOptions<3>(4, 4, 3), exec};
  block.train();
  CHECK_THROWS_WITH_AS(static_cast<void>(nn::trace(block, x, exec)),
                       "trace: the model is in training; call eval()", invalid_argument);
  CHECK(x.num_rows() == 256);  // the refusal ended with the trace

  Net net{reads_made};
  auto const traced = nn::trace(net, x, exec, nn::TraceConstants<Host>{}.add(made));
  CHECK(traced.forward(x, exec).features_on_host(exec) == x.features_on_host(exec));
  CHECK_THROWS_AS(static_cast<void>(traced.forward(random_tensor(5, 1, exec), exec)), invalid_argument);
}

TEST_CASE("trace: with a recorder the operations of a traced model are recorded once more")
{
  Execution<Host> const exec{};
  nn::SparseResBlock<3, float, Host> block{ConvOptions<3>(4, 6, 3), exec};
  auto const traced = nn::trace(block, random_tensor(4, 1, exec), exec);
  auto const again = nn::trace(traced, random_tensor(4, 2, exec), exec);
  CHECK(counts(again) == counts(traced));
  auto const x = random_tensor(4, 3, exec);
  CHECK(again.forward(x, exec).features_on_host(exec) == traced.forward(x, exec).features_on_host(exec));
}
