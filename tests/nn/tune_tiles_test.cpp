// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// The choice of tiles: which are tried, what a layer keeps for them, and what they give on the device.

#include "../models/random_networks.hpp"
#include "../support/difference.hpp"
#include "../support/memory.hpp"
#include "../support/small.hpp"
#include "tensors.hpp"

#ifdef __CUDACC__
#include <tessera/conv/convolution_kernels.cuh>
#include <tessera/nn/detail/tune_backend.cuh>
#include <tessera/plan/plan.cuh>
#endif
#include <tessera/conv/detail/convolution_host.hpp>
#include <tessera/nn/sequential.hpp>
#include <tessera/nn/tune.hpp>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

using namespace tessera;
using detail::KernelPlan;
using nn::ConvChoice;
using nn::TuneStep;
using nn::TuneTrial;
using tessera::TuneOptions;

namespace {

constexpr auto gemm = Dataflow::implicit_gemm;

TuneOptions options_of(nn::TuneTimer timer)
{
  return TuneOptions().quiet().repetitions(1).timer(std::move(timer));
}

}  // namespace

TEST_CASE("tune: the kernel is part of a choice that is an implicit GEMM")
{
  ConvChoice const pair{gemm, true, 1, GemmKernel::warpgroup_pair};
  CHECK(pair != ConvChoice{});
  CHECK(pair.in({}).kernel == GemmKernel::warpgroup_pair);
  CHECK(ConvChoice::of(pair.in({})) == pair);
  CHECK(ConvChoice{Dataflow::gather_scatter, true, 1, GemmKernel::warp} ==
        ConvChoice{Dataflow::gather_scatter});
  CHECK(detail::text_of(pair) == "sorted, 1 split, kernel warpgroup_pair");
  CHECK(detail::text_of(ConvChoice{}) == "sorted, 1 split");
  CHECK(detail::effective_choice({gemm, true, 3, GemmKernel::warp}, 1) ==
        ConvChoice{gemm, false, 1, GemmKernel::warp});
}

TEST_CASE("tune: kernels are tried sorted and unsorted in one split, where they come to something else")
{
  // A device where few rows of one split are shared, and that lacks the warp kernel if told so.
  auto const tried = [](TuneOptions const& options, ConvChoice const& before = {}, bool has_warp = true) {
    return detail::choices_to_try(options, before, 27, [&](ConvChoice const& choice) {
      auto const own = choice.splits == 1 ? GemmKernel::warpgroup_pair : GemmKernel::warpgroup;
      auto tiles = choice.kernel == GemmKernel::automatic ? own : choice.kernel;
      if (tiles == GemmKernel::warp && !has_warp) { tiles = GemmKernel::block; }
      return std::vector<KernelPlan>{{tiles, tiles == GemmKernel::block ? 64 : 16}};
    });
  };
  auto const tiles_of = [](std::vector<ConvChoice> const& choices) {
    std::vector<GemmKernel> result;
    for (auto const& choice : choices) {
      if (choice.kernel != GemmKernel::automatic) {
        CHECK(choice.splits == 1);
        result.push_back(choice.kernel);
      }
    }
    return result;
  };
  using Tiles = std::vector<GemmKernel>;
  auto const block = GemmKernel::block;
  auto const warp = GemmKernel::warp;
  auto const alone = GemmKernel::warpgroup;
  auto const all = tried({});
  CHECK(all.size() == 14);
  CHECK(tiles_of(all) == Tiles{block, block, warp, warp, alone, alone});
  CHECK(std::count(all.begin(), all.end(), ConvChoice{gemm, false, 1, block}) == 1);
  CHECK(tiles_of(tried({}, {}, false)) == Tiles{block, block, alone, alone});
  CHECK(tiles_of(tried(TuneOptions().kernels({GemmKernel::automatic}))) == Tiles{});
  CHECK(tried(TuneOptions().kernels({warp})).size() == 3);

  // What is there takes the place of what comes to the same.
  auto const shared = tried({}, {gemm, true, 1, GemmKernel::warpgroup_pair});
  CHECK(shared.size() == 14);
  CHECK(std::count(shared.begin(), shared.end(), ConvChoice{}) == 0);
}

TEST_CASE("tune: the host has the automatic kernel alone, whatever is asked for")
{
  Execution<Host> const exec;
  nn::Sequential<3, float, Host> net;
  auto& layer = net.add<nn::Conv<3, float, Host>>(ConvOptions<3>(4, 8, 3), exec);
  int trials = 0;
  auto const timer = [&](TuneTrial const& trial, std::function<void()> const& work) {
    work();
    CHECK(trial.choice.kernel == GemmKernel::automatic);
    ++trials;
    return trial.choice.sort ? 2.0 : 1.0;
  };
  std::vector<SparseTensor<3, float, Host>> const samples{random_networks::input<3>(12, 1, 4, exec)};
  auto const tuning =
      nn::tune(net, samples, options_of(timer).kernels({GemmKernel::block, GemmKernel::warp}), exec);
  CHECK(trials > 2);
  CHECK(tuning.groups[0].choice == ConvChoice{gemm, false, 1});
  CHECK(layer.config().kernel == GemmKernel::automatic);
  CHECK(test::error_of([&] { nn::tune(net, samples, TuneOptions().quiet().kernels({}), exec); }) ==
        "tune: no kernels to try; GemmKernel::automatic at least");
}

