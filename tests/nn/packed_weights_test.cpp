// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// Packed weights: when they are packed, what a plan holds of them, and what is out of date. The backend is a fake,
// so that all of it runs on the host.

#include "../support/files.hpp"

#include <tessera/nn/detail/packed_weights.hpp>
#include <tessera/nn/module.hpp>
#include <tessera/plan/detail/plan_weights.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

using namespace tessera;
using detail::KernelPlan;
using detail::WeightUses;

namespace {

/// Packs by adding the layout's first number; counts the calls.
struct FakeBackend {
  static inline int packings = 0;

  static std::int64_t packed_size(KernelPlan const& plan) { return plan.packed[0] == 0 ? 0 : 4; }
  static void pack(KernelPlan const& plan, WeightView<float> const& weight, float* to,
                   Execution<Host> const& /*exec*/)
  {
    ++packings;
    for (int i = 0; i < 4; ++i) { to[i] = weight.data[i] + static_cast<float>(plan.packed[0]); }
  }
};

/// A stream that is captured while `capturing`, and whose work other streams cannot be ordered after while
/// `unfinished`.
struct FakeEvent : detail::WorkEvent<Host> {
  static inline bool capturing = false;
  static inline int records = 0;

  static bool is_capturing(Execution<Host> const& /*exec*/) { return capturing; }
  void record(Execution<Host> const& /*exec*/) { ++records; }
};

using Packs = detail::PackedWeights<float, Host, FakeBackend, FakeEvent>;
using Key = Packs::Key;

constexpr Key warp{GemmKernel::warp, MathMode::exact};
constexpr Key group{GemmKernel::warpgroup, MathMode::exact};
constexpr Key pair{GemmKernel::warpgroup_pair, MathMode::exact};
constexpr Key block{GemmKernel::block, MathMode::exact};

/// A weight of four values and its packed copies: warp has layout 10, the warpgroups share 20, block has none.
struct Layer {
  explicit Layer(Execution<Host> const& on) : exec{on}, weight{{4}, on}
  {
    std::fill_n(weight.write(), 4, 1.0F);
    FakeBackend::packings = 0;
    FakeEvent::capturing = false;
    FakeEvent::records = 0;
  }

  /// The first packed value, or 0 where there is none.
  float get(Key const& key)
  {
    auto const view = packs.get(key, weight, exec, [&] {
      ++choices;
      KernelPlan plan;
      plan.kernel = key.kernel;
      plan.packed[0] = key == warp ? 10 : key == block ? 0 : 20;
      return plan;
    });
    return view.values == nullptr ? 0 : view.values[0];
  }
  std::vector<std::shared_ptr<detail::DerivedWeight<Host>>> hold(Key const& key)
  {
    WeightUses<Host> uses;
    static_cast<void>(get(key));
    return uses.take();
  }

  Execution<Host> const& exec;
  nn::Parameter<float, Host> weight;
  Packs packs;
  int choices = 0;
};

}  // namespace

TEST_CASE("packed weights: packed once per layout, and anew in place when the version has changed")
{
  Execution<Host> const exec;
  Layer layer{exec};
  CHECK(layer.get(warp) == 11);
  CHECK(layer.get(warp) == 11);
  CHECK(FakeBackend::packings == 1);
  CHECK(layer.get(group) == 21);
  CHECK(layer.get(pair) == 21);  // the same layout
  CHECK(layer.get(block) == 0);
  CHECK(FakeBackend::packings == 2);
  CHECK(FakeEvent::records == 2);
  CHECK(layer.choices == 4);
  CHECK(layer.packs.bytes() == 2 * 4 * sizeof(float));

  auto const held = layer.hold(warp);
  REQUIRE(held.size() == 1);
  layer.weight.write()[0] = 5;
  CHECK(FakeBackend::packings == 2);  // nothing happens until somebody needs it
  CHECK_FALSE(held[0]->is_current());
  CHECK(layer.get(warp) == 15);
  CHECK(held[0]->is_current());  // the same memory, so who holds it is up to date too
  CHECK(FakeBackend::packings == 3);
  CHECK(layer.get(pair) == 25);
  CHECK(layer.get(group) == 25);
  CHECK(FakeBackend::packings == 4);
  CHECK(layer.choices == 4);
}

TEST_CASE("packed weights: a write past the library is seen once it is marked")
{
  Execution<Host> const exec;
  Layer layer{exec};
  auto* const values = layer.weight.write();
  CHECK(layer.get(warp) == 11);
  values[0] = 3;
  CHECK(layer.get(warp) == 11);
  layer.weight.mark_written();
  CHECK(layer.get(warp) == 13);
}

