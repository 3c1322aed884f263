// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// Which network a recorded file holds, and of what size: all of it stands in the file's metadata.

#include "../support/golden.hpp"

#include <tessera/models/minkunet.hpp>
#include <tessera/models/sparse_resnet21d.hpp>
#include <tessera/models/sparse_resunet42.hpp>

#include <cstdint>
#include <string>

namespace recorded_network {

namespace ts = tessera;

inline double number(ts::detail::Json const& config, char const* key)
{
  auto const* const value = config.find(key);
  REQUIRE(value != nullptr);
  auto const* const integer = value->get<std::int64_t>();
  return integer != nullptr ? static_cast<double>(*integer) : *value->get<double>();
}

inline int integer(ts::detail::Json const& config, char const* key)
{
  return static_cast<int>(number(config, key));
}

inline std::string model(ts::detail::Json const& config)
{
  return *config.find("model")->get<std::string>();
}

/// Calls `use(network)` with the network that `config` describes, its layers configured as `conv` says.
template <class Scalar, class Space, class Use>
void with_network(ts::detail::Json const& config, ts::ConvConfig const& conv,
                  ts::Execution<Space> const& exec, Use const& use)
{
  auto const in_channels = integer(config, "in_channels");
  auto const width = number(config, "width");
  auto const backbone = ts::BackboneOptions(in_channels).width(width).config(conv);
  if (model(config) == "MinkUNet") {
    auto const classes = integer(config, "num_classes");
    ts::models::MinkUNet<3, Scalar, Space> network{
        ts::MinkUNetOptions(in_channels, classes).width(width).config(conv), exec};
    use(network);
  } else if (model(config) == "SparseResNet21D") {
    ts::models::SparseResNet21D<3, Scalar, Space> network{backbone, exec};
    use(network);
  } else {
    REQUIRE(model(config) == "SparseResUNet42");
    ts::models::SparseResUNet42<3, Scalar, Space> network{backbone, exec};
    use(network);
  }
}

}  // namespace recorded_network
