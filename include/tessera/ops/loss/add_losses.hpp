// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/ops/detail/elementwise.hpp>
#include <tessera/ops/record.hpp>

#include <cstdint>
#include <memory>

namespace tessera {
inline namespace v0 {
namespace detail {

template <class Sum>
struct WeightedSumFunction {
  Sum of_first;
  Sum of_second;

  TESSERA_HOST_DEVICE Sum operator()(Sum const* x, std::int64_t) const
  {
    return of_first * x[0] + of_second * x[1];
  }
};

template <class Sum>
struct ScaleFunction {
  Sum by;

  TESSERA_HOST_DEVICE Sum operator()(Sum const* x, std::int64_t) const { return by * x[0]; }
};

template <class Sum, class Space>
[[nodiscard]] Matrix<Sum, Space> add_losses_unrecorded(Matrix<Sum, Space> const& a, double weight_of_a,
                                                       Matrix<Sum, Space> const& b, double weight_of_b,
                                                       Execution<Space> const& exec)
{
  expects(a.size() == 1 && b.size() == 1, "add_losses: values of ", a.rows(), " x ", a.columns(), " and ",
          b.rows(), " x ", b.columns(), "; losses are 1 x 1");
  WeightedSumFunction<Sum> const function{static_cast<Sum>(weight_of_a), static_cast<Sum>(weight_of_b)};
  return map_elements<Sum>(function, exec, a.view(), b.view());
}

}  // namespace detail

namespace ops {

/// `loss = weight_of_a * a + weight_of_b * b`.
template <class Sum, class Space>
struct AddLossesRecord final : FunctionRecord<AddLossesRecord<Sum, Space>, Space, Matrix<Sum, Space>,
                                              Matrix<Sum, Space>, Matrix<Sum, Space>> {
  using Loss = Matrix<Sum, Space>;
  using AddLossesRecord::FunctionRecord::FunctionRecord;

  [[nodiscard]] char const* name() const noexcept override { return "add_losses"; }
  [[nodiscard]] Loss compute(Loss const& a, Loss const& b, Execution<Space> const& exec) const
  {
    return detail::add_losses_unrecorded(a, weight_of_a, b, weight_of_b, exec);
  }
  void backward(Gradients<Space>& gradients, Execution<Space> const& exec) const override
  {
    add_scaled(gradients, this->input().id(), weight_of_a, exec);
    add_scaled(gradients, this->template input<1>().id(), weight_of_b, exec);
  }
  void give_back_unread(Gradients<Space> const& /*gradients*/) { this->give_all_back(); }

  double weight_of_a = 1;
  double weight_of_b = 1;

 private:
  void add_scaled(Gradients<Space>& gradients, VariableId to, double weight,
                  Execution<Space> const& exec) const
  {
    if (!gradients.wants(to)) { return; }
    auto const grad = gradients.template of<Sum>(this->output().id());
    detail::ScaleFunction<Sum> const function{static_cast<Sum>(weight)};
    gradients.add(to, detail::map_elements<Sum>(function, exec, grad), exec);
  }
};

}  // namespace ops

/// Two losses as one, `weight_of_a * a + weight_of_b * b`: cross entropy and Lovász softmax, say. Its
/// gradient for either is its own times the weight.
/// @param a, b  [1, 1] in `Space`
/// @throws invalid_argument  values of another shape
/// Cost: one number.
/// Stream: enqueues one kernel, does not wait.
/// Determinism: same input, same bits.
template <class Sum, class Space>
[[nodiscard]] Matrix<Sum, Space> add_losses(Matrix<Sum, Space> const& a, double weight_of_a,
                                            Matrix<Sum, Space> const& b, double weight_of_b,
                                            Execution<Space> const& exec)
{
  using Variable = ops::Recorded<Matrix<Sum, Space>>;
  return detail::run_recorded(
      exec,
      [&](auto const& inside) {
        return detail::add_losses_unrecorded(a, weight_of_a, b, weight_of_b, inside);
      },
      [&](auto const& sum) {
        auto record =
            std::make_shared<ops::AddLossesRecord<Sum, Space>>(Variable{sum}, Variable{a}, Variable{b});
        record->weight_of_a = weight_of_a;
        record->weight_of_b = weight_of_b;
        return record;
      });
}

}  // namespace v0
}  // namespace tessera
