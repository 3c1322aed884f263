// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/execution.hpp>
#include <tessera/io/state_dict.hpp>
#include <tessera/nn/module.hpp>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace test {

/// A state_dict put together by hand; every tensor holds 0, 1, 2, ...
struct Made {
  Made& add(std::string const& name, std::vector<std::int64_t> const& shape)
  {
    std::int64_t size = 1;
    for (auto const extent : shape) { size *= extent; }
    values.push_back(std::make_unique<std::vector<float>>());
    for (std::int64_t i = 0; i < size; ++i) { values.back()->push_back(static_cast<float>(i)); }
    state.tensors.emplace_back(name, tessera::raw_tensor(*values.back(), shape));
    return *this;
  }
  Made& add(std::string const& name, std::vector<std::int64_t> const& shape, std::vector<float> const& data)
  {
    values.push_back(std::make_unique<std::vector<float>>(data));
    state.tensors.emplace_back(name, tessera::raw_tensor(*values.back(), shape));
    return *this;
  }
  /// The parameters of a batch norm, in PyTorch's order.
  Made& norm(std::string const& name, std::int64_t channels)
  {
    for (auto const* const part : {".weight", ".bias", ".running_mean", ".running_var"}) {
      add(name + part, {channels});
    }
    return *this;
  }
  /// A convolution's weight, and the norm behind it.
  Made& add(std::string const& conv, std::vector<std::int64_t> const& shape, std::string const& norm,
            std::int64_t channels)
  {
    add(conv + ".weight", shape);
    return add(norm + ".running_mean", {channels}).add(norm + ".running_var", {channels});
  }

  tessera::io::StateDict state;
  std::vector<std::unique_ptr<std::vector<float>>> values;
};

/// Parameters of those names and shapes, without layers that would compute with them.
class Parameters final : public tessera::nn::ModuleBase {
 public:
  explicit Parameters(tessera::Execution<tessera::Host> const& exec) : exec_{&exec} {}

  Parameters& add(std::string const& name, std::vector<std::int64_t> const& shape,
                  tessera::nn::ParameterRole role = tessera::nn::ParameterRole::weight,
                  std::vector<int> const& kernel_size = {})
  {
    values_.push_back(std::make_unique<tessera::nn::Parameter<float, tessera::Host>>(shape, *exec_));
    std::fill_n(values_.back()->write(), values_.back()->size(), -1.0F);
    register_parameter(name, role, *values_.back(), kernel_size);
    return *this;
  }
  /// A kernel of one channel in and out.
  Parameters& kernel(std::string const& name, std::vector<int> const& size)
  {
    std::int64_t volume = 1;
    for (auto const extent : size) { volume *= extent; }
    return add(name, {volume, 1, 1}, tessera::nn::ParameterRole::conv_weight, size);
  }

  [[nodiscard]] std::vector<float> values(std::size_t i = 0) const
  {
    auto const& parameter = std::as_const(*values_.at(i));
    return {parameter.data(), parameter.data() + parameter.size()};
  }

 private:
  tessera::Execution<tessera::Host> const* exec_;
  std::vector<std::unique_ptr<tessera::nn::Parameter<float, tessera::Host>>> values_;
};

}  // namespace test
