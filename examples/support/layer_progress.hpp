// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "progress.hpp"

#include <tessera/nn/conv.hpp>

#include <memory>
#include <string>
#include <type_traits>
#include <utility>

namespace program {

/// A stage of the progress whose steps are the convolutions of a model, on the host, where they take time and
/// have run when a call returns. It records what runs with its exec().
template <class Scalar, class Space>
class LayerProgress final : public tessera::Recorder {
 public:
  LayerProgress(Progress& progress, std::string stage, tessera::nn::ModuleBase& model) : progress_{&progress}
  {
    progress.begin(std::move(stage), is_host ? count(model) : 0, "layers");
  }

  [[nodiscard]] tessera::Execution<Space> exec(tessera::Execution<Space> const& plain)
  {
    return is_host ? plain.with_recorder(*this) : plain;
  }
  void record(std::shared_ptr<tessera::OperationRecord const> operation) override
  {
    using Convolution = tessera::ops::ConvolutionRecord<3, Scalar, Space>;
    if (dynamic_cast<Convolution const*>(operation.get()) != nullptr) { progress_->step(); }
  }

 private:
  static constexpr bool is_host = std::is_same_v<Space, tessera::Host>;

  [[nodiscard]] static int count(tessera::nn::ModuleBase& module)
  {
    int result = dynamic_cast<tessera::nn::Conv<3, Scalar, Space>*>(&module) != nullptr ? 1 : 0;
    for (auto const& child : module.children()) { result += count(*child.second); }
    return result;
  }

  Progress* progress_;
};

}  // namespace program
