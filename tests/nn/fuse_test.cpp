// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/device.hpp"
#include "../support/difference.hpp"
#include "adversarial_norms.hpp"
#include "random_norms.hpp"
#include "tensors.hpp"

#include <tessera/nn/blocks.hpp>
#include <tessera/nn/fuse.hpp>
#include <tessera/nn/linear.hpp>
#include <tessera/nn/pooling.hpp>
#include <tessera/nn/sequential.hpp>
#include <tessera/nn/sparse_blocks.hpp>
#include <tessera/nn/to_bev.hpp>
#include <tessera/ops/custom.hpp>

#include <cmath>
#include <map>
#include <random>
#include <string>
#include <vector>

using namespace tessera;

namespace {

template <class Space>
SparseTensor<3, float, Space> random_tensor(int channels, Execution<Space> const& exec)
{
  std::mt19937 random{17};
  std::uniform_real_distribution<float> uniform{-1, 1};
  std::vector<Coordinate<3>> rows;
  for (int i = 0; i < 9; ++i) {
    for (int j = 0; j < 9; ++j) { rows.push_back({0, {i, j, static_cast<int>(random() % 3)}}); }
  }
  std::vector<float> features(rows.size() * static_cast<std::size_t>(channels));
  for (auto& value : features) { value = uniform(random); }
  return {make_coordinate_set(rows, {}, exec), upload_matrix(features, channels, exec)};
}

/// Fuses `module` and compares it with what it was, and stays.
template <class Space>
auto expect_same_when_fused(nn::Module<3, float, Space>& module, int channels, Execution<Space> const& exec)
{
  test::randomize_norms(module, exec);
  auto const x = random_tensor(channels, exec);
  auto const before = module.forward(x, exec).features_on_host(exec);
  REQUIRE(test::magnitude(before) > 0);
  auto fused = nn::fuse(module, x, exec);
  auto const after = fused.forward(x, exec).features_on_host(exec);
  CHECK(before != after);  // other weights round otherwise: something was fused
  CHECK(test::largest_difference(after, before) < 1e-5);
  nn::fuse(fused, exec);
  CHECK(fused(x, exec).features_on_host(exec) == after);
  CHECK(module.forward(x, exec).features_on_host(exec) == before);
  return fused;
}

/// The activations that convolutions were called with.
template <class Space>
struct SeenActivations final : Recorder {
  void record(std::shared_ptr<OperationRecord const> operation) override
  {
    using Record = ops::ConvolutionRecord<3, float, Space>;
    if (auto const* const convolution = dynamic_cast<Record const*>(operation.get())) {
      activations.push_back(convolution->options.activation);
    }
  }

  std::vector<Activation> activations;
};

template <class Space>
void clear(nn::Parameter<float, Space>& parameter, Execution<Space> const& exec)
{
  detail::Transfer<Space>::fill_bytes(parameter.write(), 0,
                                      static_cast<std::size_t>(parameter.size()) * sizeof(float), exec);
}

/// A layer of two tensors: its input, and 16 channels of zeros; as they are, or in one.
template <class Space, class Layer>
struct Beside {
  using Tensor = SparseTensor<3, float, Space>;
  Tensor forward(Tensor const& x, Execution<Space> const& exec)
  {
    auto const zeros = [](Tensor const& from, Execution<Space> const& inside) {
      Buffer<float, Space> none{from.capacity() * 16, inside};
      fill_bytes(none, 0, inside);
      return from.with_features(Matrix<float, Space>{std::move(none), from.capacity(), 16});
    };
    Tensor const second = ops::custom("second", exec, zeros, x);
    return pair ? layer(x, second, exec) : layer(cat({x, second}, exec), exec);
  }

  Layer& layer;
  bool pair;
};

/// How often each operation is in a traced model.
template <class Traced>
std::map<std::string, int> counts(Traced const& traced)
{
  std::map<std::string, int> result;
  for (auto const& operation : traced.operations()) { ++result[operation->name()]; }
  return result;
}

}  // namespace

