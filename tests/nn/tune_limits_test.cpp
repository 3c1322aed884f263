// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../models/random_networks.hpp"
#include "../support/difference.hpp"
#include "../support/memory.hpp"
#include "../support/small.hpp"
#include "tensors.hpp"
#include "tune_cases.hpp"

#ifdef __CUDACC__
#include <tessera/conv/convolution_kernels.cuh>
#include <tessera/nn/detail/tune_backend.cuh>
#include <tessera/plan/plan.cuh>
#endif
#include <tessera/conv/detail/convolution_host.hpp>
#include <tessera/models/minkunet.hpp>
#include <tessera/models/sparse_encoder.hpp>
#include <tessera/nn/tune.hpp>

#include <algorithm>
#include <string>
#include <vector>

using namespace tessera;
using namespace tune_cases;
using nn::ConvChoice;
using nn::TuneStep;
using nn::TuneTrial;
using tessera::TuneOptions;

TEST_CASE("tune: a choice that rounding does not explain is refused, with what it differed by")
{
  Execution<Host> const exec;
  // One output of 27 inputs of 1. Large numbers cancel around eight small ones, which are lost in one sum,
  // but not in three.
  Net<Host> net;
  auto& layer = net.add<Conv<Host>>(ConvOptions<3>(1, 1, 3).stride(3), exec);
  std::vector<float> weight(27, 0.0F);
  weight[4] = 1e8F;
  std::fill(weight.begin() + 9, weight.begin() + 17, 3.0F);
  weight[22] = -1e8F;
  std::copy(weight.begin(), weight.end(), layer.weight().write());
  std::vector<Coordinate<3>> rows;
  for (int i = 0; i < 27; ++i) { rows.push_back({0, {i / 9, i / 3 % 3, i % 3}}); }
  Samples<Host> const samples{
      {make_coordinate_set(rows, {}, exec), upload_matrix(std::vector<float>(27, 1.0F), 1, exec)}};
  REQUIRE(output_of(net, samples[0], exec) == std::vector<float>{0.0F});

  auto const fast = clock_of([](TuneTrial const& t) {
    return t.choice.splits == 3 ? 0.1 : t.choice.sort ? 1 : 2;
  });
  auto const tuning = nn::tune(net, samples, options_of(fast).splits({1, 3}), exec);
  REQUIRE(tuning.groups.size() == 1);
  CHECK(tuning.groups[0].choice == gemm(true, 1));
  REQUIRE(tuning.groups[0].refused.size() == 2);
  CHECK(tuning.groups[0].refused[0].choice == gemm(true, 3));
  CHECK(tuning.groups[0].refused[1].choice == gemm(false, 3));
  CHECK(tuning.groups[0].refused[0].reason == "differs by 24 from outputs of up to 0; rounding explains 0");
  CHECK(output_of(net, samples[0], exec) == std::vector<float>{0.0F});
}

TEST_CASE("tune: layers whose kernels have other offsets are not of one group")
{
  Execution<Host> const exec;
  auto const options = [](KernelShape<3> const& shape) { return ConvOptions<3>(4, 4, 3).shape(shape); };
  Net<Host> net;
  net.add<Conv<Host>>(options({}), exec);
  net.add<Conv<Host>>(options(KernelShape<3>::cross()), exec);
  net.add<Conv<Host>>(options(KernelShape<3>::offsets({{0, 0, 0}, {0, 0, 1}})), exec);
  net.add<Conv<Host>>(options(KernelShape<3>::offsets({{0, 0, 0}, {0, 2, 0}})), exec);
  net.add<Conv<Host>>(options(KernelShape<3>::cross()), exec);
  auto const tuning =
      nn::tune(net, samples_of(4, exec, 12), options_of(clock_of([](auto&) { return 1; })), exec);
  REQUIRE(tuning.groups.size() == 4);
  CHECK(tuning.groups[1].layers == std::vector<std::string>{"1", "4"});
  CHECK(tuning.groups[0].group.offsets.empty());
  CHECK(tuning.groups[1].group.offsets.size() == 7 * 3);
  CHECK(tuning.groups[3].group.offsets == std::vector<int>{0, 0, 0, 0, 2, 0});
  CHECK(detail::text_of(tuning.groups[1].group) ==
        "submanifold 4 -> 4, kernel [3, 3, 3] of 7 offsets, stride [1, 1, 1] at [1, 1, 1]");
}

TEST_CASE("tune: a layer that runs at two strides is of the group of its first call; others are left alone")
{
  Execution<Host> const exec;
  struct Twice : nn::Module<3, float, Host> {
    explicit Twice(Execution<Host> const& exec)
        : shared{ConvOptions<3>(4, 4, 3), exec},
          down{ConvOptions<3>(4, 4, 2).stride(2), exec},
          idle{ConvOptions<3>(4, 4, 3), exec},
          fixed{ConvOptions<3>(4, 4, 3), exec}
    {
      register_child("shared", shared);
      register_child("again", shared);
      register_child("down", down);
      register_child("idle", idle);
      register_child("fixed", fixed);
    }
    Tensor forward(Tensor const& x, Execution<Host> const& exec) override
    {
      return fixed(shared(down(shared(x, exec), exec), exec), exec);
    }
    Conv<Host> shared, down, idle;
    nn::Conv<3, float, Host, ConvPolicy<>> fixed;
  };
  Twice net{exec};
  int calls = 0;
  auto const clock = clock_of([&](TuneTrial const& trial) {
    calls += trial.step == TuneStep::layers && trial.group.kind == ConvolutionKind::submanifold ? 1 : 0;
    return trial.choice == gemm(true, 2) ? 1 : 2;
  });
  auto const tuning = nn::tune(net, samples_of(4, exec), options_of(clock), exec);
  REQUIRE(tuning.groups.size() == 2);
  CHECK(tuning.groups[0].layers == std::vector<std::string>{"shared"});
  CHECK(tuning.groups[0].group.tensor_stride == std::vector<int>{1, 1, 1});
  CHECK(tuning.groups[1].layers == std::vector<std::string>{"down"});
  CHECK(tuning.not_run == std::vector<std::string>{"idle"});
  CHECK(calls == 9);  // eight choices, the first one twice; both calls of the layer in each
  CHECK(net.shared.config().splits == 2);
  CHECK_FALSE(net.idle.options().config());
  CHECK_FALSE(net.fixed.options().config());
}

