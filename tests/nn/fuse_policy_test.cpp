// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// Fusing layers whose policy is chosen at compile time, sums behind any kind of convolution, and what nobody reads.

#include "../support/device.hpp"
#include "../support/difference.hpp"
#include "../support/memory.hpp"

#include <tessera/models/minkunet.hpp>
#include <tessera/nn/batch_norm.hpp>
#include <tessera/nn/conv.hpp>
#include <tessera/nn/fuse.hpp>
#include <tessera/ops/custom.hpp>

#ifdef __CUDACC__
#include <tessera/conv/convolution.cuh>
#endif

#include <doctest/doctest.h>

#include <map>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

using namespace tessera;

namespace {

/// Gather-scatter as somebody else might write it, who knows nothing of epilogues.
struct PlainDataflow {
  static constexpr char const* name = "plain";

  template <class Scalar, class Space>
  static void forward(ConvolutionArguments<Scalar> const& arguments, KernelMap<Space>& map,
                      Execution<Space> const& exec)
  {
    auto without = arguments;
    without.epilogue = {};
    GatherScatter::forward(without, map, exec);
  }
};

template <class Space>
using TensorOf = SparseTensor<3, float, Space>;

template <class Space>
TensorOf<Space> random_tensor(int channels, unsigned seed, Execution<Space> const& exec)
{
  std::mt19937 random{seed};
  std::uniform_real_distribution<float> uniform{-1, 1};
  std::vector<Coordinate<3>> rows;
  for (int i = 0; i < 14; ++i) {
    for (int j = 0; j < 14; ++j) { rows.push_back({0, {i, j, static_cast<int>(random() % 4)}}); }
  }
  std::vector<float> features(rows.size() * static_cast<std::size_t>(channels));
  for (auto& value : features) { value = uniform(random); }
  return {make_coordinate_set(rows, {}, exec), upload_matrix(features, channels, exec)};
}

template <class Space>
void randomize(nn::Parameter<float, Space>& parameter, unsigned seed, Execution<Space> const& exec)
{
  std::mt19937 random{seed};
  std::uniform_real_distribution<float> uniform{0.5F, 2.0F};
  std::vector<float> values(static_cast<std::size_t>(parameter.size()));
  for (auto& value : values) { value = uniform(random); }
  detail::Transfer<Space>::from_host(parameter.write(), values.data(), values.size() * sizeof(float), exec);
}

template <class Traced>
std::map<std::string, int> counts(Traced const& traced)
{
  std::map<std::string, int> result;
  for (auto const& operation : traced.operations()) { ++result[operation->name()]; }
  return result;
}

/// Everything that fusing joins, around layers of one policy.
template <class Space, class Policy>
struct PolicyNet {
  using Tensor = TensorOf<Space>;
  using Conv = nn::Conv<3, float, Space, Policy>;

  explicit PolicyNet(Execution<Space> const& exec)
      : enter{ConvOptions<3>(32, 32, 3).seed(1), exec},
        inner{ConvOptions<3>(32, 32, 3).bias(true).seed(2), exec},
        head{ConvOptions<3>(64, 16, 3).seed(3), exec},
        norm{32, exec}
  {
    randomize(norm.running_mean(), 1, exec);
    randomize(norm.running_var(), 2, exec);
    randomize(norm.weight(), 3, exec);
    randomize(norm.bias(), 4, exec);
  }
  Tensor forward(Tensor const& x, Execution<Space> const& exec)
  {
    auto const a = relu(norm(enter(x, exec), exec), exec);
    auto const b = add_activate(norm(inner(a, exec), exec), a, Activation::relu, exec);
    return head(cat({a, b}, exec), exec);
  }

  Conv enter, inner, head;
  nn::BatchNorm<3, float, Space> norm;
};

/// Down and up again, as in a feature pyramid.
template <class Space>
struct Pyramid {
  using Tensor = TensorOf<Space>;
  Tensor forward(Tensor const& x, Execution<Space> const& exec)
  {
    return leaky_relu(add(up(down(x, exec), exec), x, exec), 0.1, exec);
  }
  nn::Conv<3, float, Space> down, up;
};

template <class Space, class Policy>
void check_policy(std::map<std::string, int> const& expected)
{
  Execution<Space> const exec{};
  PolicyNet<Space, Policy> net{exec};
  auto const x = random_tensor(32, 5, exec);
  auto const before = net.forward(x, exec).features_on_host(exec);
  REQUIRE(test::magnitude(before) > 0);
  auto const fused = nn::fuse(net, random_tensor(32, 6, exec), exec);
  auto found = counts(fused);
  found.erase("cat");  // whose fate is the kernels'
  CHECK(found == expected);
  auto const after = fused(x, exec).features_on_host(exec);
  CHECK(test::largest_difference(after, before) < 1e-5 * (1 + test::magnitude(before)));
  CHECK(net.forward(x, exec).features_on_host(exec) == before);
  randomize(net.norm.bias(), 9, exec);  // folded weights follow
  auto const changed = fused(x, exec).features_on_host(exec);
  CHECK(changed != after);
  CHECK(changed == nn::fuse(net, x, exec).forward(x, exec).features_on_host(exec));
}

}  // namespace