TEST_CASE_TEMPLATE("fuse: blocks put out what they did, but for rounding", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  for (bool const bias : {false, true}) {
    CAPTURE(bias);
    nn::SparseConvBlock<3, float, Space> block{ConvOptions<3>(5, 12, 3).bias(bias).seed(3), exec};
    static_cast<void>(expect_same_when_fused<Space>(block, 5, exec));
    nn::SparseResBlock<3, float, Space> residual{ConvOptions<3>(5, 12, 3).bias(bias).seed(4), exec};
    static_cast<void>(expect_same_when_fused<Space>(residual, 5, exec));
    nn::SparseBasicBlock<3, float, Space> basic{SparseBlockOptions<3>(6, 6).bias(bias).seed(5), exec};
    static_cast<void>(expect_same_when_fused<Space>(basic, 6, exec));
    nn::SparseBasicBlock<3, float, Space> swish{
        SparseBlockOptions<3>(6, 6).bias(bias).seed(5).activation(nn::LayerConfig{"swish"}), exec};
    static_cast<void>(expect_same_when_fused<Space>(swish, 6, exec));
  }
  auto shortcut = nn::make_sparse_convmodule<3, float>(
      ConvModuleOptions<3>(6, 8, 1).order({"conv", "norm"}).seed(9), exec);
  nn::SparseBottleneck<3, float, Space> bottleneck{SparseBlockOptions<3>(6, 2).seed(6), exec,
                                                   std::move(shortcut)};
  static_cast<void>(expect_same_when_fused<Space>(bottleneck, 6, exec));
}

TEST_CASE_TEMPLATE("fuse: no activation of a block is left for a pass of its own, but the last", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const x = random_tensor(8, exec);
  auto const none = Activation::none;
  auto const relu = Activation::relu;
  auto const seen = [&](auto const& block) {
    SeenActivations<Space> seen_activations;
    static_cast<void>(block.forward(x, exec.with_recorder(seen_activations)));
    return seen_activations.activations;
  };
  nn::SparseBottleneck<3, float, Space> bottleneck{SparseBlockOptions<3>(8, 2), exec};
  CHECK(seen(nn::trace(bottleneck, x, exec)) == std::vector{none, none, none});
  CHECK(seen(nn::fuse(bottleneck, x, exec)) == std::vector{relu, relu, relu});  // the last one after the sum
  nn::SparseBasicBlock<3, float, Space> basic{SparseBlockOptions<3>(8, 8), exec};
  CHECK(seen(nn::fuse(basic, x, exec)) == std::vector{relu, relu});
  // one that no convolution takes along stays where it was
  for (auto const* name : {"Tanh", "GELU"}) {
    CAPTURE(name);
    auto const options = SparseBlockOptions<3>(8, 2).activation(nn::LayerConfig{name});
    nn::SparseBottleneck<3, float, Space> other{options, exec};
    CHECK(seen(expect_same_when_fused<Space>(other, 8, exec)) == std::vector{none, none, none});
  }
}

TEST_CASE_TEMPLATE("fuse: reaches the convolution of a bird's-eye view, whose names stay", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const options = ToBevOptions(4, 6, 3).axis(2).seed(3);
  nn::Sequential<3, float, Space> net;
  net.template add<nn::ToBevConvolution<float, Space>>(options, exec);
  net.template add<nn::BatchNorm<3, float, Space>>(6, exec);
  net.template add<nn::ReLU<3, float, Space>>();
  CHECK(net.parameters()[0].name == "0.kernel");
  CHECK(net.parameters()[1].name == "1.weight");
  auto const fused = expect_same_when_fused<Space>(net, 4, exec);
  SeenActivations<Space> seen;
  static_cast<void>(fused.forward(random_tensor(4, exec), exec.with_recorder(seen)));
  CHECK(seen.activations == std::vector{Activation::relu});
  CHECK(counts(fused) == std::map<std::string, int>{{"convolution", 1}});
}

