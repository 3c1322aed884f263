// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// A small model, its input, and what a refused call says.

#include "differentiated.hpp"

#include <tessera/nn/conv.hpp>

#include <string>
#include <vector>

namespace tape_cases {

using namespace tessera;
using namespace differentiated;

template <class Space>
using Tensor = SparseTensor<3, float, Space>;

template <class Space>
Tensor<Space> input_tensor(int channels, Execution<Space> const& exec, int count = 30)
{
  auto const rows = test::small_grid<3>(count);
  auto const values = test::random_values(rows.size() * static_cast<std::size_t>(channels), 1);
  return {make_coordinate_set(rows, CoordinateSetOptions<3>{}, exec),
          upload_matrix(test::rounded<float>(values), channels, exec)};
}

template <class Space>
std::vector<float> ones(Tensor<Space> const& x)
{
  return std::vector<float>(static_cast<std::size_t>(x.features().size()), 1.0F);
}

/// Two convolutions with an activation between: a model that is no module.
template <class Space>
struct Network {
  using Tensor = SparseTensor<3, float, Space>;

  explicit Network(Execution<Space> const& exec)
      : first{ConvOptions<3>(4, 8, 3).bias(true), exec}, second{ConvOptions<3>(8, 2, 3), exec}
  {}

  [[nodiscard]] Tensor forward(Tensor const& x, Execution<Space> const& exec)
  {
    return second(relu(first(x, exec), exec), exec);
  }
  [[nodiscard]] std::vector<nn::WritableParameter> writable_parameters(std::string const& prefix = {})
  {
    auto result = first.writable_parameters(prefix + "first.");
    for (auto& parameter : second.writable_parameters(prefix + "second.")) { result.push_back(parameter); }
    return result;
  }

  nn::Conv<3, float, Space> first;
  nn::Conv<3, float, Space> second;
};

template <class Scalar, class Space>
std::vector<Scalar> grad_of(nn::Parameter<Scalar, Space> const& parameter, Execution<Space> const& exec)
{
  return download(parameter.grad(), parameter.grad() != nullptr ? parameter.size() : 0, exec);
}

template <class Space>
auto uploaded_ones(Tensor<Space> const& x, Execution<Space> const& exec)
{
  return upload_matrix(ones(x), x.channels(), exec);
}

/// The sentence that `run()` throws.
template <class Run>
std::string error_of(Run const& run)
{
  try {
    run();
  } catch (invalid_argument const& error) {
    return error.what();
  }
  return "";
}

inline bool says(std::string const& sentence, char const* part)
{
  return sentence.find(part) != std::string::npos;
}

}  // namespace tape_cases
