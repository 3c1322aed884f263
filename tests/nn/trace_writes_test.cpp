// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// What a list of operations cannot tell, and so refuses: writes between them, values that nobody keeps.

#include "../support/files.hpp"
#include "tensors.hpp"

#ifdef __CUDACC__
#include <tessera/conv/convolution.cuh>
#endif
#include <tessera/nn/module.hpp>
#include <tessera/nn/trace.hpp>
#include <tessera/ops/activation.hpp>
#include <tessera/ops/batch_norm.hpp>
#include <tessera/ops/combine.hpp>
#include <tessera/ops/linear.hpp>

#include <algorithm>
#include <array>
#include <functional>
#include <string>
#include <vector>

using namespace tessera;

TEST_CASE("trace: what is written by no operation, or read by a plain pointer, is refused")
{
  Execution<Host> const exec{};
  using Tensor = SparseTensor<3, float, Host>;
  using Exec = Execution<Host>;
  auto const x = test::upload_tensor<float>(test::random_tensor<float>(50, 4, {0}, 3), exec);
  struct Net : nn::Module<3, float, Host> {
    explicit Net(Exec const& with) : weight{{4, 4}, with}
    {
      this->register_parameter("weight", nn::ParameterRole::matrix, weight);
    }
    Tensor forward(Tensor const& of, Exec const& with) override { return body(of, with); }

    nn::Parameter<float, Host> weight;
    std::function<Tensor(Tensor const&, Exec const&)> body;
  };
  Net net{exec};
  std::fill_n(net.weight.write(), 16, 0.5F);
  auto const error = [&](auto const& body) {
    net.body = body;
    return test::error_of([&] { static_cast<void>(nn::trace(net, x, exec)); });
  };
  auto const written = [](Tensor const& of) {
    of.mark_written();
    return of;
  };
  CHECK(error([&](Tensor const& of, Exec const& with) {
          return relu(written(relu(of, with)), with);
        }).find("trace: input 0 of operation 1, relu, was written after it was made") == 0);
  CHECK(error([&](Tensor const& of, Exec const& with) {
          auto const y = relu(of, with);
          return relu(written(y.detached()), with).channels() > 0 ? y : of;
        }).find("trace: input 0 of operation 1, relu, was made by no recorded operation") == 0);
  CHECK(error([&](Tensor const& of, Exec const& with) {
          auto const y = relu(of, with);
          static_cast<void>(written(y.detached()));
          return relu(y, with);
        }).find("trace: input 0 of operation 1, relu, was written after it was made") == 0);
  CHECK(error([&](Tensor const& of, Exec const& with) {
          auto const y = relu(of, with);
          return add(y, written(of), with);
        }).find("trace: input 1 of operation 1, add, was written after it was made") == 0);
  CHECK(error([&](Tensor const& of, Exec const& with) {
          return written(relu(of, with));
        }).find("trace: an output was written after it was made") == 0);
  CHECK(error([&](Tensor const& of, Exec const& with) {
          auto const y = relu(of, with);
          return written(add(y, y, with)).channels() > 0 ? y : of;
        }).empty());  // what nobody reads
  CHECK(error([&](Tensor const& of, Exec const& with) {
          static_cast<void>(net.weight.write());
          return linear(of, net.weight, nullptr, 4, MathMode::exact, with);
        }) == "trace: the model wrote its parameter \"weight\", which no operation does");
  CHECK(error([&](Tensor const& of, Exec const& with) {
          return linear(of, net.weight, nullptr, 4, MathMode::exact, with);
        }).empty());
  std::vector<float> const values(16, 1.0F);
  CHECK(error([&](Tensor const& of, Exec const& with) {
          return linear(of, values.data(), nullptr, 4, MathMode::exact, with);
        }).find("trace: operation 0, linear, reads a weight by a plain pointer") == 0);
  CHECK(error([&](Tensor const& of, Exec const& with) {
          return batch_norm(of, values.data(), values.data(), nullptr, nullptr, 1e-5, with);
        }).find("trace: operation 0, batch_norm, reads a weight by a plain pointer") == 0);

  // A constant is what it is when it is first read.
  auto const made = x.with_features(upload_matrix(std::vector<float>(x.features().rows * 4), 4, exec));
  nn::TraceConstants<Host> const constants = nn::TraceConstants<Host>{}.add(made);
  made.mark_written();
  net.body = [&](Tensor const& of, Exec const& with) { return add(of, made, with); };
  CHECK(nn::trace(net, x, exec, constants).forward(x, exec).features_on_host(exec) ==
        x.features_on_host(exec));
}

TEST_CASE("trace: one variable may be put out twice, and the input too")
{
  Execution<Host> const exec{};
  using Tensor = SparseTensor<3, float, Host>;
  auto const x = test::upload_tensor<float>(test::random_tensor<float>(50, 4, {0}, 3), exec);
  struct Net {
    std::array<Tensor, 3> forward(Tensor const& of, Execution<Host> const& with) const
    {
      auto const y = relu(of, with);
      return {y, of, y};
    }
  };
  auto const traced = nn::trace(Net{}, x, exec);
  auto const found = traced.forward(x, exec);
  CHECK(found[0].id() == found[2].id());
  CHECK(found[0].features_on_host(exec) == relu(x, exec).features_on_host(exec));
  CHECK(found[1].id() == x.id());
}
