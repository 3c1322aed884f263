// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "../support/files.hpp"
#include "../support/spaces.hpp"

#ifdef __CUDACC__
#include <tessera/core/execution.cuh>
#include <tessera/core/scalar.cuh>
#endif
#include <tessera/io/load.hpp>
#include <tessera/nn/initialize.hpp>

namespace load_cases {

using namespace tessera;

/// Parameters alone, without the layers that would compute with them: a kernel of odd axes, one of even and
/// one of mixed ones, one of a single voxel, and others.
template <class Scalar, class Space>
class Net final : public nn::ModuleBase {
 public:
  Net(std::uint64_t seed, Execution<Space> const& exec)
      : odd{{15, 2, 3}, exec},
        even{{8, 3, 2}, exec},
        mixed{{6, 2, 2}, exec},
        pointwise{{2, 4}, exec},
        weight{{4, 5}, exec},
        statistic{{5}, exec}
  {
    for (auto* const parameter : {&odd, &even, &mixed, &pointwise, &weight}) {
      detail::fill_uniform(*parameter, 1.0, seed++, exec);
    }
    detail::fill_uniform(statistic, 1.0, seed, exec);
    register_parameter("odd.kernel", nn::ParameterRole::conv_weight, odd, {3, 5, 1});
    register_parameter("even.kernel", nn::ParameterRole::conv_weight, even, {2, 2, 2});
    register_parameter("mixed.kernel", nn::ParameterRole::conv_weight, mixed, {3, 2, 1});
    register_parameter("block.0.kernel", nn::ParameterRole::conv_weight, pointwise, {1, 1, 1});
    register_parameter("classifier.weight", nn::ParameterRole::matrix, weight);
    register_parameter("block.1.running_mean", nn::ParameterRole::buffer, statistic);
  }

  nn::Parameter<Scalar, Space> odd;
  nn::Parameter<Scalar, Space> even;
  nn::Parameter<Scalar, Space> mixed;
  nn::Parameter<Scalar, Space> pointwise;
  nn::Parameter<Scalar, Space> weight;
  nn::Parameter<float, Space> statistic;
};

/// One weight [1, 3].
template <class Scalar, class Space>
struct Row final : nn::ModuleBase {
  explicit Row(Execution<Space> const& exec) : weight{{1, 3}, exec}
  {
    register_parameter("weight", nn::ParameterRole::weight, weight);
  }
  nn::Parameter<Scalar, Space> weight;
};

template <class Space>
std::vector<std::vector<std::uint8_t>> contents(nn::ModuleBase const& module, Execution<Space> const& exec)
{
  std::vector<std::vector<std::uint8_t>> result;
  for (auto const& p : module.parameters()) {
    result.push_back(download(static_cast<std::uint8_t const*>(p.parameter->bytes()),
                              p.size * static_cast<std::int64_t>(size_of(p.dtype)), exec));
  }
  return result;
}

/// Tensors for a file, which own their values.
struct Tensors {
  template <class T>
  void add(std::string const& name, std::vector<T> const& values, std::vector<std::int64_t> const& shape)
  {
    auto const* const first = reinterpret_cast<std::uint8_t const*>(values.data());
    bytes.emplace_back(first, first + values.size() * sizeof(T));
    views.push_back({name, {detail::dtype_of<T>(), shape, nullptr, bytes.back().size()}});
  }
  void write(std::string const& path)
  {
    for (std::size_t i = 0; i < views.size(); ++i) { views[i].second.bytes = bytes[i].data(); }
    write_safetensors(path, views);
  }
  std::vector<NamedTensor> views;
  std::vector<std::vector<std::uint8_t>> bytes;
};

/// Every parameter of `module` as float32, element i being `base + i`.
inline Tensors counting(nn::ModuleBase const& module, std::string const& prefix = "")
{
  Tensors result;
  for (auto const& p : module.parameters()) {
    std::vector<float> values;
    for (std::int64_t i = 0; i < p.size; ++i) { values.push_back(static_cast<float>(i)); }
    result.add(prefix + p.name, values, detail::file_shape(p, io::Tessera{}));
  }
  return result;
}

}  // namespace load_cases
