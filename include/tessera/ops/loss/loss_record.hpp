// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/ops/detail/rows.hpp>
#include <tessera/ops/record.hpp>

#include <memory>
#include <utility>

namespace tessera {
inline namespace v0 {
namespace ops {

/// A loss of rows of values, [1, 1]. `Loss` says which: `Kept<Space>` is what its gradient reads besides the
/// values, `compute(x, kept, exec)` makes the loss and that, `gradient(grad, x, kept, exec)` the gradient.
template <class Loss, class Value, class Space>
struct LossRecord final : FunctionRecord<LossRecord<Loss, Value, Space>, Space,
                                         Matrix<accumulator_t<detail::scalar_of_rows<Value>>, Space>, Value> {
  using Sum = accumulator_t<detail::scalar_of_rows<Value>>;
  using Kept = typename Loss::template Kept<Space>;

  LossRecord(Matrix<Sum, Space> const& result, Value const& x, Loss const& of)
      : LossRecord::FunctionRecord{Recorded<Matrix<Sum, Space>>{result}, Recorded<Value>{x}}, loss{of}
  {}

  [[nodiscard]] char const* name() const noexcept override { return Loss::name; }
  [[nodiscard]] char const* obstacle() const noexcept override { return Loss::obstacle; }
  [[nodiscard]] Matrix<Sum, Space> compute(Value const& x, Execution<Space> const& exec) const
  {
    Kept unused;
    return loss.compute(x, unused, exec);
  }
  [[nodiscard]] Matrix<Sum, Space> compute_again(Value const& x, Execution<Space> const& exec)
  {
    auto anew = std::make_shared<Kept>();
    auto result = loss.compute(x, *anew, exec);
    kept = std::move(anew);
    return result;
  }
  void backward(Gradients<Space>& gradients, Execution<Space> const& exec) const override
  {
    auto const& x = this->input();
    if (!gradients.wants(x.id())) { return; }
    auto const grad = gradients.template of<Sum>(this->output().id());
    gradients.add(x.id(), loss.gradient(grad, *x.value(), *kept, exec), exec);
  }
  void give_back_unread(Gradients<Space> const& /*gradients*/) { this->output().give_back(); }
  void drop_kept() { kept = nullptr; }

  Loss loss;
  std::shared_ptr<Kept const> kept;  // of the recorded rows
};

}  // namespace ops

namespace detail {

template <class Loss, class Value, class Space>
[[nodiscard]] Matrix<accumulator_t<scalar_of_rows<Value>>, Space> compute_loss(Loss const& loss,
                                                                               Value const& x,
                                                                               Execution<Space> const& exec)
{
  auto const kept = std::make_shared<typename Loss::template Kept<Space>>();
  return run_recorded(
      exec, [&](auto const& inside) { return loss.compute(x, *kept, inside); },
      [&](auto const& result) {
        auto record = std::make_shared<ops::LossRecord<Loss, Value, Space>>(result, x, loss);
        record->kept = kept;
        return record;
      });
}

/// The gradient of a loss of which nothing was kept.
template <class Loss, class Value, class Space>
[[nodiscard]] Matrix<scalar_of_rows<Value>, Space> compute_loss_backward(
    MatrixView<accumulator_t<scalar_of_rows<Value>> const> const& grad, Loss const& loss, Value const& x,
    Execution<Space> const& exec)
{
  typename Loss::template Kept<Space> kept;
  static_cast<void>(loss.compute(x, kept, exec));
  return loss.gradient(grad, x, kept, exec);
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
