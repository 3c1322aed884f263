// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/files.hpp"
#include "../support/memory.hpp"
#include "../support/spaces.hpp"
#include "network.hpp"

#include <tessera/train/parameter_arena.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

using namespace tessera;

namespace {

template <class Scalar, class Space>
void moves_in()
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  test::Network<Scalar, Space> net{exec};
  auto const before = download(net.kernel.data(), net.kernel.size(), exec);
  auto const version = net.kernel.version();
  auto const* const address = &net.kernel;
  train::ParameterArena<Scalar, Space> arena{net, exec};
  using Arena = train::ParameterArena<Scalar, Space>;

  // running statistics come last, the rest stays in order
  std::vector<std::string> names;
  for (auto const& segment : arena.segments()) { names.push_back(segment.name()); }
  CHECK(names == std::vector<std::string>{"conv.kernel", "conv.bias", "norm.weight", "norm.bias",
                                          "head.weight", "norm.running_mean"});
  std::int64_t end = 0;
  for (auto const& segment : arena.segments()) {
    CHECK(segment.offset % 8 == 0);
    CHECK(segment.offset >= end);
    CHECK(segment.offset - end < 8);
    end = segment.offset + segment.size();
    auto const values = test::values_of<Scalar>(segment, exec);
    CHECK(test::slice_of(std::as_const(arena).masters(), segment, exec) == values);
  }
  CHECK(arena.size() >= end);
  CHECK(arena.gradient_size() == arena.segments().back().offset);

  // values are the same, elsewhere; whoever packed them sees that they moved
  CHECK(&net.kernel == address);
  CHECK(net.kernel.version() > version);
  auto const after = download(net.kernel.data(), net.kernel.size(), exec);
  REQUIRE(after.size() == before.size());
  for (std::size_t i = 0; i < after.size(); ++i) {
    CHECK(test::as_double(after[i]) == test::as_double(before[i]));
  }
  auto const offset = arena.segments()[0].offset;
  if constexpr (Arena::has_masters) {
    CHECK(net.kernel.data() == arena.narrow() + offset);
  } else {
    CHECK(static_cast<void const*>(net.kernel.data()) == arena.masters() + offset);
  }
  CHECK(net.kernel.grad() == arena.gradients().data + offset);
  CHECK(net.norm_bias.grad() == arena.gradients().data + arena.segments()[3].offset);
  CHECK(net.norm_bias.data() == arena.masters() + arena.segments()[3].offset);
  CHECK(net.running_mean.grad() == nullptr);
}

}  // namespace

TEST_CASE_TEMPLATE("arena<Host>: parameters keep their values, their order and their address", Scalar,
                   TESSERA_TEST_SCALARS)
{
  moves_in<Scalar, Host>();
}

#ifdef __CUDACC__
TEST_CASE_TEMPLATE("arena<Device>: parameters keep their values, their order and their address", Scalar,
                   TESSERA_TEST_SCALARS)
{
  moves_in<Scalar, Device>();
}

TEST_CASE_TEMPLATE("arena: masters follow 16-bit values that were written elsewhere", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  test::Network<__half, Space> net{exec};
  train::ParameterArena<__half, Space> arena{net, exec};
  std::vector<__half> const loaded(static_cast<std::size_t>(net.bias.size()), __float2half(2.5F));
  detail::Transfer<Space>::from_host(net.bias.write(), loaded.data(), 2 * loaded.size(), exec);
  arena.follow_parameters(exec);
  CHECK(test::slice_of(std::as_const(arena).masters(), arena.segments()[1], exec) ==
        std::vector<double>(7, 2.5));

  // a master that its value is rounded from has more digits, which a write of nothing leaves
  std::vector<float> const finer(7, 2.5001F);
  detail::Transfer<Space>::from_host(arena.masters() + arena.segments()[1].offset, finer.data(), 28, exec);
  net.bias.mark_written();
  arena.follow_parameters(exec);
  CHECK(test::slice_of(std::as_const(arena).masters(), arena.segments()[1], exec) ==
        std::vector<double>(7, static_cast<double>(2.5001F)));
}
#endif

TEST_CASE_TEMPLATE("arena: one fill clears every gradient", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  test::Network<float, Space> net{exec};
  train::ParameterArena<float, Space> arena{net, exec};
  for (auto const& segment : arena.segments()) {
    if (!segment.is_trainable()) { continue; }
    test::set_gradient<float>(segment, test::random_numbers(segment.size(), 3), exec);
  }
  CHECK(download(net.head.grad(), 1, exec)[0] != 0);
  arena.zero_grad(exec);
  CHECK(download(arena.gradients().data, arena.gradient_size(), exec) ==
        std::vector<float>(static_cast<std::size_t>(arena.gradient_size()), 0.0F));
}

