// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/parameter.hpp>

#include <map>
#include <string>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// The names of layers by the ids of their parameters.
[[nodiscard]] inline std::map<VariableId, std::string> layers_by_parameter(
    std::vector<nn::ParameterView> const& parameters)
{
  std::map<VariableId, std::string> result;
  for (auto const& view : parameters) {
    auto const end = view.name.rfind('.');
    result[view.parameter->id()] = end == std::string::npos ? std::string{} : view.name.substr(0, end);
  }
  return result;
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