TEST_CASE("packed weights: nothing is packed into a graph that is being captured")
{
  Execution<Host> const exec;
  Layer layer{exec};
  FakeEvent::capturing = true;
  CHECK(layer.get(warp) == 0);  // the kernel packs for itself
  CHECK(layer.packs.bytes() == 0);
  FakeEvent::capturing = false;
  CHECK(layer.get(warp) == 11);
  FakeEvent::capturing = true;
  CHECK(layer.get(warp) == 11);  // it is there already
  layer.weight.mark_written();
  WeightUses<Host> uses;
  CHECK(layer.get(warp) == 0);
  CHECK(uses.take().empty());
  CHECK(FakeBackend::packings == 1);
  FakeEvent::capturing = false;
}

TEST_CASE("packed weights: copies live as long as a plan holds them, and are shared with it")
{
  Execution<Host> const exec;
  Layer layer{exec};
  auto held = layer.hold(warp);
  std::weak_ptr<detail::DerivedWeight<Host>> const watched = held[0];
  CHECK(layer.get(pair) == 21);
  CHECK(layer.get(group) == 21);
  auto const both = 2 * 4 * sizeof(float);
  layer.packs.keep_only(group);
  CHECK(layer.packs.bytes() == both);  // warp is held
  CHECK(layer.get(warp) == 11);
  CHECK(FakeBackend::packings == 2);  // and found again
  CHECK(layer.get(pair) == 21);       // whose layout group has
  layer.packs.keep_only(pair);
  CHECK(layer.packs.bytes() == both);
  held.clear();
  CHECK_FALSE(watched.expired());
  layer.packs.keep_only(pair);
  CHECK(watched.expired());
  CHECK(layer.packs.bytes() == both / 2);
  CHECK(layer.get(pair) == 21);
  CHECK(FakeBackend::packings == 2);
}

TEST_CASE("packed weights: uses are collected on the thread that looks on, each once, innermost first")
{
  Execution<Host> const exec;
  Layer a{exec};
  Layer b{exec};
  static_cast<void>(b.get(warp));
  WeightUses<Host> outer;
  static_cast<void>(a.get(warp));
  {
    WeightUses<Host> inner;
    static_cast<void>(b.get(warp));
    static_cast<void>(b.get(warp));
    CHECK(inner.take().size() == 1);
  }
  std::thread{[&] { static_cast<void>(b.get(group)); }}.join();
  static_cast<void>(a.get(group));
  auto const found = outer.take();
  REQUIRE(found.size() == 2);
  std::vector<VariableId> ids;
  for (auto const& weight : found) { weight->append_parameters(ids); }
  CHECK(ids == std::vector<VariableId>{a.weight.id(), a.weight.id()});
}

TEST_CASE("packed weights: threads that share a layer pack once per version")
{
  Execution<Host> const exec;
  Layer layer{exec};
  for (int round = 1; round <= 20; ++round) {
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] { static_cast<void>(layer.get(warp)); });
    }
    for (auto& thread : threads) { thread.join(); }
    REQUIRE(FakeBackend::packings == round);
    layer.weight.mark_written();
  }
}

TEST_CASE("plan weights: a parameter that was written is named until it is packed anew, in place")
{
  struct Model : nn::ModuleBase {
    explicit Model(Execution<Host> const& exec) : first{exec}, second{exec}
    {
      register_parameter("stem.kernel", nn::ParameterRole::conv_weight, first.weight, {1});
      register_parameter("head.weight", nn::ParameterRole::matrix, second.weight);
    }
    Layer first;
    Layer second;
  };
  Execution<Host> const exec;
  Model model{exec};
  WeightUses<Host> uses;
  auto const* const packed = &model.first.weight;
  static_cast<void>(model.first.get(warp));
  static_cast<void>(model.second.get(warp));
  detail::PlanWeights<Host> weights{uses.take(), model};
  CHECK(weights.status().ok());

  model.second.weight.mark_written();
  auto const status = weights.status();
  CHECK(status.error == RunError::stale_parameter);
  CHECK(std::string{status.parameter} == "head.weight");
  CHECK(status.sentence() ==
        "Plan: \"head.weight\" was written since it was packed or folded; call refresh()");
  FakeEvent::capturing = true;
  CHECK(test::error_of([&] { weights.refresh(exec); }) ==
        "Plan::refresh: the stream is being captured, so \"head.weight\" cannot be read now");
  FakeEvent::capturing = false;
  auto const before = FakeBackend::packings;
  weights.refresh(exec);
  CHECK(weights.status().ok());
  CHECK(FakeBackend::packings == before + 1);  // that one alone
  CHECK(packed == &model.first.weight);

  struct Nameless {
  } const nameless;
  WeightUses<Host> more;
  static_cast<void>(model.first.get(warp));
  detail::PlanWeights<Host> const others{more.take(), nameless};
  model.first.weight.mark_written();
  CHECK(std::string{others.status().parameter} == detail::concat("parameter ", model.first.weight.id()));
  CHECK(detail::PlanWeights<Host>{}.status().ok());
}
