// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../models/random_networks.hpp"
#include "../support/difference.hpp"
#include "../support/memory.hpp"
#include "../support/small.hpp"
#include "tensors.hpp"

#ifdef __CUDACC__
#include <tessera/conv/detail/convolution_device.cuh>
#include <tessera/nn/detail/tune_backend.cuh>
#include <tessera/plan/plan.cuh>
#endif
#include <tessera/conv/detail/convolution_host.hpp>
#include <tessera/models/minkunet.hpp>
#include <tessera/models/sparse_encoder.hpp>
#include <tessera/nn/tune.hpp>

#include <algorithm>
#include <limits>
#include <map>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <vector>

using namespace tessera;
using nn::ConvChoice;
using nn::TuneOptions;
using nn::TuneStep;
using nn::TuneTrial;

namespace {

template <class Space>
using Conv = nn::Conv<3, float, Space>;
template <class Space>
using Net = nn::Sequential<3, float, Space>;
template <class Space>
using Samples = std::vector<SparseTensor<3, float, Space>>;

ConvChoice gemm(bool sort, int splits)
{
  return {Dataflow::implicit_gemm, sort, splits};
}

/// A clock that shows what `seconds(trial)` says, and does the work.
template <class Seconds>
nn::TuneTimer clock_of(Seconds seconds)
{
  return [seconds](TuneTrial const& trial, std::function<void()> const& work) {
    work();
    return static_cast<double>(seconds(trial));
  };
}

/// Quiet and quick.
TuneOptions options_of(nn::TuneTimer timer)
{
  return TuneOptions().quiet().repetitions(1).timer(std::move(timer));
}

/// A sample of voxels on a surface, 100 or more.
template <class Space>
Samples<Space> samples_of(int channels, Execution<Space> const& exec, int size = 12)
{
  return {random_networks::input<3>(size, 1, channels, exec)};
}

template <class Model, class Space>
std::vector<float> output_of(Model& model, SparseTensor<3, float, Space> const& x,
                             Execution<Space> const& exec)
{
  return model.forward(x, exec).features_on_host(exec);
}

/// What makes a group, and the names of its layers.
using Key = std::tuple<std::string, int, int, std::vector<int>, int, int>;
using Groups = std::map<Key, std::set<std::string>>;

/// Groups from the names and shapes of a model's kernels: `tell(layer)` -> kind, stride, tensor stride.
template <class Tell>
Groups groups_by_name(nn::ModuleBase const& model, Tell const& tell)
{
  Groups result;
  for (auto const& parameter : model.parameters()) {
    if (parameter.role != nn::ParameterRole::kernel) { continue; }
    auto const layer = parameter.name.substr(0, parameter.name.rfind('.'));
    auto const [kind, stride, tensor_stride] = tell(layer);
    auto const rank = parameter.shape.size();
    result[{kind, static_cast<int>(parameter.shape[rank - 2]), static_cast<int>(parameter.shape[rank - 1]),
            parameter.kernel_size, stride, tensor_stride}]
        .insert(layer);
  }
  return result;
}

Groups groups_of(nn::Tuning const& tuning)
{
  Groups result;
  for (auto const& [group, layers, choice, before, s, sb, ms, msb, refused] : tuning.groups) {
    auto& names = result[{detail::name_of(group.kind), group.in_channels, group.out_channels,
                          group.kernel_size, group.stride[0], group.tensor_stride[0]}];
    CHECK(names.empty());  // no group twice
    names.insert(layers.begin(), layers.end());
    CHECK(names.size() == layers.size());
  }
  return result;
}

struct LayerKind {
  std::string kind;
  int stride;
  int tensor_stride;
};

/// Of a MinkUNet: stem at 1, stage k from 2^(k-1) to 2^k, up k from 2^(5-k) to 2^(4-k).
LayerKind in_minkunet(std::string const& layer)
{
  auto const starts = [&](char const* text) { return layer.rfind(text, 0) == 0; };
  bool const first = layer.size() > 7 && layer.find(".0.net.0") != std::string::npos;
  if (starts("stage")) {
    int const k = layer[5] - '0';
    if (layer == "stage" + std::to_string(k) + ".0.net.0") { return {"strided", 2, 1 << (k - 1)}; }
    return {"submanifold", 1, 1 << k};
  }
  if (starts("up")) {
    int const k = layer[2] - '0';
    if (first && layer == "up" + std::to_string(k) + ".0.net.0") { return {"transposed", 2, 1 << (5 - k)}; }
    return {"submanifold", 1, 1 << (4 - k)};
  }
  REQUIRE(starts("stem"));
  return {"submanifold", 1, 1};
}

/// Of SECOND's encoder: stages but the first begin with a strided convolution, the last layer halves an axis.
LayerKind in_encoder(std::string const& layer)
{
  std::string const head = "encoder_layers.encoder_layer";
  if (layer == "conv_input.0") { return {"submanifold", 1, 1}; }
  if (layer == "conv_out.0") { return {"strided", 2, 8}; }
  REQUIRE(layer.rfind(head, 0) == 0);
  int const stage = layer[head.size()] - '0';
  bool const strided = stage > 1 && layer.substr(head.size() + 1) == ".0.0";
  return {strided ? "strided" : "submanifold", strided ? 2 : 1, 1 << (strided ? stage - 2 : stage - 1)};
}

}  // namespace

