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

#include <string>
#include <vector>

using namespace tessera;
using namespace tune_cases;
using nn::ConvChoice;
using nn::TuneStep;
using nn::TuneTrial;
using tessera::TuneOptions;

TEST_CASE("tune: groups are those that names and shapes of a MinkUNet's kernels tell")
{
  Execution<Host> const exec;
  models::MinkUNet<3, float, Host> net{MinkUNetOptions(4, 5).width(0.25), exec};
  auto const expected = groups_by_name(net, in_minkunet);
  CHECK(expected.size() == 32);
  auto const tuning =
      nn::tune(net, samples_of(4, exec, 24), options_of(clock_of([](auto&) { return 1; })), exec);
  CHECK(groups_of(tuning) == expected);
  CHECK(tuning.not_run.empty());
  CHECK(tuning.device == "host");
  CHECK(tuning.scalar == "float32");
}

TEST_CASE("tune: groups are those that names and shapes of a SparseEncoder's kernels tell")
{
  Execution<Host> const exec;
  models::SparseEncoder<float, Host> net{SparseEncoderOptions(4, {41, 48, 48}).width(0.5), exec};
  CoordinateSetOptions<3> with_range;
  with_range.spatial_range = SpatialRange<3>{1, {41, 48, 48}};
  auto rows = random_networks::surface<3>(40, 1);
  for (auto& row : rows) { row.position = {row.position[2], row.position[0], row.position[1]}; }
  std::vector<float> const features(rows.size() * 4, 0.5F);
  Samples<Host> const samples{
      {make_coordinate_set(rows, with_range, exec), upload_matrix(features, 4, exec)}};
  auto const tuning = nn::tune(net, samples, options_of(clock_of([](auto&) { return 1; })), exec);
  CHECK(groups_of(tuning) == groups_by_name(net, in_encoder));
}

namespace tune_cases {

/// The configuration that tuning gave a layer, or a traced model's operations of it.
template <class Space>
ConvConfig tuned_config(Conv<Space> const& layer)
{
  REQUIRE(layer.options().config());
  return *layer.options().config();
}
template <class Tensor, class Output>
ConvConfig tuned_config(detail::TracedConv<Tensor, Output> const& layer)
{
  return layer.config();
}

template <class Space, class Model>
void every_layer_gets_a_choice(Model& net, Samples<Space> const& samples, Execution<Space> const& exec)
{
  auto const before = output_of(net, samples[0], exec);
  REQUIRE(test::magnitude(before) > 0);
  int lines = 0;
  auto const options = TuneOptions().repetitions(2).progress([&](nn::TuneProgress const& progress) {
    CHECK(progress.group == lines);
    CHECK(progress.seconds <= progress.seconds_before);
    CHECK(progress.seconds > 0);
    ++lines;
  });
  auto const tuning = nn::tune(net, samples, options, exec);
  CHECK(lines == static_cast<int>(tuning.groups.size()));
  CHECK(tuning.seconds > 0);
  CHECK(tuning.seconds <= tuning.seconds_before);
  for (auto const& conv : detail::convs_of(net)) {
    CAPTURE(conv.name);
    auto const& layer = *conv.layer;
    auto const* const group = detail::find_group(
        tuning, [&](auto const& tuned) { return detail::has_name(tuned.layers, conv.name); });
    REQUIRE(group != nullptr);
    CHECK(group->group.same_layer(detail::group_of(layer)));
    CHECK(ConvChoice::of(tuned_config(layer)) == group->choice);
    CHECK(group->choice.fits_plan());
    CHECK(group->refused.empty());
  }
  CHECK(test::largest_difference(output_of(net, samples[0], exec), before) < 1e-4);
}

}  // namespace tune_cases

TEST_CASE_TEMPLATE("tune: every layer gets a choice of its group that a plan can take, and results stay",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  models::MinkUNet<3, float, Space> net{MinkUNetOptions(4, 5).width(0.25), exec};
  auto const samples = samples_of(4, exec, test::small_sets() ? 16 : 40);
  every_layer_gets_a_choice(net, samples, exec);
}

TEST_CASE_TEMPLATE("tune: so does every layer of a fused network, and the network stays as it is", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  models::MinkUNet<3, float, Space> net{MinkUNetOptions(4, 5).width(0.25), exec};
  auto const samples = samples_of(4, exec, test::small_sets() ? 16 : 40);
  auto fused = nn::fuse(net, samples[0], exec);
  every_layer_gets_a_choice(fused, samples, exec);
  for (auto const& conv : detail::convs_of(net)) { CHECK_FALSE(conv.layer->options().config()); }
}

