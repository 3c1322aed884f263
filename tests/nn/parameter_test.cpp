// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// Parameters: identity, version and gradient, and what modules hand out of them.

#include "../support/device.hpp"
#include "../support/files.hpp"

#include <tessera/nn/batch_norm.hpp>
#include <tessera/nn/conv.hpp>
#include <tessera/nn/linear.hpp>
#include <tessera/nn/sequential.hpp>
#ifdef __CUDACC__
#include <tessera/conv/convolution.cuh>
#endif

#include <doctest/doctest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

using namespace tessera;

namespace {

template <class Space>
using Floats = nn::Parameter<float, Space>;

}  // namespace

TEST_CASE_TEMPLATE("parameter: every write raises the version, reading does not", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  Floats<Space> parameter{{2, 3}, exec};
  auto const first = parameter.version();
  CHECK(first > 0);
  static_cast<void>(parameter.data());
  static_cast<void>(parameter.bytes());
  static_cast<void>(parameter.grad(exec));
  static_cast<void>(parameter.shape());
  CHECK(parameter.version() == first);
  static_cast<void>(parameter.write());
  CHECK(parameter.version() == first + 1);
  static_cast<void>(parameter.write_bytes());
  CHECK(parameter.version() == first + 2);
  parameter.mark_written();
  CHECK(parameter.version() == first + 3);
}

TEST_CASE("parameter: an id is never used again, a version never goes back")
{
  Execution<Host> const exec;
  Floats<Host> const none;
  CHECK(none.id() == 0);
  CHECK(none.version() == 0);
  VariableId last = 0;
  for (int i = 0; i < 3; ++i) {
    Floats<Host> const made{{4}, exec};
    CHECK(made.id() > last);
    last = made.id();
  }
  Floats<Host> a{{4}, exec};
  for (int i = 0; i < 5; ++i) { a.mark_written(); }
  auto const written = a.version();
  Floats<Host> b{{2}, exec};
  auto const id = b.id();
  a = std::move(b);  // whoever packed the values of before sees that they are others
  CHECK(a.id() == id);
  CHECK(a.version() > written);
  CHECK(a.shape() == std::vector<std::int64_t>{2});
  CHECK(b.id() == 0);  // NOLINT(bugprone-use-after-move)
  CHECK(b.version() == 0);
  CHECK(b.data() == nullptr);
  CHECK(b.shape().empty());

  // Nor where it is moved from in between: who packed a layer's weight sees that two layers swapped theirs.
  for (int writes = 0; writes < 12; ++writes) {
    Floats<Host> first{{4}, exec};
    Floats<Host> second{{4}, exec};
    for (int i = 0; i < 5; ++i) { first.mark_written(); }
    for (int i = 0; i < writes; ++i) { second.mark_written(); }
    auto const of_first = first.version();
    auto const of_second = second.version();
    std::swap(first, second);
    CHECK(first.version() > of_first);
    CHECK(second.version() > of_second);
  }
}

TEST_CASE("parameter: a reference to it follows its values to other memory")
{
  Execution<Host> const exec;
  Floats<Host> a{{4}, exec};
  for (int i = 0; i < 4; ++i) { a.write()[i] = 1; }
  ParameterRef<float> const reference = a;
  std::vector<float> memory(4);
  a.adopt(Buffer<float, Host>::adopt(memory.data(), 4, nullptr), {}, exec);
  CHECK(reference.data() == memory.data());
  CHECK(reference.data()[3] == 1);
  CHECK(reference.is_written_since());
  Floats<Host> b{{4}, exec};
  auto const* const address = b.data();
  a = std::move(b);
  CHECK(reference.data() == address);
  CHECK(ParameterRef<float>{b}.data() == nullptr);  // NOLINT(bugprone-use-after-move)
  CHECK(ParameterRef<float>{memory.data()}.data() == memory.data());
}

TEST_CASE_TEMPLATE("parameter: the gradient is made of zeros when it is asked for, and kept", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  Floats<Space> parameter{{3, 5}, exec};
  CHECK(std::as_const(parameter).grad() == nullptr);
  auto* const grad = parameter.grad(exec);
  CHECK(download(parameter.grad(), parameter.size(), exec) == std::vector<float>(15, 0.0F));
  CHECK(parameter.grad(exec) == grad);
  parameter.drop_grad();
  CHECK(std::as_const(parameter).grad() == nullptr);
  Floats<Space> none{{0, 5}, exec};
  CHECK(none.grad(exec) == nullptr);
}

