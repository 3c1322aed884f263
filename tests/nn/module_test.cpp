// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/device.hpp"
#include "tensors.hpp"

#ifdef __CUDACC__
#include <tessera/conv/convolution_kernels.cuh>
#endif
#include <tessera/conv/detail/convolution_host.hpp>
#include <tessera/nn/blocks.hpp>
#include <tessera/nn/dropout.hpp>
#include <tessera/nn/sequential.hpp>

#include <memory>
#include <utility>
#include <vector>

using namespace tessera;

TEST_CASE_TEMPLATE("parameter: moving empties the source, shape and all; impossible shapes are refused",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  nn::Parameter<float, Space> a{{2, 3}, exec};
  auto const* const data = a.data();
  nn::Parameter<float, Space> b{std::move(a)};
  nn::Parameter<float, Space> c{{7}, exec};
  c = std::move(b);
  for (auto const* const empty : {&a, &b}) {
    CHECK(empty->data() == nullptr);
    CHECK(empty->size() == 0);
    CHECK(empty->shape().empty());
  }
  CHECK(c.data() == data);
  CHECK(c.size() == 6);
  CHECK(c.shape() == std::vector<std::int64_t>{2, 3});
  using Shape = std::vector<std::int64_t>;
  for (auto const& shape :
       {Shape{-1}, Shape{std::int64_t{1} << 32, std::int64_t{1} << 32}, Shape{INT64_MAX}}) {
    CHECK_THROWS_AS((nn::Parameter<float, Space>{shape, exec}), invalid_argument);
  }
}

TEST_CASE("sequential: two modules of one name are refused")
{
  using Relu = nn::ReLU<3, float, Host>;
  nn::Sequential<3, float, Host> net;
  net.append(std::make_unique<Relu>(), "1");
  CHECK_THROWS_WITH_AS(net.add<Relu>(), "Sequential: there is a module \"1\" already", invalid_argument);
  CHECK_THROWS_AS(net.append(nullptr), invalid_argument);
  CHECK(net.size() == 1);
  CHECK(net.children().size() == 1);
}

TEST_CASE("convolution layer: options that its weight does not have are refused, the others may change")
{
  Execution<Host> const exec;
  auto const x = test::upload_tensor<float>(test::random_tensor<float>(40, 4, {0, 1}, 1), exec);
  nn::Conv<3, float, Host> conv{ConvOptions<3>(4, 4, 3), exec};
  auto const before = conv(x, exec).features_on_host(exec);
  conv.options().geometry.kernel_size = 5;
  CHECK(test::error_of([&] { (void)conv(x, exec); }) ==
        "Conv: a weight of 432 values; channels and kernel size stay those the layer was made with");
  conv.options().geometry.kernel_size = 3;
  conv.options().out_channels = 5;
  CHECK_THROWS_AS((void)conv(x, exec), invalid_argument);
  conv.options().out_channels = 4;
  conv.options().geometry.dilation = 2;
  CHECK(conv(x, exec).features_on_host(exec) != before);
}

TEST_CASE(
    "module: states of random numbers have the names of their layers, and are what the next ones follow from")
{
  Execution<Host> const exec;
  nn::Sequential<3, float, Host> net;
  net.add<nn::Dropout<3, float, Host>>(0.5, 7);
  auto& inner = net.add<nn::Sequential<3, float, Host>>();
  inner.add<nn::Dropout<3, float, Host>>(0.5, 8);
  auto const states = net.random_states("net.");
  REQUIRE(states.size() == 2);
  CHECK(states[0].first == "net.0.random_state");
  CHECK(states[1].first == "net.1.0.random_state");
  CHECK(*states[1].second == 8);

  net.train();
  auto const x = test::upload_tensor<float>(test::random_tensor<float>(40, 4, {0}, 3), exec);
  auto const values = [&] {
    auto const y = net(x, exec);
    return download(y.features().data, y.features().size(), exec);
  };
  static_cast<void>(values());
  auto const before = std::vector{*states[0].second, *states[1].second};
  auto const next = values();
  CHECK(values() != next);
  *states[0].second = before[0];
  *states[1].second = before[1];
  CHECK(values() == next);
}