TEST_CASE("tune: groups are those that names and shapes of a MinkUNet's kernels tell")
{
  Execution<Host> const exec;
  models::MinkUNet<3, float, Host> net{models::MinkUNetOptions(4, 5).width(0.25), exec};
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
  models::SparseEncoder<float, Host> net{models::SparseEncoderOptions(4, {41, 48, 48}).width(0.5), exec};
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

TEST_CASE_TEMPLATE("tune: every layer gets a choice of its group that a plan can take, and results stay",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  for (bool const fused : {false, true}) {
    CAPTURE(fused);
    models::MinkUNet<3, float, Space> net{models::MinkUNetOptions(4, 5).width(0.25), exec};
    if (fused) { nn::fuse(net, exec); }
    auto const samples = samples_of(4, exec, test::small_sets() ? 16 : 40);
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
      auto const* const layer = conv.layer;
      auto const* const group = detail::find_group(
          tuning, [&](auto const& tuned) { return detail::has_name(tuned.layers, conv.name); });
      REQUIRE(group != nullptr);
      CHECK(group->group.same_layer(detail::group_of(*layer)));
      REQUIRE(layer->options().config());
      CHECK(ConvChoice::of(*layer->options().config()) == group->choice);
      CHECK(group->choice.fits_plan());
      CHECK(group->refused.empty());
    }
    CHECK(test::largest_difference(output_of(net, samples[0], exec), before) < 1e-4);
  }
}

