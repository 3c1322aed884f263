// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/parameter.hpp>

#include <type_traits>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

template <class Model, class = void>
struct NamesParameters : std::false_type {};
template <class Model>
struct NamesParameters<Model, std::void_t<decltype(std::declval<Model const&>().parameters())>>
    : std::is_convertible<decltype(std::declval<Model const&>().parameters()),
                          std::vector<nn::ParameterView>> {};

/// `model.parameters()`, or none where the model has no such member.
template <class Model>
[[nodiscard]] std::vector<nn::ParameterView> parameters_of([[maybe_unused]] Model const& model)
{
  if constexpr (NamesParameters<Model>::value) {
    return model.parameters();
  } else {
    return {};
  }
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
