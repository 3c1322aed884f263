// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/module.hpp>

#include <cstdint>
#include <random>
#include <vector>

namespace test {

/// Puts numbers that matter into every norm: none of them 0, 1 or alike.
template <class Space>
void randomize_norms(tessera::nn::ModuleBase& net, tessera::Execution<Space> const& exec)
{
  std::mt19937 random{23};
  std::uniform_real_distribution<float> uniform{0.5F, 2.0F};
  for (auto const& parameter : net.writable_parameters()) {
    bool const of_norm = parameter.role == tessera::nn::ParameterRole::buffer ||
                         parameter.role == tessera::nn::ParameterRole::weight ||
                         parameter.role == tessera::nn::ParameterRole::bias;
    if (!of_norm) { continue; }
    std::vector<float> values(static_cast<std::size_t>(parameter.size));
    for (auto& value : values) { value = uniform(random); }
    tessera::detail::Transfer<Space>::from_host(parameter.write_bytes(), values.data(),
                                                values.size() * sizeof(float), exec);
  }
}

}  // namespace test
