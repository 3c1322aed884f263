// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/arguments.hpp>
#include <tessera/conv/config.hpp>
#include <tessera/core/execution.hpp>

#include <memory>

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