TEST_CASE_TEMPLATE("tune: a sample of no rows changes nothing", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  Net<Space> net;
  auto& layer = net.template add<Conv<Space>>(ConvOptions<3>(4, 8, 3), exec);
  Samples<Space> samples;
  samples.push_back(
      {make_coordinate_set(std::vector<Coordinate<3>>{}, {}, exec), Matrix<float, Space>{0, 4, exec}});
  auto const never_called = clock_of([](TuneTrial const&) {
    FAIL("nothing is to be timed");
    return 0;
  });
  auto const tuning = nn::tune(net, samples, options_of(never_called), exec);
  REQUIRE(tuning.groups.size() == 1);
  CHECK(tuning.groups[0].choice == ConvChoice{});
  CHECK(tuning.groups[0].seconds == 0);
  CHECK(layer.options().config());

  samples.push_back(samples_of(4, exec)[0]);  // and does not stand in the way of others
  auto const clock = clock_of([](TuneTrial const& t) { return t.choice == gemm(true, 2) ? 1 : 2; });
  CHECK(nn::tune(net, samples, options_of(clock), exec).groups[0].choice == gemm(true, 2));
}

TEST_CASE("tune: what is invalid is refused and changes nothing")
{
  Execution<Host> const exec;
  Net<Host> net;
  auto& layer = net.add<Conv<Host>>(ConvOptions<3>(4, 8, 3), exec);
  auto const refused = [&](Samples<Host> const& samples, TuneOptions options) {
    auto const error = test::error_of([&] { nn::tune(net, samples, options.quiet(), exec); });
    CHECK_FALSE(layer.options().config());
    return error;
  };
  auto const good = samples_of(4, exec);
  CHECK(refused({}, {}) == "tune: no samples");
  CHECK(refused(samples_of(5, exec), {}).find("the tensor has 5 channels") != std::string::npos);
  CHECK(refused(good, TuneOptions().splits({})) == "tune: 0 numbers of splits to try; there may be 1 to 6");
  CHECK(refused(good, TuneOptions().splits({1, 2, 3, 4, 5, 6, 7})) ==
        "tune: 7 numbers of splits to try; there may be 1 to 6");
  CHECK(refused(good, TuneOptions().splits({1, 0})) == "tune: 0 splits; 1 to 1024 may be tried");
  CHECK(refused(good, TuneOptions().margin(-0.5)) == "tune: a margin of -0.5; it is a fraction from 0 to 1");
  CHECK(refused(good, TuneOptions().repetitions(0)) == "tune: 0 repetitions; at least 1");
  net.train();
  CHECK(refused(good, {}) == "tune: the module is in training; call eval()");

  Net<Host> none;
  none.add<nn::ReLU<3, float, Host>>();
  CHECK(test::error_of([&] { nn::tune(none, good, TuneOptions().quiet(), exec); }) ==
        "tune: the module has no convolution that is configured at run time");
}

TEST_CASE_TEMPLATE(
    "tune: a choice that runs out of memory is refused; where nothing can be done, nothing changes", Space,
    TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  test::CountedMemory<Space> memory;
  auto const exec = memory.execution(1);
  Net<Space> net;
  auto& layer = net.template add<Conv<Space>>(ConvOptions<3>(4, 8, 3), exec);
  auto const samples = samples_of(4, exec, 6);
  auto const clock = clock_of([](TuneTrial const& t) { return t.choice.splits == 2 ? 1 : 2; });
  auto const options = options_of(clock).splits({1, 2});
  static_cast<void>(nn::tune(net, samples, options, exec));  // what is made once is made
  exec.wait();
  auto const in_use = memory.bytes_in_use();
  int thrown = 0;
  int refused = 0;
  for (int n = 0;; ++n) {
    CAPTURE(n);
    layer.options().config(std::nullopt);
    auto const before = memory.allocations();
    memory.fail_at(n);
    try {
      auto const tuning = nn::tune(net, samples, options, exec);
      if (memory.allocations() - before <= n) { break; }
      REQUIRE(tuning.groups[0].refused.size() == 1);
      CHECK(tuning.groups[0].refused[0].reason == "there is not enough memory");
      CHECK(tuning.groups[0].choice != tuning.groups[0].refused[0].choice);
      CHECK(layer.options().config());
      ++refused;
    } catch (test::OutOfMemory<Space> const&) {
      CHECK_FALSE(layer.options().config());
      ++thrown;
    }
    memory.fail_at(-1);
    REQUIRE(memory.bytes_in_use() == in_use);
  }
  memory.fail_at(-1);
  CHECK(thrown > 3);
  CHECK(refused > 3);
}
