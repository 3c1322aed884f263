// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "tensors.hpp"

#ifdef __CUDACC__
#include <tessera/conv/convolution_kernels.cuh>
#endif
#include <tessera/conv/detail/convolution_host.hpp>
#include <tessera/nn/sparse_blocks.hpp>

#include <string>

using namespace tessera;

namespace {

template <class Space>
using Layer = nn::ModulePointer<3, float, Space>;
template <class Space>
using Tensor = SparseTensor<3, float, Space>;

template <class Space>
Tensor<Space> cloud(int channels, Execution<Space> const& exec)
{
  return test::upload_tensor<float>(test::random_tensor<float>(300, channels, {0, 1}, 7), exec, 2);
}

/// Convolution and normalisation of a block, with statistics of the batch.
template <class Space>
Tensor<Space> conv_norm(Tensor<Space> const& x, ConvOptions<3> const& options, Execution<Space> const& exec)
{
  nn::Conv<3, float, Space> conv{options, exec};
  nn::BatchNorm<3, float, Space> norm{NormOptions(options.out_channels).eps(1e-3).momentum(0.01), exec};
  norm.train();
  return norm.forward(conv.forward(x, exec), exec);
}

template <class Space>
Tensor<Space> activate(std::string const& name, Tensor<Space> const& x, Execution<Space> const& exec)
{
  return name == "swish" ? silu(x, exec) : relu(x, exec);
}

template <class Space>
void check_same(Tensor<Space> const& found, Tensor<Space> const& expected, Execution<Space> const& exec)
{
  CHECK(found.coordinates() == expected.coordinates());
  auto const values = expected.features_on_host(exec);
  test::check_close(found.features_on_host(exec), std::vector<double>(values.begin(), values.end()), 1e-6);
}

std::vector<std::string> names_of(nn::ModuleBase const& module)
{
  std::vector<std::string> result;
  for (auto const& parameter : module.parameters()) { result.push_back(parameter.name); }
  return result;
}

ConvOptions<3> submanifold(int in, int out, int size, std::uint64_t seed)
{
  return nn::SubMConv<3>(in, out, size).bias(false).seed(seed);
}

}  // namespace

TEST_CASE_TEMPLATE("conv module: convolution, normalisation and activation in the order asked for", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const x = cloud(4, exec);
  auto options = ConvModuleOptions<3>(4, 6, 3).type("SparseConv3d").stride(2).padding({0, 1, 1}).seed(5);
  auto module = nn::make_sparse_convmodule<3, float, Space>(options, exec);
  module->train();
  auto const conv = nn::SparseConv<3>(4, 6, 3).stride(2).padding({0, 1, 1}).bias(false).seed(5);
  check_same(module->forward(x, exec), relu(conv_norm(x, conv, exec), exec), exec);
  CHECK(names_of(*module) ==
        std::vector<std::string>{"0.weight", "1.weight", "1.bias", "1.running_mean", "1.running_var"});

  // pre-activation: the normalisation has the channels of the input
  module = nn::make_sparse_convmodule<3, float, Space>(
      ConvModuleOptions<3>(4, 6, 3).seed(5).order({"norm", "act", "conv"}).activation("swish"), exec);
  auto const y = module->forward(x, exec);
  CHECK(y.channels() == 6);
  CHECK(names_of(*module) ==
        std::vector<std::string>{"0.weight", "0.bias", "0.running_mean", "0.running_var", "2.weight"});
  auto const wrong = ConvModuleOptions<3>(4, 6, 3).order({"conv", "relu"});
  CHECK_THROWS_WITH_AS((void)(nn::make_sparse_convmodule<3, float, Space>(wrong, exec)),
                       doctest::Contains("no part \"relu\""), invalid_argument);
}

TEST_CASE_TEMPLATE("conv module: down and back up restores the voxels, with the kernel size alone", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const x = cloud(4, exec);
  using Options = ConvModuleOptions<3>;
  auto const make = [&](Options const& options) {
    return nn::make_sparse_convmodule<3, float, Space>(options, exec);
  };
  auto const down1 = make(Options(4, 6, 3).type("SparseConv3d").stride(2).padding(1));
  auto const inside = make(Options(6, 6, 3));
  auto const down2 = make(Options(6, 8, 3).type("SparseConv3d").stride(2).padding(1));
  auto const up2 = make(Options(8, 6, 3).type("SparseInverseConv3d"));
  auto const up1 = make(Options(6, 4, 3).type("SparseInverseConv3d"));
  auto const middle = inside->forward(down1->forward(x, exec), exec);
  auto const back = up2->forward(down2->forward(middle, exec), exec);
  CHECK(back.coordinates() == middle.coordinates());
  CHECK(up1->forward(back, exec).coordinates() == x.coordinates());
  CHECK_THROWS_WITH_AS(
      (void)up1->forward(middle.with_features(Matrix<float, Space>{middle.num_rows(), 5, exec}), exec),
      doctest::Contains("5 channels"), invalid_argument);
}

TEST_CASE_TEMPLATE("basic block: two convolutions and the input, relu or swish, names as mmdetection3d's",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const x = cloud(6, exec);
  for (std::string const act : {"relu", "swish"}) {
    CAPTURE(act);
    nn::SparseBasicBlock<3, float, Space> block{SparseBlockOptions<3>(6, 6).activation(act).seed(9), exec};
    block.train();
    auto y = activate(act, conv_norm(x, submanifold(6, 6, 3, 9), exec), exec);
    y = conv_norm(y, submanifold(6, 6, 3, 11), exec);
    check_same(block(x, exec), activate(act, add(y, x, exec), exec), exec);
  }
  auto const z = cloud(4, exec);
  auto downsample = nn::make_sparse_convmodule<3, float, Space>(
      ConvModuleOptions<3>(4, 6, 1).order({"conv", "norm"}).seed(1), exec);
  nn::SparseBasicBlock<3, float, Space> block{SparseBlockOptions<3>(4, 6).bias(true), exec,
                                              std::move(downsample)};
  CHECK(block(z, exec).channels() == 6);
  CHECK(names_of(block) ==
        std::vector<std::string>{"conv1.weight", "conv1.bias", "bn1.weight", "bn1.bias", "bn1.running_mean",
                                 "bn1.running_var", "conv2.weight", "conv2.bias", "bn2.weight", "bn2.bias",
                                 "bn2.running_mean", "bn2.running_var", "downsample.0.weight",
                                 "downsample.1.weight", "downsample.1.bias", "downsample.1.running_mean",
                                 "downsample.1.running_var"});
  nn::SparseBasicBlock<3, float, Space> lacking{SparseBlockOptions<3>(4, 6), exec};
  CHECK_THROWS_WITH_AS((void)lacking(z, exec), doctest::Contains("6 and 4 channels"), invalid_argument);
}

TEST_CASE_TEMPLATE("bottleneck: kernels of 1, 3 and 1 voxels, four times the channels", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const x = cloud(8, exec);
  nn::SparseBottleneck<3, float, Space> block{SparseBlockOptions<3>(8, 2).seed(9), exec};
  block.train();
  auto y = relu(conv_norm(x, submanifold(8, 2, 1, 9), exec), exec);
  y = relu(conv_norm(y, submanifold(2, 2, 3, 11), exec), exec);
  y = conv_norm(y, submanifold(2, 8, 1, 13), exec);
  check_same(block(x, exec), relu(add(y, x, exec), exec), exec);
  auto const names = names_of(block);
  CHECK(names.front() == "conv1.weight");
  CHECK(names.back() == "bn3.running_var");
  CHECK(names.size() == 15);
}