TEST_CASE("apply_tuning: a tuning of a network is one of its fused form, by names and by a sample")
{
  Execution<Host> const exec;
  models::MinkUNet<3, float, Host> net{MinkUNetOptions(4, 5).width(0.25), exec};
  auto const samples = samples_of(4, exec);
  auto tuning = nn::tune(net, samples, options_of(clock_of([](auto&) { return 1; })), exec);
  for (auto& group : tuning.groups) { group.choice = gemm(false, 1); }
  for (bool const by_sample : {false, true}) {
    CAPTURE(by_sample);
    auto fused = nn::fuse(net, samples[0], exec);
    auto const before = output_of(fused, samples[0], exec);
    auto const report =
        by_sample ? nn::apply_tuning(fused, tuning, samples[0], exec) : nn::apply_tuning(fused, tuning, exec);
    CHECK(report.unknown.empty());
    CHECK(report.applied.size() == detail::convs_of(net).size());
    for (auto const& conv : detail::convs_of(fused)) {
      CHECK(ConvChoice::of(conv.layer->config()) == gemm(false, 1));
    }
    CHECK(test::same_bits(output_of(fused, samples[0], exec), before));
  }
}

TEST_CASE("tune: in a traced model of free functions, layers are called by the numbers of their operations")
{
  Execution<Host> const exec;
  struct Functions {
    using Tensor = SparseTensor<3, float, Host>;
    Tensor forward(Tensor const& x, Execution<Host> const& on)
    {
      auto const apply = [&](Tensor const& of, Conv<Host> const& layer) {
        auto const& o = layer.options();
        return convolution(of, layer.weight(), nullptr, o.out_channels, o.kind(), o.geometry, ConvConfig{},
                           on);
      };
      return apply(relu(apply(apply(x, first), second), on), second);
    }
    Conv<Host> first, second;
  };
  Functions net{{ConvOptions<3>(4, 8, 3), exec}, {ConvOptions<3>(8, 8, 3), exec}};
  auto const samples = samples_of(4, exec);
  auto traced = nn::trace(net, samples[0], exec);
  auto const tuning = nn::tune(traced, samples, options_of(clock_of([](auto&) { return 1; })), exec);
  REQUIRE(tuning.groups.size() == 2);
  CHECK(tuning.groups[0].layers == std::vector<std::string>{"convolution 0"});
  CHECK(tuning.groups[1].layers == std::vector<std::string>{"convolution 1"});
}

TEST_CASE_TEMPLATE("tune: choices that are said to give the same bits do", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const samples = samples_of(24, exec, test::small_sets() ? 12 : 30);
  Conv<Space> layer{ConvOptions<3>(24, 40, 3).bias(true), exec};
  auto const output = [&](ConvChoice const& choice) {
    layer.options().config(choice.in({}));
    return output_of(layer, samples[0], exec);
  };
  for (int const splits : {1, 2, 3, 4}) {
    CAPTURE(splits);
    CHECK(test::same_bits(output(gemm(true, splits)), output(gemm(false, splits))));
  }
  CHECK(test::same_bits(output(gemm(true, 1)), output({Dataflow::fetch_on_demand, true, 1})));
}

TEST_CASE_TEMPLATE("tune: kernel map, downsample rule, math and compat stay as they were", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  ConvConfig of_thread;
  of_thread.kmap = KmapMode::hashmap;
  of_thread.downsample = DownsampleMode::minkowski;
  ConvConfig own;
  own.math = MathMode::tf32;
  Net<Space> net;
  auto& first = net.template add<Conv<Space>>(ConvOptions<3>(4, 8, 3).compat(Compatibility::spconv1), exec);
  auto& second = net.template add<Conv<Space>>(ConvOptions<3>(8, 8, 3).stride(2), exec);
  auto& third = net.template add<Conv<Space>>(ConvOptions<3>(8, 8, 3).stride(2).config(own), exec);
  auto const samples = samples_of(4, exec);
  {
    ScopedConvConfig const scope{of_thread};
    auto const clock = clock_of([](TuneTrial const& t) { return 1.0 / t.choice.splits; });
    auto const tuning = nn::tune(net, samples, options_of(clock), exec);
    REQUIRE(tuning.groups.size() == 3);
    CHECK(tuning.groups[1].group.math == MathMode::exact);
    CHECK(tuning.groups[2].group.math == MathMode::tf32);
  }
  auto const check = [](Conv<Space> const& layer, ConvConfig const& expected, Compatibility compat) {
    auto const found = layer.config();
    CHECK(found.splits == 4);
    CHECK(found.kmap == expected.kmap);
    CHECK(found.downsample == expected.downsample);
    CHECK(found.math == expected.math);
    CHECK(found.compat == compat);
  };
  check(first, of_thread, Compatibility::spconv1);
  check(second, of_thread, Compatibility::none);
  check(third, own, Compatibility::none);
}

