// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include <tessera/conv/config.hpp>

#include <doctest/doctest.h>

#include <thread>

using namespace tessera;

TEST_CASE(
    "conv config: starts as implicit GEMM in mode 1, automatic tiles, hashmap_on_the_fly, spconv, exact")
{
  ConvConfig const config;
  CHECK(config.dataflow == Dataflow::implicit_gemm);
  CHECK(config.sort);
  CHECK(config.splits == 1);
  CHECK(config.kernel == GemmKernel::automatic);
  CHECK(config.kmap == KmapMode::hashmap_on_the_fly);
  CHECK(config.downsample == DownsampleMode::spconv);
  CHECK(config.math == MathMode::exact);
  CHECK(config.compat == Compatibility::none);
}

TEST_CASE("conv config: each mode sets all that it means, whatever mode was set before")
{
  ScopedConvConfig const scope{ConvConfig{}};
  for (int before : {0, 1, 2}) {
    for (int mode : {0, 1, 2}) {
      CAPTURE(before);
      CAPTURE(mode);
      set_conv_mode(before);
      set_conv_mode(mode);
      CHECK(thread_conv_config().sort == (mode > 0));
      CHECK(thread_conv_config().splits == (mode == 2 ? 3 : 1));
    }
  }
}

TEST_CASE("conv config: modes that do not exist are refused with those that do, and nothing changes")
{
  ScopedConvConfig const scope{ConvConfig{}};
  CHECK_THROWS_WITH_AS(set_conv_mode(3), "conv mode 3 does not exist; choose 0, 1 or 2", invalid_argument);
  CHECK_THROWS_WITH_AS(set_conv_mode(-1), "conv mode -1 does not exist; choose 0, 1 or 2", invalid_argument);
  CHECK_THROWS_WITH_AS(set_kmap_mode("grid"),
                       "kmap mode \"grid\" does not exist; choose \"hashmap_on_the_fly\" or \"hashmap\"",
                       invalid_argument);
  CHECK_THROWS_WITH_AS(set_downsample_mode(""),
                       "downsample mode \"\" does not exist; choose \"spconv\" or \"minkowski\"",
                       invalid_argument);
  CHECK(thread_conv_config().sort);
  CHECK(thread_conv_config().kmap == KmapMode::hashmap_on_the_fly);
  CHECK(thread_conv_config().downsample == DownsampleMode::spconv);
}

TEST_CASE("conv config: belongs to its thread, and a scope puts back what was there")
{
  ScopedConvConfig const outer{with_conv_mode(ConvConfig{}, 2)};
  {
    ConvConfig config;
    config.kmap = KmapMode::hashmap;
    ScopedConvConfig const inner{config};
    CHECK(thread_conv_config().kmap == KmapMode::hashmap);
    CHECK(thread_conv_config().splits == 1);
  }
  CHECK(thread_conv_config().kmap == KmapMode::hashmap_on_the_fly);
  CHECK(thread_conv_config().splits == 3);
  int splits_elsewhere = 0;
  std::thread{[&] {
    splits_elsewhere = thread_conv_config().splits;
    set_conv_mode(0);
  }}.join();
  CHECK(splits_elsewhere == 1);
  CHECK(thread_conv_config().splits == 3);
}
