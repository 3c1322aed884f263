// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/ops/record.hpp>

#include <memory>
#include <string>
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

/// Runs a computation that the library does not know, a kernel of yours, as one operation:
///
/// `auto y = ops::custom("square", exec, [](auto const& x, auto const& exec) { ... return result; }, x);`
///
/// @param name      what a record of it is called
/// @param function  `function(inputs..., exec)` returns a new tensor, matrix or dense tensor. It may run again,
///                  on other voxels and another thread, so it must not keep pointers or numbers of rows; a recorder
///                  keeps a copy of it
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

}  // namespace ops
}  // namespace v0
}  // namespace tessera
