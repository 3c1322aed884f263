// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "../support/data.hpp"
#include "../support/files.hpp"
#include "../support/state_dicts.hpp"

#include <tessera/io/convert.hpp>
#include <tessera/io/load.hpp>
#include <tessera/nn/initialize.hpp>

#include <doctest/doctest.h>

#include <cstring>
#include <list>
#include <memory>
#include <string>
#include <vector>

namespace convert_cases {

using namespace tessera;
using io::WeightLayout;
using test::Made;

/// The layout and the reason that the converter gives for each kernel, by name.
inline std::map<std::string, std::pair<std::string, std::string>> layouts(Made const& made,
                                                                          ConvertOptions const& options = {})
{
  std::map<std::string, std::pair<std::string, std::string>> result;
  for (auto const& line : io::convert_checkpoint(made.state, "f", options).report) {
    result[line.from] = {line.layout, line.reason};
  }
  return result;
}

inline std::string error(Made const& made, ConvertOptions const& options = {})
{
  auto const sentence =
      test::error_of([&] { static_cast<void>(io::convert_checkpoint(made.state, "f", options)); });
  std::string const beginning = "convert_checkpoint: f: ";
  return sentence.rfind(beginning, 0) == 0 ? sentence.substr(beginning.size()) : sentence;
}

/// Parameters named as a sparse encoder of mmdetection3d has them: kernels of several sizes, one of a single
/// voxel, biases and norms.
class Encoder final : public nn::ModuleBase {
 public:
  Encoder(std::uint64_t seed, std::string const& kernel_name, Execution<Host> const& exec)
  {
    kernel("conv_input.0", kernel_name, {3, 3, 3}, 4, 8, seed, exec);
    norm("conv_input.1", 8, seed, exec);
    kernel("layer1.conv1", kernel_name, {3, 3, 3}, 8, 8, seed, exec);
    norm("layer1.bn1", 8, seed, exec);
    kernel("layer1.downsample.0", kernel_name, {1, 1, 1}, 8, 12, seed, exec);
    norm("layer1.downsample.1", 12, seed, exec);
    kernel("up.0", kernel_name, {2, 2, 2}, 12, 6, seed, exec);
    norm("up.1", 6, seed, exec);
    kernel("conv_out.0", kernel_name, {3, 1, 1}, 6, 6, seed, exec);
    norm("conv_out.1", 6, seed, exec);
  }

 private:
  void add(std::string const& name, nn::ParameterRole role, std::vector<std::int64_t> const& shape,
           std::uint64_t seed, Execution<Host> const& exec, std::vector<int> const& size = {})
  {
    parameters_.push_back(std::make_unique<nn::Parameter<float, Host>>(shape, exec));
    detail::fill_uniform(*parameters_.back(), 1.0, seed * 100 + parameters_.size(), exec);
    register_parameter(name, role, *parameters_.back(), size);
  }
  void kernel(std::string const& name, std::string const& last, std::vector<int> const& size, std::int64_t in,
              std::int64_t out, std::uint64_t seed, Execution<Host> const& exec)
  {
    std::int64_t volume = 1;
    for (auto const extent : size) { volume *= extent; }
    std::vector<std::int64_t> shape{in, out};
    if (volume > 1) { shape.insert(shape.begin(), volume); }
    add(name + "." + last, nn::ParameterRole::conv_weight, shape, seed, exec, size);
  }
  void norm(std::string const& name, std::int64_t channels, std::uint64_t seed, Execution<Host> const& exec)
  {
    for (auto const* const part : {"weight", "bias"}) {
      add(name + "." + part, nn::ParameterRole::weight, {channels}, seed, exec);
    }
    for (auto const* const part : {"running_mean", "running_var"}) {
      add(name + "." + part, nn::ParameterRole::buffer, {channels}, seed, exec);
    }
  }

  std::vector<std::unique_ptr<nn::Parameter<float, Host>>> parameters_;
};

inline std::vector<float> contents(nn::ModuleBase const& net)
{
  std::vector<float> all;
  for (auto const& parameter : net.parameters()) {
    auto const* const first = parameter.as<float, Host>().data();
    all.insert(all.end(), first, first + parameter.size);
  }
  return all;
}

inline bool same(RawTensor const& a, RawTensor const& b)
{
  return a.dtype == b.dtype && a.shape == b.shape && a.num_bytes == b.num_bytes &&
         std::memcmp(a.bytes, b.bytes, a.num_bytes) == 0;
}

inline constexpr WeightLayout foreign[] = {WeightLayout::torchsparse, WeightLayout::minkowski,
                                           WeightLayout::krsc, WeightLayout::rskc, WeightLayout::rsck};

inline bool named_kernel(WeightLayout layout)
{
  return layout == WeightLayout::torchsparse || layout == WeightLayout::minkowski;
}

}  // namespace convert_cases
