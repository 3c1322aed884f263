// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "progress.hpp"

#include <tessera/nn/conv.hpp>

#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace program {

/// A stage of the progress whose steps are the convolutions of a model, on the host, where they take time and
/// are carried out as they are called. While it lives it observes them.
template <class Scalar, class Space>
class LayerProgress final : public tessera::nn::ConvObserver<3, Scalar, Space> {
 public:
  using Layer = tessera::nn::Conv<3, Scalar, Space>;
  using Tensor = tessera::SparseTensor<3, Scalar, Space>;

  LayerProgress(Progress& progress, std::string stage, tessera::nn::ModuleBase& model) : progress_{&progress}
  {
    if constexpr (std::is_same_v<Space, tessera::Host>) { collect(model); }
    progress.begin(std::move(stage), static_cast<int>(layers_.size()), "layers");
    for (auto* const layer : layers_) { layer->observe(this); }
  }
  LayerProgress(LayerProgress const&) = delete;
  LayerProgress& operator=(LayerProgress const&) = delete;
  ~LayerProgress() override
  {
    for (auto* const layer : layers_) { layer->observe(nullptr); }
  }

  void called(tessera::nn::ModuleBase const&, Tensor const&, Tensor const*,
              tessera::Epilogue<Scalar> const&) override
  {
    progress_->step();
  }

 private:
  void collect(tessera::nn::ModuleBase& module)
  {
    if (auto* const layer = dynamic_cast<Layer*>(&module)) { layers_.push_back(layer); }
    for (auto const& child : module.children()) { collect(*child.second); }
  }

  Progress* progress_;
  std::vector<Layer*> layers_;
};

}  // namespace program