TEST_CASE_TEMPLATE("tune: choices that are said to give the same bits do", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const samples = samples_of(24, exec, test::small_sets() ? 12 : 30);
  Conv<Space> layer{nn::ConvOptions<3>(24, 40, 3).bias(true), exec};
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

TEST_CASE("tune: the fastest choice wins, at a tie things stay")
{
  Execution<Host> const exec;
  auto const chosen = [&](TuneOptions const& options, std::optional<ConvChoice> const& before = {}) {
    Net<Host> net;
    auto conv = nn::ConvOptions<3>(4, 8, 3);
    if (before) { conv.config(before->in({})); }
    auto& layer = net.add<Conv<Host>>(conv, exec);
    auto const tuning = nn::tune(net, samples_of(4, exec), options, exec);
    REQUIRE(tuning.groups.size() == 1);
    CHECK(tuning.groups[0].before == before.value_or(ConvChoice{}));
    CHECK(ConvChoice::of(layer.config()) == tuning.groups[0].choice);
    return tuning.groups[0].choice;
  };
  auto const only = [](ConvChoice const& fast, double seconds) {
    return clock_of([=](TuneTrial const& trial) { return trial.choice == fast ? seconds : 1.0; });
  };
  for (auto const& fast : {gemm(true, 1), gemm(true, 2), gemm(true, 4), gemm(false, 1), gemm(false, 3)}) {
    CAPTURE(detail::text_of(fast));
    CHECK(chosen(options_of(only(fast, 0.5))) == fast);
    CHECK(chosen(options_of(only(fast, 0.5)), gemm(false, 2)) == fast);
  }
  CHECK(chosen(options_of(only({}, 1.0))) == gemm(true, 1));
  CHECK(chosen(options_of(only({}, 1.0)).margin(0), gemm(false, 3)) == gemm(false, 3));
  CHECK(chosen(options_of(only({}, 1.0)).margin(0), gemm(true, 5)) == gemm(true, 5));

  // a gain below the margin is none
  CHECK(chosen(options_of(only(gemm(true, 3), 0.95)).margin(0.1)) == gemm(true, 1));
  CHECK(chosen(options_of(only(gemm(true, 3), 0.95)).margin(0.05)) == gemm(true, 3));

  // what waits for the host takes part when asked to, and is left when it may not
  ConvChoice const fetch{Dataflow::fetch_on_demand};
  ConvChoice const gather{Dataflow::gather_scatter};
  CHECK(chosen(options_of(only(fetch, 0.5))) == gemm(true, 1));
  CHECK(chosen(options_of(only(fetch, 0.5)).for_plan(false)) == fetch);
  CHECK(chosen(options_of(only(gather, 0.5)).for_plan(false)) == gather);
  CHECK(chosen(options_of(only(gather, 0.5)), gather).fits_plan());
  CHECK(chosen(options_of(only(gather, 0.5)).for_plan(false), gather) == gather);
}

TEST_CASE("tune: times of samples are added up")
{
  Execution<Host> const exec;
  Net<Host> net;
  net.add<Conv<Host>>(nn::ConvOptions<3>(4, 8, 3), exec);
  Samples<Host> samples;
  for (int i = 0; i < 3; ++i) { samples.push_back(samples_of(4, exec, 10 + i)[0]); }
  auto const clock = clock_of([](TuneTrial const& trial) {  // two splits win twice, three once, but by more
    if (trial.choice == gemm(true, 2)) { return trial.sample == 2 ? 1.0 : 0.8; }
    if (trial.choice == gemm(true, 3)) { return trial.sample == 2 ? 0.1 : 0.9; }
    return 1.0;
  });
  auto const tuning = nn::tune(net, samples, options_of(clock), exec);
  REQUIRE(tuning.groups.size() == 1);
  CHECK(tuning.groups[0].choice == gemm(true, 3));
  CHECK(tuning.groups[0].seconds == doctest::Approx(1.9 / 3));
  CHECK(tuning.groups[0].seconds_before == doctest::Approx(1));
}

TEST_CASE("tune: a form of a map is paid once by all groups that read it")
{
  Execution<Host> const exec;
  auto const tuned = [&](double form_seconds, int layers, bool second_group) {
    Net<Host> net;
    net.add<Conv<Host>>(nn::ConvOptions<3>(4, 4, 3), exec);
    for (int i = 1; i < layers; ++i) { net.add<Conv<Host>>(nn::ConvOptions<3>(4, 4, 3), exec); }
    if (second_group) { net.add<Conv<Host>>(nn::ConvOptions<3>(4, 8, 3), exec); }
    // each layer of the first group, and the second group's, gains 1 of 10; unsorted, the map costs nothing
    auto const clock = clock_of([=](TuneTrial const& trial) {
      bool const sorted = trial.choice == gemm(true, 1);
      auto const layer = sorted ? 9.0 : 10.0;
      bool const first = trial.group.out_channels == 4;
      switch (trial.step) {
        case TuneStep::layers: return layer * (first ? layers : 1);
        case TuneStep::layer: return layer;
        default: return layer + (sorted ? form_seconds : 0.0);
      }
    });
    ScopedConvConfig const unsorted{gemm(false, 1).in({})};
    auto const tuning = nn::tune(net, samples_of(4, exec), options_of(clock).margin(0).splits({1}), exec);
    REQUIRE(tuning.groups.size() == (second_group ? 2 : 1));
    for (auto const& group : tuning.groups) { CHECK(group.choice == tuning.groups[0].choice); }
    bool const sorted = tuning.groups[0].choice.sort;
    int const all = layers + (second_group ? 1 : 0);
    CHECK(tuning.seconds_before == doctest::Approx(10.0 * all));
    CHECK(tuning.seconds == doctest::Approx(sorted ? 9.0 * all + form_seconds : 10.0 * all));
    return sorted;
  };
  CHECK_FALSE(tuned(1.5, 1, false));
  CHECK(tuned(1.5, 2, false));
  CHECK(tuned(1.5, 1, true));  // neither group would by itself
  CHECK_FALSE(tuned(2.5, 1, true));
  CHECK(tuned(2.5, 2, true));
}

TEST_CASE("tune: the sum over groups and forms is the least of all assignments")
{
  for (std::uint32_t seed = 0; seed < 3000; ++seed) {
    CAPTURE(seed);
    std::mt19937 random{seed};
    std::uint32_t const most = seed % 2 == 0 ? 20 : 3;  // few numbers make ties
    auto const number = [&] { return static_cast<double>(random() % most); };
    std::size_t const num_forms = 1 + random() % 4;
    std::vector<double> forms;
    for (std::size_t f = 0; f < num_forms; ++f) { forms.push_back(number()); }
    std::vector<detail::ChoiceCosts> groups(1 + random() % 3);
    std::size_t assignments = 1;
    for (auto& group : groups) {
      for (std::size_t i = 0; i < 4; ++i) {
        group.seconds.push_back(random() % 6 == 0 ? detail::barred : number());
        group.form.push_back(random() % num_forms);
      }
      if (group.seconds[0] == detail::barred) { group.seconds[3] = 7; }
      assignments *= 4;
    }
    double const margin = seed % 3 == 0 ? 0 : 0.25;  // sums are exact
    std::set<std::size_t> there;
    for (auto const& group : groups) { there.insert(group.form[0]); }
    auto const cost = [&](std::vector<std::size_t> const& choices) {
      double sum = 0;
      std::set<std::size_t> used;
      for (std::size_t g = 0; g < groups.size(); ++g) {
        sum += groups[g].seconds[choices[g]] * (choices[g] == 0 ? 1 : 1 + margin);
        used.insert(groups[g].form[choices[g]]);
      }
      for (auto const f : used) { sum += forms[f] * (there.count(f) != 0 ? 1 : 1 + margin); }
      return sum;
    };
    double least = detail::barred;
    for (std::size_t a = 0; a < assignments; ++a) {
      std::vector<std::size_t> choices;
      for (std::size_t rest = a; choices.size() < groups.size(); rest /= 4) { choices.push_back(rest % 4); }
      least = std::min(least, cost(choices));
    }
    std::vector<std::size_t> const stay(groups.size(), 0);
    auto const found = detail::ChooseCosts{groups, forms, margin}.choose();
    CHECK(cost(found) == least);
    if (cost(stay) == least) { CHECK(found == stay); }
    for (std::size_t g = 0; g < groups.size(); ++g) {  // nor does a group change for nothing
      auto back = found;
      back[g] = 0;
      bool const form_is_used = std::any_of(groups.begin(), groups.end(), [&](auto const& group) {
        return group.form[found[static_cast<std::size_t>(&group - groups.data())]] == groups[g].form[0];
      });
      if (found[g] != 0 && form_is_used && cost(found) < detail::barred) { CHECK(cost(back) > cost(found)); }
    }
  }
}

TEST_CASE("tune: dozens of forms of one map can be compared")
{
  constexpr std::size_t num_forms = 30;
  for (std::uint32_t seed = 0; seed < 20; ++seed) {
    CAPTURE(seed);
    std::mt19937 random{seed};
    std::vector<double> forms;
    for (std::size_t f = 0; f < num_forms; ++f) { forms.push_back(1 + static_cast<double>(random() % 9)); }
    std::vector<detail::ChoiceCosts> groups(3);
    for (auto& group : groups) {
      for (std::size_t f = 0; f < num_forms; ++f) {
        group.seconds.push_back(static_cast<double>(random() % 50));
        group.form.push_back(f);
      }
    }
    auto const cost = [&](std::vector<std::size_t> const& choices) {
      double sum = 0;
      for (auto const f : std::set<std::size_t>{choices.begin(), choices.end()}) { sum += forms[f]; }
      for (std::size_t g = 0; g < groups.size(); ++g) { sum += groups[g].seconds[choices[g]]; }
      return sum;
    };
    double least = detail::barred;
    for (std::size_t a = 0; a < num_forms * num_forms * num_forms; ++a) {
      least = std::min(least, cost({a % num_forms, a / num_forms % num_forms, a / num_forms / num_forms}));
    }
    CHECK(cost(detail::ChooseCosts{groups, forms, 0}.choose()) == least);
  }
}

TEST_CASE("tune: choices to try begin with the one there and come to different things")
{
  auto const on_host = [](ConvChoice const&) { return std::vector<detail::KernelPlan>{{}}; };
  auto const tried = [&](int volume, ConvChoice const& before, TuneOptions const& options = {}) {
    return detail::choices_to_try(options, before, volume, on_host);
  };
  CHECK(tried(27, {}).size() == 8);
  CHECK(tried(27, {}, TuneOptions().for_plan(false)).size() == 10);
  CHECK(tried(27, gemm(true, 14)).size() == 9);
  CHECK(tried(27, gemm(true, 14))[0] == gemm(true, 14));
  CHECK(tried(1, {}) == std::vector<ConvChoice>{gemm(true, 1)});  // nothing to sort or split
  CHECK(tried(3, gemm(false, 3)).size() == 6);                    // four splits of three offsets are three
  CHECK(tried(27, {Dataflow::gather_scatter}).size() == 9);
}

TEST_CASE("tune: a choice that rounding does not explain is refused, with what it differed by")
{
  Execution<Host> const exec;
  // One output of 27 inputs of 1. Large numbers cancel around eight small ones, which are lost in one sum,
  // but not in three.
  Net<Host> net;
  auto& layer = net.add<Conv<Host>>(nn::ConvOptions<3>(1, 1, 3).stride(3), exec);
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

TEST_CASE_TEMPLATE("tune: the difference of outputs is the largest one", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  test::for_each_scalar([&](auto zero) {
    using Scalar = decltype(zero);
    auto const measure = [&](std::vector<double> const& a, std::vector<double> const& b) {
      auto const x = upload(test::rounded<Scalar>(a), exec);
      auto const y = upload(test::rounded<Scalar>(b), exec);
      return detail::measure_difference(x.data(), y.data(), x.size(), exec);
    };
    constexpr auto nan = std::numeric_limits<double>::quiet_NaN();
    constexpr auto infinite = std::numeric_limits<double>::infinity();
    std::vector<double> a(100'000, 1.0);
    auto b = a;
    CHECK(measure(a, b).most == 0);
    CHECK(measure(a, b).largest == 1);
    b[77'777] = 1.5;
    b[3] = 0.75;
    a[99'999] = b[99'999] = -8;
    CHECK(measure(a, b).most == 0.5);
    CHECK(measure(a, b).largest == 8);
    CHECK(measure({nan, infinite, -infinite, 2}, {nan, infinite, -infinite, 2}).most == 0);
    CHECK(measure({nan, infinite, -infinite, 2}, {nan, infinite, -infinite, 2}).largest == 2);
    CHECK(measure({nan}, {1}).most > 1e38);
    CHECK(measure({1}, {nan}).most > 1e38);
    CHECK(measure({infinite}, {-infinite}).most > 1e38);
    CHECK(measure({1}, {infinite}).most > 1e38);
    CHECK(measure({}, {}).most == 0);
  });
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
  auto& first = net.template add<Conv<Space>>(nn::ConvOptions<3>(4, 8, 3).compat(Compat::spconv1), exec);
  auto& second = net.template add<Conv<Space>>(nn::ConvOptions<3>(8, 8, 3).stride(2), exec);
  auto& third = net.template add<Conv<Space>>(nn::ConvOptions<3>(8, 8, 3).stride(2).config(own), exec);
  auto const samples = samples_of(4, exec);
  {
    ScopedConvConfig const scope{of_thread};
    auto const clock = clock_of([](TuneTrial const& t) { return 1.0 / t.choice.splits; });
    auto const tuning = nn::tune(net, samples, options_of(clock), exec);
    REQUIRE(tuning.groups.size() == 3);
    CHECK(tuning.groups[1].group.math == MathMode::exact);
    CHECK(tuning.groups[2].group.math == MathMode::tf32);
  }
  auto const check = [](Conv<Space> const& layer, ConvConfig const& expected, Compat compat) {
    auto const found = layer.config();
    CHECK(found.splits == 4);
    CHECK(found.kmap == expected.kmap);
    CHECK(found.downsample == expected.downsample);
    CHECK(found.math == expected.math);
    CHECK(found.compat == compat);
  };
  check(first, of_thread, Compat::spconv1);
  check(second, of_thread, Compat::none);
  check(third, own, Compat::none);
}

TEST_CASE("tune: a layer that runs at two strides is of the group of its first call; others are left alone")
{
  Execution<Host> const exec;
  struct Twice : nn::Module<3, float, Host> {
    explicit Twice(Execution<Host> const& exec)
        : shared{nn::ConvOptions<3>(4, 4, 3), exec},
          down{nn::ConvOptions<3>(4, 4, 2).stride(2), exec},
          idle{nn::ConvOptions<3>(4, 4, 3), exec},
          fixed{nn::ConvOptions<3>(4, 4, 3), exec}
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
  auto& layer = net.template add<Conv<Space>>(nn::ConvOptions<3>(4, 8, 3), exec);
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

TEST_CASE("tune: what cannot be meant is refused and changes nothing")
{
  Execution<Host> const exec;
  Net<Host> net;
  auto& layer = net.add<Conv<Host>>(nn::ConvOptions<3>(4, 8, 3), exec);
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
  auto& layer = net.template add<Conv<Space>>(nn::ConvOptions<3>(4, 8, 3), exec);
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

TEST_CASE_TEMPLATE(
    "tune: a tuning is applied by name, or by what layers do; what it does not know is reported", Space,
    TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const make = [&](int last) {
    auto net = std::make_unique<Net<Space>>();
    net->template add<Conv<Space>>(nn::ConvOptions<3>(4, 8, 3), exec);
    net->template add<Conv<Space>>(nn::ConvOptions<3>(8, 8, 3).stride(2), exec);
    net->template add<Conv<Space>>(nn::ConvOptions<3>(8, last, 3), exec);
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
        : body{std::move(of)}, idle{nn::ConvOptions<3>(4, 8, 3), exec}
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

TEST_CASE_TEMPLATE("tune: the space's clock shows longer times for more work", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const samples = samples_of(32, exec, test::small_sets() ? 16 : 100);
  Conv<Space> small{nn::ConvOptions<3>(32, 32, 1), exec};
  Conv<Space> large{nn::ConvOptions<3>(32, 256, 3), exec};
  static_cast<void>(large(samples[0], exec));
  for (bool const plan : {false, true}) {
    CAPTURE(plan);
    auto const timer = detail::make_timer(TuneOptions().for_plan(plan).repetitions(3), exec);
    auto const seconds = [&](Conv<Space>& layer) {
      return timer({}, [&] { static_cast<void>(layer(samples[0], exec)); });
    };
    auto const less = seconds(small);
    CHECK(less > 0);
    CHECK(seconds(large) > less);
  }
  CHECK_FALSE(detail::TuneBackend<Space>::name(exec).empty());
  CHECK((detail::TuneBackend<Space>::compute_capability(exec) >= 70) == std::is_same_v<Space, Device>);
}

#ifdef __CUDACC__

TEST_CASE_TEMPLATE("tune: no choice is refused in 16 bits, with the device's clock and a plan afterwards",
                   Scalar, __half, __nv_bfloat16)
{
  if (test::skipped<Device>()) { return; }
  Execution<Device> const exec{};
  using Layer = nn::Conv<3, Scalar>;
  struct ThreeConvs : nn::Sequential<3, Scalar> {
    explicit ThreeConvs(Execution<Device> const& on)
    {
      this->template add<Layer>(nn::ConvOptions<3>(16, 64, 3).bias(true), on);
      this->template add<Layer>(nn::ConvOptions<3>(64, 96, 3).stride(2), on);
      this->template add<Layer>(nn::ConvOptions<3>(96, 128, 3).bias(true), on);
    }
  };
  ThreeConvs net{exec};
  nn::fuse(net, exec);
  int const size = test::small_sets() ? 16 : 120;
  std::vector<SparseTensor<3, Scalar>> const samples{random_networks::input<3, Scalar>(size, 2, 16, exec)};
  auto const on_host = [&] {
    std::vector<float> result;
    for (auto const value : net.forward(samples[0], exec).features_on_host(exec)) {
      result.push_back(static_cast<float>(value));
    }
    return result;
  };
  auto const before = on_host();
  REQUIRE(test::magnitude(before) > 0);
  for (bool const for_plan : {true, false}) {
    CAPTURE(for_plan);
    auto const options = TuneOptions().quiet().repetitions(2).for_plan(for_plan);
    auto const tuning = nn::tune(net, samples, options, exec);
    for (auto const& conv : detail::convs_of(net)) { CHECK(conv.layer->packed(exec).values != nullptr); }
    REQUIRE(tuning.groups.size() == 3);
    for (auto const& group : tuning.groups) {
      CAPTURE(detail::text_of(group.group));
      CHECK(group.refused.empty());
      CHECK(group.seconds > 0);
      CHECK(group.seconds < 1);
    }
    CHECK(test::largest_difference(on_host(), before) <
          4 * detail::rounding_between<Scalar>(MathMode::exact));
    if (!for_plan) { break; }
    auto limits = PlanLimits().like(*samples[0].coordinates(), 1.1).channels(16);
    Plan plan{net, limits.box(samples[0].coordinates()->box()), exec};
    auto const& planned = plan.run(samples[0], exec);
    CHECK(test::same_bits(planned.features_on_host(exec),
                          net.forward(samples[0], exec).features_on_host(exec)));
    plan.check();
  }
}

#endif
