// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// Folded weights whose parameters are written afterwards: they follow, in place.

#include "tensors.hpp"

#ifdef __CUDACC__
#include <tessera/conv/convolution.cuh>
#endif
#include <tessera/nn/activation.hpp>
#include <tessera/nn/batch_norm.hpp>
#include <tessera/nn/calibrate.hpp>
#include <tessera/nn/conv.hpp>
#include <tessera/nn/fuse.hpp>
#include <tessera/nn/linear.hpp>
#include <tessera/nn/sequential.hpp>
#include <tessera/nn/trace.hpp>
#include <tessera/plan/detail/plan_weights.hpp>

#include <string>
#include <utility>
#include <vector>

using namespace tessera;

namespace {

/// A convolution with two norms behind it, one with a bias, and a linear layer with a norm.
template <class Space>
struct Net : nn::Sequential<3, float, Space> {
  explicit Net(Execution<Space> const& exec)
  {
    using Norm = nn::BatchNorm<3, float, Space>;
    this->template add<nn::Conv<3, float, Space>>(ConvOptions<3>(4, 8, 3).seed(1), exec);
    this->template add<Norm>(8, exec);
    this->template add<Norm>(8, exec);
    this->template add<nn::ReLU<3, float, Space>>();
    this->template add<nn::Conv<3, float, Space>>(ConvOptions<3>(8, 8, 3).bias(true).seed(2), exec);
    this->template add<Norm>(NormOptions(8).eps(0), exec);
    this->template add<nn::Linear<3, float, Space>>(LinearOptions(8, 5), exec);
    this->template add<Norm>(5, exec);
  }
};

/// Other values, 0.5 to 1.5, for the parameter called `name`.
template <class Space>
void write(nn::ModuleBase& net, std::string const& name, unsigned seed, Execution<Space> const& exec)
{
  for (auto const& view : net.writable_parameters()) {
    if (view.name != name) { continue; }
    std::mt19937 random{seed};
    std::uniform_real_distribution<float> uniform{0.5F, 1.5F};
    std::vector<float> values(static_cast<std::size_t>(view.size));
    for (auto& value : values) { value = uniform(random); }
    detail::Transfer<Space>::from_host(view.write_bytes(), values.data(), values.size() * sizeof(float),
                                       exec);
  }
}

template <class Traced>
std::size_t num_operations(Traced const& traced)
{
  return traced.operations().size();
}

}  // namespace

TEST_CASE_TEMPLATE(
    "folded weights: after a write to any parameter they are those of a model that is fused now", Space,
    TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  Net<Space> net{exec};
  auto const x = test::upload_tensor<float>(test::random_tensor<float>(150, 4, {0, 1}, 3), exec);
  auto const fused = nn::fuse(net, x, exec);
  REQUIRE(num_operations(fused) == 3);
  auto before = fused.forward(x, exec).features_on_host(exec);
  unsigned seed = 10;
  for (auto const& view : net.parameters()) {
    std::string const name = view.name;
    CAPTURE(name);
    write(net, name, ++seed, exec);
    auto const found = fused.forward(x, exec).features_on_host(exec);
    CHECK(found != before);
    CHECK(found == nn::fuse(net, x, exec).forward(x, exec).features_on_host(exec));
    CHECK(found == fused.forward(x, exec).features_on_host(exec));
    before = found;
  }
}

TEST_CASE("folded weights: a plan sees by name which parameter was written, and refreshes them in place")
{
  Execution<Host> const exec;
  Net<Host> net{exec};
  auto const x = test::upload_tensor<float>(test::random_tensor<float>(50, 4, {0}, 3), exec);
  auto const fused = nn::fuse(net, x, exec);
  detail::WeightUses<Host> uses;
  static_cast<void>(fused.forward(x, exec));
  detail::PlanWeights<Host> weights{uses.take(), fused};
  using Conv = ops::ConvolutionRecord<3, float, Host>;
  auto const& first = dynamic_cast<Conv const&>(*fused.operations()[0]);
  auto const* const address = first.weight.data();
  auto const value = first.weight.data()[0];
  CHECK(weights.status().ok());
  for (std::string const name :
       {"0.kernel", "1.weight", "1.running_var", "2.bias", "4.bias", "7.running_mean"}) {
    CAPTURE(name);
    write(net, name, 5, exec);
    CHECK(weights.status().error == RunError::stale_parameter);
    CHECK(std::string{weights.status().parameter} == name);
    weights.refresh(exec);
    CHECK(weights.status().ok());
  }
  CHECK(first.weight.data() == address);
  CHECK(first.weight.data()[0] != value);
}

TEST_CASE("folded weights: a list follows parameters to other memory, a plan refuses to run")
{
  Execution<Host> const exec;
  Net<Host> net{exec};
  auto const x = test::upload_tensor<float>(test::random_tensor<float>(50, 4, {0}, 3), exec);
  auto const traced = nn::trace(net, x, exec);
  auto const fused = nn::fuse(net, x, exec);
  detail::WeightUses<Host> uses;
  auto const before = fused.forward(x, exec).features_on_host(exec);
  detail::PlanWeights<Host> weights{uses.take(), fused};
  {
    // What an arena of parameters does.
    std::vector<std::vector<float>> memory;
    for (auto const& view : net.writable_parameters()) {
      memory.emplace_back(static_cast<std::size_t>(view.size));
      auto values = Buffer<float, Host>::adopt(memory.back().data(), view.size, nullptr);
      view.as<float, Host>().adopt(std::move(values), {}, exec);
      CHECK(weights.status().error == RunError::moved_parameter);
      CHECK(std::string{weights.status().parameter} == "0.kernel");
    }
    weights.refresh(exec);
    CHECK(
        weights.status().sentence() ==
        "Plan: the values of \"0.kernel\" were moved to other memory after it was made; make the plan anew");
    CHECK(fused.forward(x, exec).features_on_host(exec) == before);
    write(net, "4.bias", 5, exec);
    write(net, "6.weight", 6, exec);
    CHECK(traced.forward(x, exec).features_on_host(exec) == net.forward(x, exec).features_on_host(exec));
    CHECK(fused.forward(x, exec).features_on_host(exec) ==
          nn::fuse(net, x, exec).forward(x, exec).features_on_host(exec));
  }
}

TEST_CASE("folded weights: a norm that no longer fits the scalar is refused")
{
  Execution<Host> const exec;
  Net<Host> net{exec};
  auto const x = test::upload_tensor<float>(test::random_tensor<float>(50, 4, {0}, 3), exec);
  auto const fused = nn::fuse(net, x, exec);
  for (auto const& view : net.writable_parameters()) {
    if (view.name == "5.running_var") { view.as<float, Host>().write()[0] = 0; }
  }
  CHECK(test::error_of([&] { static_cast<void>(fused.forward(x, exec)); }) ==
        "fuse: a norm's new parameters make weights that float32 does not hold; trace and fuse the model "
        "again");
}

TEST_CASE_TEMPLATE("folded weights: calibrating the network reaches its list", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  Net<Space> net{exec};
  auto const x = test::upload_tensor<float>(test::random_tensor<float>(150, 4, {0, 1}, 3), exec);
  auto const fused = nn::fuse(net, x, exec);
  auto const before = fused.forward(x, exec).features_on_host(exec);
  nn::calibrate(net, x, exec);
  auto const after = fused.forward(x, exec).features_on_host(exec);
  CHECK(after != before);
  CHECK(after == nn::fuse(net, x, exec).forward(x, exec).features_on_host(exec));
}
