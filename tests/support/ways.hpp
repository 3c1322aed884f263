// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/config.hpp>

#include <vector>

namespace test {

/// A configuration with the name that failures show.
struct NamedConfig {
  char const* name;
  tessera::ConvConfig config;
};

/// Every dataflow and conv mode, on top of `base`.
inline std::vector<NamedConfig> every_way(tessera::ConvConfig const& base)
{
  auto gather = base;
  gather.dataflow = tessera::Dataflow::gather_scatter;
  auto fetch = base;
  fetch.dataflow = tessera::Dataflow::fetch_on_demand;
  return {{"mode 0", with_conv_mode(base, 0)},
          {"mode 1", with_conv_mode(base, 1)},
          {"mode 2", with_conv_mode(base, 2)},
          {"gather-scatter", gather},
          {"fetch-on-demand", fetch}};
}

}  // namespace test
