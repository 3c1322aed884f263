// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/batch_norm.hpp>

#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// The batch normalisations of a module and those below it.
template <int Dim, class Scalar, class Space>
void collect_batch_norms(nn::ModuleBase& module, std::vector<nn::BatchNorm<Dim, Scalar, Space>*>& found)
{
  if (auto* const norm = dynamic_cast<nn::BatchNorm<Dim, Scalar, Space>*>(&module)) { found.push_back(norm); }
  for (auto const& [name, child] : module.children()) { collect_batch_norms(*child, found); }
}

}  // namespace detail

namespace nn {

/// Sets the running statistics of every batch normalisation in `model` to the batch statistics of one pass
/// over `x`, and leaves the model in evaluation.
///
/// A network with random weights then has activations of mean 0 and variance 1 where it normalises, instead
/// of ones that vanish with depth; a network moved to another domain is adapted to it.
/// @throws invalid_argument  what the model's forward() says; one row alone at some level. The momenta are as
/// before then, the statistics of some layers may not be
/// Cost: one forward pass in training. Stream: as the model's forward(). Determinism: same model and input,
/// same bits, for one order of the rows.
///
/// @tparam Tensor  SparseTensor, or PointTensor for a model that takes points
template <template <int, class, class> class Tensor, int Dim, class Scalar, class Space, class Model>
void calibrate(Model& model, Tensor<Dim, Scalar, Space> const& x, Execution<Space> const& exec)
{
  struct Momenta {  // 1 while it lives
    explicit Momenta(Model& of) : model{of}
    {
      detail::collect_batch_norms(of, norms);
      for (auto* const norm : norms) {
        old.push_back(norm->options().momentum());
        norm->options().momentum(1);
      }
      of.train();
    }
    Momenta(Momenta const&) = delete;
    Momenta& operator=(Momenta const&) = delete;
    ~Momenta()
    {
      for (std::size_t i = 0; i < norms.size(); ++i) { norms[i]->options().momentum(old[i]); }
      model.eval();
    }

    Model& model;
    std::vector<BatchNorm<Dim, Scalar, Space>*> norms;
    std::vector<double> old;
  };
  Momenta const momenta{model};
  static_cast<void>(model.forward(x, exec));
}

}  // namespace nn
}  // namespace v0
}  // namespace tessera
