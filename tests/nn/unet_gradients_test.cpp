// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// A U-Net of three levels: every parameter's gradient by finite differences, in both spaces and every scalar.

#include "../autograd/differentiated.hpp"

#include <tessera/autograd/checkpoint.hpp>
#include <tessera/nn/batch_norm.hpp>
#include <tessera/nn/conv.hpp>
#include <tessera/nn/linear.hpp>

using namespace tessera;
using namespace differentiated;

namespace {

/// Convolution, norm, activation.
template <class Scalar, class Space>
struct Block final : nn::Module<3, Scalar, Space> {
  using typename nn::Module<3, Scalar, Space>::Tensor;

  Block(ConvOptions<3> const& options, Execution<Space> const& exec)
      : conv{options, exec}, norm{options.out_channels, exec}
  {
    this->register_child("conv", conv);
    this->register_child("norm", norm);
  }
  [[nodiscard]] Tensor forward(Tensor const& x, Execution<Space> const& exec) override
  {
    return silu(norm(conv(x, exec), exec), exec);
  }

  nn::Conv<3, Scalar, Space> conv;
  nn::BatchNorm<3, Scalar, Space> norm;
};

/// Strided down twice, up by a transposed and an inverse convolution, skips by cat, a residual, a linear head.
template <class Scalar, class Space>
struct UNet final : nn::Module<3, Scalar, Space> {
  using typename nn::Module<3, Scalar, Space>::Tensor;
  using Options = ConvOptions<3>;

  explicit UNet(Execution<Space> const& exec)
      : stem{Options(3, 4, 3).seed(1), exec},
        down1{Options(4, 5, 2).stride(2).seed(2), exec},
        middle{Options(5, 5, 3).seed(3), exec},
        down2{Options(5, 6, 3).stride(2).seed(4), exec},
        up2{Options(6, 5, 3).stride(2).transposed().seed(5), exec},
        joined{Options(10, 4, 3).seed(6), exec},
        up1{Options(4, 4, 2).kind(ConvolutionKind::inverse).bias(true).seed(7), exec},
        head{LinearOptions(8, 3).seed(8), exec}
  {
    int number = 0;
    for (nn::ModuleBase* part :
         std::initializer_list<nn::ModuleBase*>{&stem, &down1, &middle, &down2, &up2, &joined, &up1, &head}) {
      this->register_child(std::to_string(number++), *part);
    }
  }
  [[nodiscard]] Tensor forward(Tensor const& x, Execution<Space> const& exec) override
  {
    auto const fine = stem(x, exec);
    auto const half_size = down1(fine, exec);
    auto const skip =
        add(half_size, checkpointed ? checkpoint(exec, middle, half_size) : middle(half_size, exec), exec);
    auto const deep = up2(down2(skip, exec), exec);
    auto const back = up1(joined.forward(cat({deep, skip}, exec), exec), exec);
    return head(cat({back, fine}, exec), exec);
  }

  Block<Scalar, Space> stem, down1, middle, down2, up2, joined;
  nn::Conv<3, Scalar, Space> up1;
  nn::Linear<3, Scalar, Space> head;
  bool checkpointed = false;
};

Problem const scan{"scan", {3}, {}, 1, 8};

template <class Scalar, class Space>
SparseTensor<3, Scalar, Space> input(std::vector<double> const& values, Execution<Space> const& exec)
{
  return {scan.set(exec), upload_matrix(test::rounded<Scalar>(values), 3, exec)};
}

/// Gradients of the input and of each parameter.
template <class Scalar, class Space>
std::vector<Values> differentiate(UNet<Scalar, Space>& network, SparseTensor<3, Scalar, Space> const& x,
                                  Values const& cotangent, Execution<Space> const& exec)
{
  using Sum = accumulator_t<Scalar>;
  std::vector<nn::WritableParameter> trained;
  for (auto& parameter : network.writable_parameters()) {
    if (parameter.is_trained()) { trained.push_back(parameter); }
  }
  auto const with = [&](nn::WritableParameter const& parameter, auto const& use) {
    parameter.dtype == ScalarTraits<Scalar>::dtype ? use(parameter.template as<Scalar, Space>())
                                                   : use(parameter.template as<Sum, Space>());
  };
  for (auto const& parameter : trained) {
    with(parameter, [](auto& typed) { typed.drop_grad(); });
  }
  Tape<Space> tape;
  tape.watch(network);
  tape.watch(x);
  auto const y = network.forward(x, exec.with_recorder(tape));
  auto const grad = upload_matrix(test::rounded<Scalar>(cotangent), 3, exec);
  tape.backward(y, grad.view(), exec);
  CHECK(tape.unreached_parameters().empty());
  std::vector<Values> result{widened(test::on_host(tape.gradient(x), exec))};
  for (auto const& parameter : trained) {
    with(parameter, [&](auto& typed) {
      result.push_back(widened(download(std::as_const(typed).grad(), typed.size(), exec)));
    });
  }
  return result;
}

}  // namespace