TEST_CASE("tune: choices that read a map in other tiles pay for another form of it")
{
  std::set<std::string> forms;
  for (auto const& choice : {ConvChoice{gemm, true, 1}, {gemm, false, 1}, {gemm, true, 2}}) {
    for (int const rows : {16, 64}) { forms.insert(detail::form_of(choice, 27, rows)); }
  }
  forms.insert(detail::form_of({Dataflow::gather_scatter}, 27, 16));
  CHECK(forms.size() == 7);
  CHECK(detail::form_of({gemm, true, 1, GemmKernel::warp}, 27, 16) ==
        detail::form_of({gemm, true, 1, GemmKernel::warpgroup}, 27, 16));
  CHECK(detail::form_of({gemm, true, 1}, 1, 16) == detail::form_of({gemm, false, 3}, 1, 16));
  CHECK(detail::form_of({gemm, true, 1}, 1, 0) == "none");  // every row reads itself
}

TEST_CASE_TEMPLATE("tune: a tuning's kernels are applied", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  nn::Sequential<3, float, Space> net;
  auto& layer = net.template add<nn::Conv<3, float, Space>>(ConvOptions<3>(4, 8, 3), exec);
  std::vector<SparseTensor<3, float, Space>> const samples{random_networks::input<3>(12, 1, 4, exec)};
  auto const timer = [](TuneTrial const&, std::function<void()> const& work) {
    work();
    return 1.0;
  };
  auto tuning = nn::tune(net, samples, options_of(timer), exec);
  tuning.groups[0].choice.kernel = GemmKernel::warp;
  static_cast<void>(nn::apply_tuning(net, tuning, exec));
  CHECK(layer.config().kernel == GemmKernel::warp);
  tuning.groups[0].choice.kernel = GemmKernel::block;
  static_cast<void>(nn::apply_tuning(net, tuning, samples[0], exec));
  CHECK(layer.config().kernel == GemmKernel::block);
}

#ifdef __CUDACC__

namespace {

constexpr GemmKernel all_tiles[] = {GemmKernel::automatic, GemmKernel::block, GemmKernel::warp,
                                    GemmKernel::warpgroup, GemmKernel::warpgroup_pair};

template <class Scalar>
struct TwoConvs : nn::Sequential<3, Scalar> {
  using Layer = nn::Conv<3, Scalar>;
  using Tensor = SparseTensor<3, Scalar>;

  explicit TwoConvs(Execution<Device> const& exec)
  {
    ConvConfig config;
    config.math = MathMode::tf32;  // of float
    this->template add<Layer>(ConvOptions<3>(32, 96, 3).bias(true).config(config), exec);
    this->template add<Layer>(ConvOptions<3>(96, 64, 1).bias(true).config(config), exec);
  }
  [[nodiscard]] Layer& layer(std::size_t i) { return dynamic_cast<Layer&>((*this)[i]); }
};

template <class Scalar>
std::vector<SparseTensor<3, Scalar>> samples_of(Execution<Device> const& exec)
{
  return {random_networks::input<3, Scalar>(test::small_sets() ? 16 : 60, 2, 32, exec)};
}

}  // namespace

TEST_CASE_TEMPLATE(
    "tune on the device: a tuned layer gives the bits of another one in the same tiles, packed for them",
    Scalar, __half, __nv_bfloat16, float)
{
  if (test::skipped<Device>()) { return; }
  Execution<Device> const exec{};
  auto const samples = samples_of<Scalar>(exec);
  for (auto const tiles : all_tiles) {
    std::string const name = detail::name_of(tiles);
    CAPTURE(name);
    TwoConvs<Scalar> plain{exec};
    TwoConvs<Scalar> tuned{exec};
    std::set<int> tried;  // groups, by input channels: what is carried out as another choice is is not
    auto const timer = [&](TuneTrial const& trial, std::function<void()> const& work) {
      work();
      if (trial.choice.kernel == tiles) { tried.insert(trial.group.in_channels); }
      return trial.choice.kernel == tiles && trial.choice.splits == 1 ? 1.0 : 2.0;
    };
    auto const tuning = nn::tune(tuned, samples, options_of(timer), exec);
    REQUIRE(tuning.groups.size() == 2);
    for (std::size_t i = 0; i < 2; ++i) {
      CAPTURE(i);
      CHECK(tuning.groups[i].refused.empty());
      auto config = plain.layer(i).config();
      bool const is_tried = tried.count(plain.layer(i).options().in_channels) != 0;
      config.kernel = is_tried ? tiles : tuned.layer(i).config().kernel;
      plain.layer(i).options().config(config);
      // Another name for what is carried out alike may stand in the layer, never another kernel.
      TwoConvs<Scalar> fresh{exec};
      fresh.layer(i).options().config(tuned.layer(i).config());
      CHECK(tuned.layer(i).packed(exec).layout == fresh.layer(i).packed(exec).layout);
    }
    CHECK(test::same_bits(tuned.forward(samples[0], exec).features_on_host(exec),
                          plain.forward(samples[0], exec).features_on_host(exec)));
  }
}