TEST_CASE_TEMPLATE(
    "tune: a tuning is applied by name, or by what layers do; what it does not know is reported", Space,
    TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const make = [&](int last) {
    auto net = std::make_unique<Net<Space>>();
    net->template add<Conv<Space>>(ConvOptions<3>(4, 8, 3), exec);
    net->template add<Conv<Space>>(ConvOptions<3>(8, 8, 3).stride(2), exec);
    net->template add<Conv<Space>>(ConvOptions<3>(8, last, 3), exec);
    return net;
  };
  auto const splits = [&](Net<Space>& net, std::size_t i) {
    return dynamic_cast<Conv<Space>&>(net[i]).config().splits;
  };
  auto const samples = samples_of(4, exec);
  auto const clock = clock_of([](TuneTrial const& t) {
    return t.choice == gemm(true, t.group.kind == ConvolutionKind::strided ? 3 : 2) ? 1 : 2;
  });
  auto const tuning = nn::tune(*make(8), samples, options_of(clock), exec);

  using Names = std::vector<std::string>;
  auto const same = make(8);
  auto report = nn::apply_tuning(*same, tuning, exec);
  CHECK(report.applied == Names{"0", "1", "2"});
  CHECK(report.unknown.empty());
  CHECK(splits(*same, 0) == 2);
  CHECK(splits(*same, 1) == 3);

  auto const wider = make(16);
  report = nn::apply_tuning(*wider, tuning, exec);
  CHECK(report.applied == Names{"0", "1"});
  CHECK(report.unknown == Names{"2"});
  CHECK(splits(*wider, 1) == 3);
  CHECK(splits(*wider, 2) == 1);

  struct Other
      : nn::Module<3, float, Space> {  // the same under other names, with one layer that does not run
    explicit Other(std::unique_ptr<Net<Space>> of, Execution<Space> const& exec)
        : body{std::move(of)}, idle{ConvOptions<3>(4, 8, 3), exec}
    {
      this->register_child("body", *body);
      this->register_child("idle", idle);
    }
    typename nn::Module<3, float, Space>::Tensor forward(
        typename nn::Module<3, float, Space>::Tensor const& x, Execution<Space> const& on) override
    {
      return body->forward(x, on);
    }
    std::unique_ptr<Net<Space>> body;
    Conv<Space> idle;
  };
  Other other{make(8), exec};
  CHECK(nn::apply_tuning(other, tuning, exec).applied.empty());
  report = nn::apply_tuning(other, tuning, samples[0], exec);
  CHECK(report.applied == Names{"body.0", "body.1", "body.2"});
  CHECK(report.unknown == Names{"idle"});
  CHECK(splits(*other.body, 1) == 3);

  auto const refusal = [&](nn::Tuning const& foreign) {
    auto const net = make(8);
    auto const error = test::error_of([&] { nn::apply_tuning(*net, foreign, exec); });
    CHECK(error == test::error_of([&] { nn::apply_tuning(*net, foreign, samples[0], exec); }));
    CHECK(splits(*net, 0) == 1);
    return error;
  };
  auto foreign = tuning;
  foreign.device = "Another GPU";
  CHECK(refusal(foreign).find("apply_tuning: tuned for \"Another GPU\" of compute capability") == 0);
  foreign = tuning;
  foreign.compute_capability = 12;
  CHECK(refusal(foreign).find("of compute capability 12 but this is") != std::string::npos);
  foreign = tuning;
  foreign.scalar = "float16";
  CHECK(refusal(foreign) == "apply_tuning: tuned in float16 but the model is in float32");
  foreign = tuning;
  foreign.version = "0.0.9";
  CHECK(refusal(foreign).find("apply_tuning: tuned with version 0.0.9 but this is ") == 0);
}