TEST_CASE("arena: the network may outlive it")
{
  test::CountedMemory<Host> memory;
  {
    auto const exec = memory.execution(1);
    test::Network<float, Host> net{exec};
    auto const before = download(net.head.data(), net.head.size(), exec);
    std::int64_t arena_bytes = 0;
    {
      train::ParameterArena<float, Host> const arena{net, exec};
      arena_bytes = 4 * (arena.size() + arena.gradient_size());
    }
    CHECK(memory.bytes_in_use() == arena_bytes);  // nothing else is left of the parameters
    CHECK(download(net.head.data(), net.head.size(), exec) == before);
  }
  CHECK(memory.bytes_in_use() == 0);
}

TEST_CASE("arena: a parameter that was replaced is named")
{
  Execution<Host> const exec;
  test::Network<float, Host> net{exec};
  train::ParameterArena<float, Host> arena{net, exec};
  net.bias = nn::Parameter<float, Host>{{7}, exec};
  CHECK(test::has(test::error_of([&] { arena.follow_parameters(exec); }),
                  "parameter \"conv.bias\" was replaced"));
}

TEST_CASE_TEMPLATE("arena: two of one network are refused where the first is used, by name", Scalar,
                   TESSERA_TEST_SCALARS)
{
  Execution<Host> const exec;
  test::Network<Scalar, Host> net{exec};
  train::ParameterArena<Scalar, Host> first{net, exec};
  first.follow_parameters(exec);
  train::ParameterArena<Scalar, Host> second{net, exec};
  second.follow_parameters(exec);
  CHECK(test::has(test::error_of([&] { first.follow_parameters(exec); }), "were moved to other memory"));
}

TEST_CASE("arena: no decay for norms and biases, and rules by name, the last one first")
{
  Execution<Host> const exec;
  test::Network<float, Host> net{exec};
  auto const settings = [&](train::ParameterGroups const& groups) {
    train::ParameterArena<float, Host> const arena{net, groups, exec};
    std::vector<std::vector<double>> result;  // rate, decay, trained
    for (auto const& segment : arena.segments()) {
      result.push_back({segment.rate_scale, segment.decay_scale, segment.is_trained() ? 1.0 : 0.0});
    }
    return result;
  };
  using Rows = std::vector<std::vector<double>>;
  CHECK(settings({}) == Rows{{1, 1, 1}, {1, 0, 1}, {1, 0, 1}, {1, 0, 1}, {1, 1, 1}, {1, 0, 0}});
  CHECK(settings(train::ParameterGroups{}
                     .freeze("conv")
                     .rate("head", 10)
                     .decay("norm.*", 0.5)
                     .decay("*.bias", 2)
                     .freeze("conv.bias", false)) ==
        Rows{{1, 1, 0}, {1, 2, 1}, {1, 0.5, 1}, {1, 2, 1}, {10, 1, 1}, {1, 0, 0}});
  CHECK(net.kernel.is_frozen());
  CHECK_FALSE(net.bias.is_frozen());
  CHECK(test::has(test::error_of([&] { settings(train::ParameterGroups{}.freeze("con")); }),
                  "\"con\" means none of the 6 parameters"));
  CHECK_THROWS_AS(settings(train::ParameterGroups{}.rate("norm.running_mean", 2)), invalid_argument);
  CHECK_THROWS_AS(train::ParameterGroups{}.rate("head", -1), invalid_argument);
}

TEST_CASE("arena: a pattern's star stands for any text")
{
  auto const meant = train::ParameterGroups::is_meant;
  CHECK(meant("a.b", "a.b"));
  CHECK(meant("a", "a.b.c"));
  CHECK_FALSE(meant("a", "ab"));
  CHECK_FALSE(meant("a.b", "a"));
  CHECK(meant("*", "anything"));
  CHECK(meant("*.bias", "a.b.bias"));
  CHECK_FALSE(meant("*.bias", "a.bias_of"));
  CHECK(meant("a*c*e", "abcdcde"));
  CHECK_FALSE(meant("a*c*e", "abcdcd"));
  CHECK(meant("stage*.norm", "stage1.norm.weight"));
}

TEST_CASE("arena: a network with no parameters, and a parameter that two modules share")
{
  struct Module final : nn::ModuleBase {
    void share(nn::ParameterBase& parameter)
    {
      register_parameter("first", nn::ParameterRole::matrix, parameter);
      register_parameter("second", nn::ParameterRole::matrix, parameter);
    }
  };
  Execution<Host> const exec;
  Module empty;
  train::ParameterArena<float, Host> none{empty, exec};
  CHECK(none.size() == 0);
  none.zero_grad(exec);
  none.follow_parameters(exec);

  Module tied;
  nn::Parameter<float, Host> shared{{3, 3}, exec};
  tied.share(shared);
  train::ParameterArena<float, Host> const arena{tied, exec};
  CHECK(arena.segments().size() == 1);
  CHECK(arena.size() == 16);
}

TEST_CASE("arena: a type that it does not hold is named")
{
  Execution<Host> const exec;
  test::Network<double, Host> net{exec};
  CHECK(test::has(test::error_of([&] { train::ParameterArena<float, Host>(net, exec); }),
                  "parameter \"conv.kernel\" holds float64"));
}
