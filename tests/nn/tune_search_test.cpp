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
#include <limits>
#include <random>
#include <set>
#include <vector>

using namespace tessera;
using namespace tune_cases;
using nn::ConvChoice;
using nn::TuneStep;
using nn::TuneTrial;
using tessera::TuneOptions;

TEST_CASE("tune: the fastest choice wins, at a tie things stay")
{
  Execution<Host> const exec;
  auto const chosen = [&](TuneOptions const& options, std::optional<ConvChoice> const& before = {}) {
    Net<Host> net;
    auto conv = ConvOptions<3>(4, 8, 3);
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
  net.add<Conv<Host>>(ConvOptions<3>(4, 8, 3), exec);
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
    net.add<Conv<Host>>(ConvOptions<3>(4, 4, 3), exec);
    for (int i = 1; i < layers; ++i) { net.add<Conv<Host>>(ConvOptions<3>(4, 4, 3), exec); }
    if (second_group) { net.add<Conv<Host>>(ConvOptions<3>(4, 8, 3), exec); }
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

TEST_CASE_TEMPLATE("tune: the space's clock shows longer times for more work", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const samples = samples_of(32, exec, test::small_sets() ? 16 : 100);
  Conv<Space> small{ConvOptions<3>(32, 32, 1), exec};
  Conv<Space> large{ConvOptions<3>(32, 256, 3), exec};
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
      this->template add<Layer>(ConvOptions<3>(16, 64, 3).bias(true), on);
      this->template add<Layer>(ConvOptions<3>(64, 96, 3).stride(2), on);
      this->template add<Layer>(ConvOptions<3>(96, 128, 3).bias(true), on);
    }
  };
  ThreeConvs net{exec};
  int const size = test::small_sets() ? 16 : 120;
  std::vector<SparseTensor<3, Scalar>> const samples{random_networks::input<3, Scalar>(size, 2, 16, exec)};
  auto fused = nn::fuse(net, samples[0], exec);
  auto const on_host = [&] {
    std::vector<float> result;
    for (auto const value : fused.forward(samples[0], exec).features_on_host(exec)) {
      result.push_back(static_cast<float>(value));
    }
    return result;
  };
  auto const before = on_host();
  REQUIRE(test::magnitude(before) > 0);
  for (bool const for_plan : {true, false}) {
    CAPTURE(for_plan);
    auto const options = TuneOptions().quiet().repetitions(2).for_plan(for_plan);
    auto const tuning = nn::tune(fused, samples, options, exec);
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
    Plan plan{fused, limits.box(samples[0].coordinates()->box()), exec};
    auto const& planned = plan.run(samples[0], exec);
    CHECK(test::same_bits(planned.features_on_host(exec),
                          fused.forward(samples[0], exec).features_on_host(exec)));
    plan.check();
  }
}
#endif
