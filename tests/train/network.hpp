// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// A network of each kind of parameter, of awkward sizes, and gradients for it.

#include "../support/device.hpp"

#ifdef __CUDACC__
#include <tessera/core/detail/work_event.cuh>
#endif
#include <tessera/nn/module.hpp>
#include <tessera/train/parameter_arena.hpp>

#include <cstdint>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace test {

template <class T>
T as_scalar(double value)
{
  if constexpr (std::is_same_v<T, double>) {
    return value;
  } else {
    return static_cast<T>(static_cast<float>(value));
  }
}

template <class T>
double as_double(T value)
{
  return static_cast<double>(static_cast<tessera::accumulator_t<T>>(value));
}

inline std::vector<double> random_numbers(std::int64_t count, std::uint32_t seed, double scale = 1)
{
  std::mt19937 random{seed};
  std::normal_distribution<double> normal{0, scale};
  std::vector<double> result(static_cast<std::size_t>(count));
  for (auto& value : result) { value = normal(random); }
  return result;
}

/// conv.kernel [3, 5, 7], conv.bias [7], head.weight [7, 3] of Scalar; norm.weight, norm.bias [7] and norm.running_mean
/// [7] of Sum, in this order: a kernel, a bias, a norm, a matrix.
template <class Scalar, class Space>
class Network final : public tessera::nn::ModuleBase {
 public:
  using Sum = tessera::accumulator_t<Scalar>;
  template <class T>
  using Parameter = tessera::nn::Parameter<T, Space>;

  explicit Network(tessera::Execution<Space> const& exec, std::uint32_t seed = 1)
      : kernel{{3, 5, 7}, exec},
        bias{{7}, exec},
        norm_weight{{7}, exec},
        norm_bias{{7}, exec},
        running_mean{{7}, exec},
        head{{7, 3}, exec}
  {
    using Role = tessera::nn::ParameterRole;
    add("conv.kernel", Role::conv_weight, kernel, seed, exec, {3, 1, 1});
    add("conv.bias", Role::bias, bias, seed + 1, exec);
    add("norm.weight", Role::weight, norm_weight, seed + 2, exec);
    add("norm.bias", Role::bias, norm_bias, seed + 3, exec);
    add("norm.running_mean", Role::buffer, running_mean, seed + 4, exec);
    add("head.weight", Role::matrix, head, seed + 5, exec);
  }

  Parameter<Scalar> kernel;
  Parameter<Scalar> bias;
  Parameter<Sum> norm_weight;
  Parameter<Sum> norm_bias;
  Parameter<Sum> running_mean;
  Parameter<Scalar> head;

 private:
  template <class T>
  void add(std::string name, tessera::nn::ParameterRole role, Parameter<T>& parameter, std::uint32_t seed,
           tessera::Execution<Space> const& exec, std::vector<int> kernel_size = {})
  {
    std::vector<T> values;
    for (auto const value : random_numbers(parameter.size(), seed)) { values.push_back(as_scalar<T>(value)); }
    tessera::detail::Transfer<Space>::from_host(parameter.write(), values.data(), values.size() * sizeof(T),
                                                exec);
    register_parameter(std::move(name), role, parameter, std::move(kernel_size));
  }
};

/// The values of a parameter of any type, as doubles.
template <class Scalar, class Space>
std::vector<double> values_of(tessera::train::ParameterSegment const& segment,
                              tessera::Execution<Space> const& exec)
{
  using Sum = tessera::accumulator_t<Scalar>;
  std::vector<double> result;
  auto const take = [&](auto const* from) {
    for (auto const value : tessera::download(from, segment.size(), exec)) {
      result.push_back(as_double(value));
    }
  };
  if (segment.parameter.dtype == tessera::ScalarTraits<Scalar>::dtype) {
    take(segment.parameter.template as<Scalar, Space>().data());
  } else {
    take(segment.parameter.template as<Sum, Space>().data());
  }
  return result;
}

/// What lies in an array of the arena at a segment.
template <class T, class Space>
std::vector<double> slice_of(T const* array, tessera::train::ParameterSegment const& segment,
                             tessera::Execution<Space> const& exec)
{
  std::vector<double> result;
  for (auto const value : tessera::download(array + segment.offset, segment.size(), exec)) {
    result.push_back(as_double(value));
  }
  return result;
}

/// Writes gradients into the parameters as backward does, for all or only the trained ones.
template <class Scalar, class Space>
void set_gradient(tessera::train::ParameterSegment const& segment, std::vector<double> const& gradient,
                  tessera::Execution<Space> const& exec)
{
  using Sum = tessera::accumulator_t<Scalar>;
  std::vector<Sum> values;
  for (auto const value : gradient) { values.push_back(static_cast<Sum>(value)); }
  Sum* to = nullptr;
  if (segment.parameter.dtype == tessera::ScalarTraits<Scalar>::dtype) {
    to = segment.parameter.template as<Scalar, Space>().grad(exec);
  } else {
    to = segment.parameter.template as<Sum, Space>().grad(exec);
  }
  tessera::detail::Transfer<Space>::from_host(to, values.data(), values.size() * sizeof(Sum), exec);
}

}  // namespace test