TEST_CASE_TEMPLATE("fuse: a sequential of named layers joins what follows one another, up to the pooling",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  using Conv = nn::Conv<3, float, Space>;
  using Norm = nn::BatchNorm<3, float, Space>;
  using Relu = nn::ReLU<3, float, Space>;
  using Linear = nn::Linear<3, float, Space>;
  auto const make = [&] {
    return nn::Sequential{std::make_unique<Conv>(ConvOptions<3>(5, 12, 3).seed(3), exec),
                          std::make_unique<Norm>(12, exec),
                          std::make_unique<Relu>(),
                          std::make_unique<nn::GlobalMaxPool<3, float, Space>>(),
                          std::make_unique<Linear>(LinearOptions(12, 6).seed(1), exec),
                          std::make_unique<Norm>(6, exec),
                          std::make_unique<Relu>(),
                          std::make_unique<nn::Identity<3, float, Space>>()};
  };
  auto net = make();
  test::randomize_norms(net, exec);
  auto const x = random_tensor(5, exec);
  auto const logits = [&](auto& of) {
    auto const y = of(x, exec);
    return download(y.data(), y.size(), exec);
  };
  auto const before = logits(net);
  auto const fused = nn::fuse(net, x, exec);
  auto const after = logits(fused);
  CHECK(before != after);
  CHECK(test::largest_difference(after, before) < 1e-5);
  SeenActivations<Space> seen;
  static_cast<void>(fused(x, exec.with_recorder(seen)));
  CHECK(seen.activations == std::vector{Activation::relu});
  auto found = counts(fused);
  CHECK(found["linear"] == 1);  // with its norm and its activation
  CHECK(found.count("batch_norm") == 0);
  CHECK(found.count("relu") == 0);
}

TEST_CASE_TEMPLATE("fuse: every activation goes into its convolution, in every dataflow", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  for (auto const dataflow : {Dataflow::implicit_gemm, Dataflow::gather_scatter, Dataflow::fetch_on_demand}) {
    ConvConfig config;
    config.dataflow = dataflow;
    auto const options = ConvOptions<3>(5, 12, 3).config(config).seed(8);
    using Conv = nn::Conv<3, float, Space>;
    using Norm = nn::BatchNorm<3, float, Space>;
    for (int const kind : {0, 1, 2}) {
      CAPTURE(kind);
      nn::Sequential<3, float, Space> net;
      net.template add<Conv>(options, exec);
      net.template add<Norm>(12, exec);
      if (kind == 0) { net.template add<nn::ReLU<3, float, Space>>(); }
      if (kind == 1) { net.template add<nn::LeakyReLU<3, float, Space>>(0.2); }
      if (kind == 2) { net.template add<nn::SiLU<3, float, Space>>(); }
      CHECK(expect_same_when_fused<Space>(net, 5, exec).operations().size() == 1);
    }
  }
}

TEST_CASE_TEMPLATE("fuse: a norm that stands before its convolution, or alone, stays", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const module = nn::make_sparse_convmodule<3, float>(
      ConvModuleOptions<3>(4, 7, 3).order({"norm", "act", "conv"}).seed(2), exec);
  test::randomize_norms(*module, exec);
  auto const x = random_tensor(4, exec);
  auto const before = module->forward(x, exec).features_on_host(exec);
  auto const fused = nn::fuse(*module, x, exec);
  CHECK(fused.forward(x, exec).features_on_host(exec) == before);
  CHECK(fused.operations().size() == 3);
}

TEST_CASE("fuse: a module in training is refused, one that was fused trains on; parameters stay as they are")
{
  Execution<Host> const exec;
  auto const x = random_tensor(5, exec);
  nn::SparseConvBlock<3, float, Host> block{ConvOptions<3>(5, 12, 3), exec};
  auto const versions = [&] {
    std::vector<std::uint64_t> result;
    for (auto const& parameter : block.parameters()) { result.push_back(parameter.parameter->version()); }
    return result;
  };
  auto const before = versions();
  block.train();
  CHECK_THROWS_WITH_AS(static_cast<void>(nn::fuse(block, x, exec)),
                       "trace: the model is in training; call eval()", invalid_argument);
  block.eval();
  auto const fused = nn::fuse(block, x, exec);
  CHECK(versions() == before);
  block.train();
  CHECK(block.is_training());
  block.eval();
  auto const old = fused.forward(x, exec).features_on_host(exec);
  block.add<nn::ReLU<3, float, Host>>();  // a list has the layers that there were
  CHECK(fused.forward(x, exec).features_on_host(exec) == old);
}