TEST_CASE("U-Net of three levels: gradients agree with finite differences, in evaluation and in training")
{
  Execution<Host> const exec{2};
  UNet<double, Host> network{exec};
  auto const values = scan.random_values(1)[0];
  auto const cotangent = test::random_values(values.size(), 100);
  for (bool const trains : {false, true}) {
    CAPTURE(trains);
    network.train(trains);
    auto const x = input<double>(values, exec);
    auto const found = differentiate(network, x, cotangent, exec);
    auto const loss = [&](std::vector<double> const& at) {
      return test::dot(network.forward(input<double>(at, exec), exec).features_on_host(exec), cotangent);
    };
    auto const check_at = [&](double& value, double gradient, double largest, auto const& evaluate) {
      constexpr double step = 2e-5;
      auto const kept = value;
      value = kept + step;
      double const above = evaluate();
      value = kept - step;
      double const below = evaluate();
      value = kept;
      CHECK(std::abs((above - below) / (2 * step) - gradient) <= 1e-6 * largest + 2e-9);
    };
    auto const largest_of = [](Values const& gradients) {
      double largest = 0;
      for (auto const g : gradients) { largest = std::max(largest, std::abs(g)); }
      CHECK(largest > 1e-4);
      return largest;
    };
    auto changed = values;
    for (std::size_t at = 0; at < values.size(); at += values.size() / 7) {
      check_at(changed[at], found[0][at], largest_of(found[0]), [&] { return loss(changed); });
    }
    std::size_t number = 1;
    for (auto& parameter : network.writable_parameters()) {
      if (!parameter.is_trained()) { continue; }
      CAPTURE(parameter.name);
      auto const& gradients = found.at(number++);
      auto const size = static_cast<std::size_t>(parameter.size);
      for (std::size_t at = 0; at < size; at += size / 5 + 1) {
        auto& value = static_cast<double*>(parameter.write_bytes())[at];
        check_at(value, gradients[at], largest_of(gradients), [&] {
          parameter.mark_written();
          return loss(values);
        });
      }
      parameter.mark_written();
    }
    CHECK(number == found.size());
  }
}

TEST_CASE("U-Net: a block that is computed again gives the same gradients")
{
  Execution<Host> const exec{2};
  UNet<float, Host> network{exec};
  network.train();
  auto const values = scan.random_values(1)[0];
  auto const cotangent = test::random_values(values.size(), 100);
  auto const x = input<float>(values, exec);
  auto const found = differentiate(network, x, cotangent, exec);
  network.checkpointed = true;
  auto const again = differentiate(network, x, cotangent, exec);
  REQUIRE(found.size() == again.size());
  for (std::size_t i = 0; i < found.size(); ++i) { CHECK(difference(again[i], found[i]) < 1e-6); }
}

TEST_CASE_TEMPLATE("U-Net: two runs have the same bits", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  UNet<float, Space> network{exec};
  network.train();
  auto const values = scan.random_values(1)[0];
  auto const cotangent = test::random_values(values.size(), 100);
  auto const x = input<float>(values, exec);
  auto const found = differentiate(network, x, cotangent, exec);
  CHECK(differentiate(network, x, cotangent, exec) == found);
}

#ifdef __CUDACC__

TEST_CASE_TEMPLATE("U-Net: gradients on the device are those on the host", Scalar, double, float, __half,
                   __nv_bfloat16)
{
  if (test::skipped<Device>()) { return; }
  Execution<Device> const exec{};
  Execution<Host> const host{2};
  UNet<Scalar, Device> network{exec};
  UNet<Scalar, Host> reference{host};
  auto const values = scan.random_values(1)[0];
  auto const cotangent = test::random_values(values.size(), 100);
  auto const found = differentiate(network, input<Scalar>(values, exec), cotangent, exec);
  auto const expected = differentiate(reference, input<Scalar>(values, host), cotangent, host);
  REQUIRE(found.size() == expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    CAPTURE(i);
    CHECK(difference(found[i], expected[i]) < 4 * test::rounding<Scalar>());
  }
}

#endif
