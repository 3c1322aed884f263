// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/ops/detail/gradient_of.hpp>
#include <tessera/ops/record.hpp>

#include <cstddef>
#include <memory>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

namespace tessera {
inline namespace v0 {
namespace ops {

/// `y = function(x..., exec)`, a computation of the user's.
template <class Function, class Space, class Output, class... Inputs>
struct CustomRecord final
    : FunctionRecord<CustomRecord<Function, Space, Output, Inputs...>, Space, Output, Inputs...> {
  CustomRecord(std::string called, Function const& by, Output const& y, Inputs const&... x)
      : CustomRecord::FunctionRecord{Recorded<Output>{y}, Recorded<Inputs>{x}...},
        function{by},
        label{std::move(called)}
  {}

  [[nodiscard]] char const* name() const noexcept override { return label.c_str(); }
  [[nodiscard]] Output compute(Inputs const&... x, Execution<Space> const& exec) const
  {
    return function(x..., exec);
  }

  Function function;
  std::string label;
};

/// The same with a gradient of the user's.
template <class Function, class Backward, class Space, class Output, class... Inputs>
struct DifferentiableRecord final
    : FunctionRecord<DifferentiableRecord<Function, Backward, Space, Output, Inputs...>, Space, Output,
                     Inputs...> {
  DifferentiableRecord(std::string called, Function const& by, Backward const& differentiated_by,
                       Output const& y, Inputs const&... x)
      : DifferentiableRecord::FunctionRecord{Recorded<Output>{y}, Recorded<Inputs>{x}...},
        function{by},
        gradient{differentiated_by},
        label{std::move(called)}
  {}

  [[nodiscard]] char const* name() const noexcept override { return label.c_str(); }
  [[nodiscard]] Output compute(Inputs const&... x, Execution<Space> const& exec) const
  {
    return function(x..., exec);
  }
  void backward(Gradients<Space>& gradients, Execution<Space> const& exec) const override
  {
    add_gradients(gradients, exec, std::index_sequence_for<Inputs...>{});
  }

  Function function;
  Backward gradient;
  std::string label;

 private:
  template <std::size_t... I>
  void add_gradients(Gradients<Space>& gradients, Execution<Space> const& exec,
                     std::index_sequence<I...> /*inputs*/) const
  {
    auto const& y = this->output();
    auto const grad = gradients.template of<typename detail::GradientOf<Output>::Scalar>(y.id());
    auto of_inputs = gradient(grad, *y.value(), *this->template input<I>().value()..., exec);
    if constexpr (sizeof...(I) == 1) {
      gradients.add(this->input().id(), std::move(of_inputs), exec);
    } else {
      (gradients.add(this->template input<I>().id(), std::move(std::get<I>(of_inputs)), exec), ...);
    }
  }
};

/// Runs a computation that the library does not know, a kernel of yours, as one operation:
///
/// `auto y = ops::custom("square", exec, [](auto const& x, auto const& exec) { ... return result; }, x);`
///
/// @param name      what a record of it is called
/// @param function  `function(inputs..., exec)` returns a new tensor, matrix or dense tensor. It may run
///                  again, on other voxels and another thread, so it must not keep pointers or numbers of
///                  rows; a recorder keeps a copy of it
/// @returns what the function returns; with a recorder, its insides are not recorded
/// Cost, stream, determinism: those of the function.
template <class Space, class Function, class... Inputs>
[[nodiscard]] auto custom(char const* name, Execution<Space> const& exec, Function const& function,
                          Inputs const&... inputs)
{
  using Output = std::decay_t<decltype(function(inputs..., exec))>;
  return detail::run_recorded(
      exec, [&](Execution<Space> const& inside) -> Output { return function(inputs..., inside); },
      [&](Output const& y) {
        return std::make_shared<CustomRecord<Function, Space, Output, Inputs...>>(name, function, y,
                                                                                  inputs...);
      });
}

/// custom() with a gradient, so that a tape differentiates through it:
///
/// `auto y = ops::differentiable("square", exec, square, square_backward, x);`
///
/// @param backward  `backward(grad_output, output, inputs..., exec)` returns the gradient of the input, a
///                  Matrix in its scalar of the shape of its features ([1, size] of a dense tensor), or a
///                  std::tuple of one for each input. `grad_output` is a MatrixView; rows past those in use
///                  may hold anything. A recorder keeps a copy of it, and the operation's inputs and output
///                  as long Other parameters, result, cost, stream, determinism: as custom().
template <class Space, class Function, class Backward, class... Inputs>
[[nodiscard]] auto differentiable(char const* name, Execution<Space> const& exec, Function const& function,
                                  Backward const& backward, Inputs const&... inputs)
{
  using Output = std::decay_t<decltype(function(inputs..., exec))>;
  using Record = DifferentiableRecord<Function, Backward, Space, Output, Inputs...>;
  return detail::run_recorded(
      exec, [&](Execution<Space> const& inside) -> Output { return function(inputs..., inside); },
      [&](Output const& y) { return std::make_shared<Record>(name, function, backward, y, inputs...); });
}

}  // namespace ops
}  // namespace v0
}  // namespace tessera