TEST_CASE_TEMPLATE("parameter: moves into memory of somebody else's, which it keeps alive", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  std::vector<float> const values{1, 2, 3, 4, 5, 6};
  Floats<Space> parameter{{2, 3}, exec};
  detail::Transfer<Space>::from_host(parameter.write(), values.data(), 6 * sizeof(float), exec);
  auto const id = parameter.id();
  auto const version = parameter.version();
  std::weak_ptr<Buffer<float, Space>> watched;
  {
    auto const memory = std::make_shared<Buffer<float, Space>>(16, exec);
    watched = memory;
    auto* const first = memory->data();
    parameter.adopt(Buffer<float, Space>::adopt(first + 4, 6, memory),
                    Buffer<float, Space>::adopt(first + 10, 6, memory), exec);
    CHECK(parameter.data() == first + 4);
    CHECK(parameter.grad(exec) == first + 10);
  }
  CHECK_FALSE(watched.expired());
  CHECK(download(parameter.data(), 6, exec) == values);
  CHECK(parameter.id() == id);
  CHECK(parameter.version() > version);
  auto const now = parameter.version();
  CHECK_THROWS_AS(parameter.adopt(Buffer<float, Space>{5, exec}, {}, exec), invalid_argument);
  CHECK_THROWS_AS(parameter.adopt(Buffer<float, Space>{6, exec}, Buffer<float, Space>{5, exec}, exec),
                  invalid_argument);
  CHECK(parameter.version() == now);
  // without a gradient it makes one of its own again
  parameter.adopt(Buffer<float, Space>{6, exec}, {}, exec);
  CHECK(watched.expired());
  CHECK(std::as_const(parameter).grad() == nullptr);
  CHECK(download(parameter.grad(exec), 6, exec) == std::vector<float>(6, 0.0F));
  CHECK(download(parameter.data(), 6, exec) == values);
}

TEST_CASE("parameter: a module hands out what its parameters are now, to be read or to be written")
{
  Execution<Host> const exec;
  nn::Sequential<3, float, Host> net;
  auto& conv = net.add<nn::Conv<3, float, Host>>(ConvOptions<3>(2, 4, 3).bias(true), exec);
  auto& norm = net.add<nn::BatchNorm<3, float, Host>>(4, exec);
  auto const views = std::as_const(net).parameters("net.");
  REQUIRE(views.size() == 6);
  CHECK(views[0].name == "net.0.kernel");
  CHECK(views[0].parameter == &conv.weight());
  CHECK(views[1].parameter == &conv.bias());
  CHECK(views[2].parameter == &norm.weight());
  CHECK(views[4].parameter == &norm.running_mean());
  CHECK(views[0].as<float, Host>().data() == conv.weight().data());

  auto const version = norm.weight().version();
  auto const writable = net.writable_parameters();
  CHECK(norm.weight().version() == version);  // asking writes nothing
  writable[2].as<float, Host>().write()[0] = 7;
  CHECK(norm.weight().data()[0] == 7);
  CHECK(norm.weight().version() == version + 1);

  // Replaced, a parameter is still the one that is registered.
  conv.bias() = Floats<Host>{{5}, exec};
  CHECK(net.parameters()[1].shape == std::vector<std::int64_t>{5});
  CHECK(net.parameters()[1].as<float, Host>().data() == conv.bias().data());
}

TEST_CASE("parameter: a view refuses another type or space")
{
  Execution<Host> const exec;
  nn::Linear<3, float, Host> const layer{LinearOptions{2, 3}, exec};
  auto const view = layer.parameters()[0];
  CHECK(test::error_of([&] { static_cast<void>(view.as<double, Host>()); }) ==
        "ParameterView: \"weight\" holds float32 on the host, not float64 on the host");
  CHECK(test::error_of([&] { static_cast<void>(view.as<float, Device>()); }) ==
        "ParameterView: \"weight\" holds float32 on the host, not float32 on the device");
  CHECK_THROWS_AS(static_cast<void>(nn::ParameterView{}.as<float, Host>()), invalid_argument);
}

TEST_CASE("parameter: batch statistics write the running ones, evaluation writes nothing")
{
  Execution<Host> const exec;
  nn::BatchNorm<3, float, Host> norm{2, exec};
  auto const x = upload_matrix(std::vector<float>{1, 2, 3, 4, 5, 6}, 2, exec);
  auto const version = norm.running_mean().version();
  static_cast<void>(norm.forward(x, exec));
  CHECK(norm.running_mean().version() == version);
  norm.train();
  static_cast<void>(norm.forward(x, exec));
  CHECK(norm.running_mean().version() == version + 1);
  CHECK(norm.running_var().version() == version + 1);
}
