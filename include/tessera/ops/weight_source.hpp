// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/arguments.hpp>
#include <tessera/conv/config.hpp>
#include <tessera/core/execution.hpp>

#include <memory>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace ops {

/// Whoever keeps a weight as kernels read it, so that it is not packed at every call: a layer.
template <class Scalar, class Space>
class WeightSource {
 public:
  WeightSource() = default;
  WeightSource(WeightSource const&) = delete;
  WeightSource& operator=(WeightSource const&) = delete;

  /// The weight as the kernel of `config` reads it, good for work that is enqueued on `exec` now; none where
  /// that is the order it has.
  /// Stream: enqueues at most a kernel, does not wait. Any thread may call it.
  [[nodiscard]] virtual detail::PackedWeightView<Scalar> packed(ConvConfig const& config,
                                                                Execution<Space> const& exec) const = 0;
  /// Brings the weight in its plain order up to date, where it is computed from others.
  /// Stream: enqueues a few kernels at most, and waits at most for them. Any thread may call it.
  virtual void refresh(Execution<Space> const& /*exec*/) const {}
  /// Drops packed copies that `config` does not read, that are no layer's own and that nobody else holds.
  /// @pre  what reads them is ordered before
  virtual void drop_packs_but(ConvConfig const& /*config*/) const {}
  /// The parameters that the weight and the bias are computed from, if any, the layer's own weight first.
  virtual void append_origins(std::vector<VariableId>& /*to*/) const {}

 protected:
  ~WeightSource() = default;
};

}  // namespace ops

namespace detail {

/// A pointer for a record to a source that outlives it.
template <class Scalar, class Space>
[[nodiscard]] std::shared_ptr<ops::WeightSource<Scalar, Space> const> unowned(
    ops::WeightSource<Scalar, Space> const* source)
{
  return {std::shared_ptr<void>{}, source};
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