TEST_CASE_TEMPLATE("convolution of two tensors: gives the bits of the tensors side by side, fused or not",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  for (auto const math : {MathMode::exact, MathMode::tf32}) {
    ConvConfig config;
    config.math = math;
    auto const a = random_tensor(32, exec);
    std::vector<float> const values(static_cast<std::size_t>(a.features().rows) * 16, 0.5F);
    auto const b = a.with_features(upload_matrix(values, 16, exec));
    auto const other = random_tensor(16, exec);  // on other voxels
    nn::Conv<3, float, Space> conv{ConvOptions<3>(48, 24, 3).config(config), exec};
    nn::SparseConvBlock<3, float, Space> block{ConvOptions<3>(48, 24, 3).config(config), exec};
    nn::SparseResBlock<3, float, Space> residual{ConvOptions<3>(48, 72, 3).config(config).seed(4), exec};
    auto const check = [&](auto& layer) {
      auto const expected = layer(cat({a, b}, exec), exec).features_on_host(exec);
      CHECK(layer(a, b, exec).features_on_host(exec) == expected);
      CHECK_THROWS_AS(static_cast<void>(layer(a, other, exec)), invalid_argument);
      using Layer = std::decay_t<decltype(layer)>;
      Beside<Space, Layer> by_pair{layer, true};
      Beside<Space, Layer> by_cat{layer, false};
      auto const fused_pair = nn::fuse(by_pair, a, exec);
      auto const fused_cat = nn::fuse(by_cat, a, exec);
      CHECK(fused_pair(a, exec).features_on_host(exec) == fused_cat(a, exec).features_on_host(exec));
      auto const apart = by_cat.forward(a, exec).features_on_host(exec);
      // TF32 rounds weights to 11 bits, folded ones to others: half a unit, on each side
      double const bound = math == MathMode::tf32 ? std::ldexp(1.0, -10) : 1e-5;
      CHECK(test::largest_difference(fused_pair(a, exec).features_on_host(exec), apart) < bound);
    };
    check(conv);
    check(block);
    check(residual);
  }
}

TEST_CASE_TEMPLATE("fuse: a weight that changes afterwards is the one that is used", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  ConvConfig config;
  config.math = MathMode::tf32;
  auto const x = random_tensor(16, exec);
  nn::Conv<3, float, Space> conv{ConvOptions<3>(16, 24, 3).config(config), exec};
  nn::Linear<3, float, Space> linear{LinearOptions{16, 12}.math(MathMode::tf32), exec};
  auto const fused_conv = nn::fuse(conv, x, exec);
  auto const fused_linear = nn::fuse(linear, x, exec);
  static_cast<void>(fused_conv.forward(x, exec));  // packs
  clear(conv.weight(), exec);
  clear(linear.weight(), exec);
  for (float const value : fused_conv.forward(x, exec).features_on_host(exec)) { REQUIRE(value == 0); }
  auto const y = fused_linear.forward(x, exec).features_on_host(exec);
  auto const bias = download(linear.bias().data(), 12, exec);
  for (std::size_t i = 0; i < y.size(); ++i) { REQUIRE(y[i] == bias[i % 12]); }
}

TEST_CASE_TEMPLATE("fuse: a norm whose shift or weights a scalar does not hold stays a layer", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  adversarial_norms::gives_the_bias_of_a_constant_channel<float, Space>(0x1p121);
  adversarial_norms::stays_within_its_rounding<float, Space>();
}

TEST_CASE("fuse: the same of double on the host")
{
  adversarial_norms::stays_within_its_rounding<double, Host>();
}

#ifdef __CUDACC__

TEST_CASE("fuse: the same of half and bfloat16 on the host")
{
  adversarial_norms::gives_the_bias_of_a_constant_channel<__half, Host>(512);
  adversarial_norms::gives_the_bias_of_a_constant_channel<__half, Host>(-20000);
  adversarial_norms::stays_within_its_rounding<__half, Host>();
  adversarial_norms::gives_the_bias_of_a_constant_channel<__nv_bfloat16, Host>(0x1p121);
  adversarial_norms::stays_within_its_rounding<__nv_bfloat16, Host>();
}

#endif
