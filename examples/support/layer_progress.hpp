// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "progress.hpp"

#include <tessera/nn/conv.hpp>
#include <tessera/nn/trace.hpp>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

namespace program {

/// A stage of the progress whose steps are the convolutions of a model or of what nn::fuse() made of it, on the host,
/// where they take time and have finished when their call returns. Run the model with execution().
template <class Scalar, class Space>
class LayerProgress final : public tessera::Recorder {
  static constexpr bool counts = std::is_same_v<Space, tessera::Host>;

 public:
  template <class Model>
  LayerProgress(Progress& progress, std::string stage, Model& model) : progress_{&progress}
  {
    progress.begin(std::move(stage), counts ? count(model) : 0, "layers");
  }

  /// `exec`, with which convolutions are steps.
  [[nodiscard]] tessera::Execution<Space> execution(tessera::Execution<Space> const& exec)
  {
    return counts ? exec.with_recorder(*this) : exec;
  }

  void record(std::shared_ptr<tessera::OperationRecord const> operation) override
  {
    if (is_convolution(*operation)) { progress_->step(); }
  }

 private:
  static bool is_convolution(tessera::OperationRecord const& operation)
  {
    return std::strcmp(operation.name(), "convolution") == 0;
  }
  template <class Input, class Output>
  static int count(tessera::nn::TracedModel<Input, Output> const& model)
  {
    auto const& all = model.operations();
    return static_cast<int>(
        std::count_if(all.begin(), all.end(), [](auto const& one) { return is_convolution(*one); }));
  }
  static int count(tessera::nn::ModuleBase& module)
  {
    int layers = dynamic_cast<tessera::nn::Conv<3, Scalar, Space>*>(&module) != nullptr ? 1 : 0;
    for (auto const& child : module.children()) { layers += count(*child.second); }
    return layers;
  }

  Progress* progress_;
};

}  // namespace program