TEST_CASE_TEMPLATE("fuse: layers of every policy take norms, activations and sums", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  std::map<std::string, int> const all{{"convolution", 3}};
  check_policy<Space, RuntimePolicy>(all);
  check_policy<Space, ConvPolicy<ConvMode<0>>>(all);
  check_policy<Space, ConvPolicy<ConvMode<1>, Hashmap>>(all);
  check_policy<Space, ConvPolicy<ConvMode<2>>>(all);
  check_policy<Space, ConvPolicy<GatherScatter>>(all);
  check_policy<Space, ConvPolicy<FetchOnDemand>>(all);
}

TEST_CASE_TEMPLATE("fuse: a dataflow that knows no epilogue takes norms alone", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  static_assert(has_epilogue<GatherScatter>::value && !has_epilogue<PlainDataflow>::value);
  static_assert(reads_two_inputs<ConvMode<1>>::value && !reads_two_inputs<ConvMode<2>>::value);
  check_policy<Space, ConvPolicy<PlainDataflow>>({{"convolution", 3}, {"relu", 1}, {"add_activate", 1}});
}

TEST_CASE_TEMPLATE(
    "fuse: the sum behind a transposed convolution is the convolution's, and its activation too", Space,
    TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  Pyramid<Space> net{{ConvOptions<3>(8, 16, 2).stride(2).seed(1), exec},
                     {ConvOptions<3>(16, 8, 2).stride(2).transposed().seed(2), exec}};
  auto const fused = nn::fuse(net, random_tensor(8, 1, exec), exec);
  CHECK(counts(fused) == std::map<std::string, int>{{"convolution", 2}});
  auto const x = random_tensor(8, 2, exec);
  CHECK(test::largest_difference(fused(x, exec).features_on_host(exec),
                                 net.forward(x, exec).features_on_host(exec)) < 1e-6);
}

TEST_CASE("fuse: what nobody reads is left out, a kernel of one's own that is read stays")
{
  Execution<Host> const exec{};
  struct Net {
    using Tensor = TensorOf<Host>;
    Tensor forward(Tensor const& x, Execution<Host> const& exec)
    {
      auto const twice = [](Tensor const& of, Execution<Host> const& on) { return add(of, of, on); };
      static_cast<void>(relu(conv(x, exec), exec));
      return ops::custom("twice", exec, twice, x);
    }
    nn::Conv<3, float, Host> conv;
  };
  Net net{{ConvOptions<3>(4, 4, 3), exec}};
  auto const x = random_tensor(4, 1, exec);
  CHECK(nn::trace(net, x, exec).operations().size() == 3);
  auto const fused = nn::fuse(net, x, exec);
  CHECK(counts(fused) == std::map<std::string, int>{{"twice", 1}});
  CHECK(fused(x, exec).features_on_host(exec) == net.forward(x, exec).features_on_host(exec));
}

TEST_CASE_TEMPLATE(
    "fuse: a list needs no more memory than the network, whose features are given back as early", Space,
    TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  test::CountedMemory<Space> memory;
  auto const exec = memory.execution(1);
  models::MinkUNet<3, float, Space> net{MinkUNetOptions(4, 3).width(0.25), exec};
  auto const x = random_tensor(4, 1, exec);
  auto const traced = nn::trace(net, x, exec);
  auto const fused = nn::fuse(net, x, exec);
  auto const peak = [&](auto& model) {
    static_cast<void>(model.forward(x, exec));  // makes maps and packs weights
    memory.reset_peak();
    auto const before = memory.bytes_in_use();
    static_cast<void>(model.forward(x, exec));
    return memory.peak_bytes() - before;
  };
  auto const of_network = peak(net);
  CHECK(of_network > 0);
  CHECK(peak(traced) <= of_network);
  CHECK(peak(fused) <= of_network);
}