/// The device's memory; from `spoil()` on, what is given back holds NaNs.
class SpoiledMemory final : public MemoryResource {
 public:
  void* allocate(std::size_t bytes, StreamHandle stream) override
  {
    in_use_ += bytes;
    return next_.allocate(bytes, stream);
  }
  void deallocate(void* pointer, std::size_t bytes, StreamHandle stream) noexcept override
  {
    in_use_ -= bytes;
    if (spoils_) {
      static_cast<void>(cudaMemsetAsync(pointer, 0xff, bytes, static_cast<cudaStream_t>(stream)));
    }
    next_.deallocate(pointer, bytes, stream);
  }
  void spoil() { spoils_ = true; }
  [[nodiscard]] std::size_t bytes_in_use() const { return in_use_; }

 private:
  MemoryResource& next_ = Execution<Device>{}.memory();
  std::size_t in_use_ = 0;
  bool spoils_ = false;
};

TEST_CASE_TEMPLATE("tune on the device: a plan made before gives the same bits after", Scalar, __half, float)
{
  if (test::skipped<Device>()) { return; }
  SpoiledMemory memory;
  Execution<Device> const exec{nullptr, &memory};
  auto const x = samples_of<Scalar>(exec)[0];
  TwoConvs<Scalar> net{exec};
  static_cast<void>(net.forward(x, exec));
  auto const limits =
      PlanLimits().like(*x.coordinates(), 1.1).channels(x.channels()).grid(SpatialRange<3>{2, {64, 64, 64}});
  Plan<TwoConvs<Scalar>> plan(net, limits, exec);
  auto const result = [&] {
    auto const& y = plan.run(x, exec);
    exec.wait();
    plan.check();
    return y.features_on_host(exec);
  };
  auto const before = result();
  memory.spoil();
  std::size_t in_use = 0;
  for (int round = 0; round < 3; ++round) {  // there, back, and there again
    for (auto const tiles : all_tiles) {
      auto config = net.layer(0).config();
      config.kernel = tiles;
      for (std::size_t i = 0; i < 2; ++i) { net.layer(i).configure(config, exec); }
      CHECK(test::same_bits(result(), before));
    }
    if (round > 0) { CHECK((round == 1 || memory.bytes_in_use() == in_use)); }  // layouts are not kept twice
    in_use = memory.bytes_in_use();
  }
}

TEST_CASE_TEMPLATE("tune on the device: layers are timed with weights packed for the tiles", Scalar, __half,
                   float)
{
  if (test::skipped<Device>()) { return; }
  test::CountedMemory<Device> memory;
  auto const exec = memory.execution(1);
  auto const samples = samples_of<Scalar>(exec);
  for (int const variant : {0, 1, 2, 3}) {
    bool const is_fused = variant % 2 != 0;
    CAPTURE(is_fused);
    TwoConvs<Scalar> net{exec};
    for (std::size_t i = 0; variant >= 2 && i < 2;
         ++i) {  // of one offset there is one split, whatever is said
      net.layer(i).options().config(with_conv_mode(net.layer(i).config(), 2));
    }
    std::int64_t most = 0;
    auto const timer = [&](TuneTrial const& trial, std::function<void()> const& work) {
      work();
      int const volume = trial.group.kernel_size[0] == 1 ? 1 : 27;
      if (trial.step == TuneStep::layers && trial.choice.fits_plan() &&
          detail::effective_choice(trial.choice, volume).splits == 1) {
        auto const before = memory.allocations();
        work();
        most = std::max(most, memory.allocations() - before);
      }
      return 1.0;
    };
    if (is_fused) {
      auto fused = nn::fuse(net, samples[0], exec);
      static_cast<void>(nn::tune(fused, samples, options_of(timer), exec));
    } else {
      static_cast<void>(nn::tune(net, samples, options_of(timer), exec));
    }
    CHECK(most == 0);  // else the timed calls would pack
  }
}

#endif
