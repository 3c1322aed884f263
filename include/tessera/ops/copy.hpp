// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/ops/record.hpp>

#include <memory>

namespace tessera {
inline namespace v0 {
namespace ops {

/// `y = x`, in memory of its own.
template <class T, class Space>
struct CopyRecord final : FunctionRecord<CopyRecord<T, Space>, Space, Matrix<T, Space>, Matrix<T, Space>> {
  using CopyRecord::FunctionRecord::FunctionRecord;

  [[nodiscard]] char const* name() const noexcept override { return "copy"; }
  [[nodiscard]] Matrix<T, Space> compute(Matrix<T, Space> const& x, Execution<Space> const& exec) const
  {
    return {tessera::copy(x.data(), x.size(), exec), x.rows(), x.columns()};
  }
  void backward(Gradients<Space>& gradients, Execution<Space> const& exec) const override
  {
    gradients.template pass<T>(this->output().id(), this->input().id(), exec);
  }
  void give_back_unread(Gradients<Space> const& /*gradients*/) { this->give_all_back(); }
};

}  // namespace ops

/// A new matrix with the elements of `x`.
/// Cost: one copy.
/// Stream: enqueues it, does not wait.
/// Determinism: same input, same bits.
template <class T, class Space>
[[nodiscard]] Matrix<T, Space> copy(Matrix<T, Space> const& x, Execution<Space> const& exec)
{
  using Variable = ops::Recorded<Matrix<T, Space>>;
  return detail::run_recorded(
      exec,
      [&](auto const& inside) {
        return Matrix<T, Space>{copy(x.data(), x.size(), inside), x.rows(), x.columns()};
      },
      [&](auto const& y) { return std::make_shared<ops::CopyRecord<T, Space>>(Variable{y}, Variable{x}); });
}

}  // namespace v0
}  // namespace tessera
