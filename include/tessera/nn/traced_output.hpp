// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/ops/replay.hpp>
#include <tessera/tensor/point_tensor.hpp>

#include <array>
#include <cstddef>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

template <class Output, class = void>
struct HasVariables : std::false_type {};
template <class Output>
struct HasVariables<Output, std::void_t<decltype(std::declval<Output&>().variables())>> : std::true_type {};

/// How a traced model takes its output apart into variables and puts it together again. This form is of
/// structs with `variables()`, a std::tuple of references to their members.
template <class Output>
struct TracedOutput {
  static constexpr bool is_traceable = HasVariables<Output>::value;
  /// Calls `visit(value)` for each variable.
  template <class Visit>
  static void visit(Output const& output, Visit const& visit)
  {
    auto copy = output;
    std::apply([&](auto&... value) { (visit(std::as_const(value)), ...); }, copy.variables());
  }
  template <class Space>
  [[nodiscard]] static Output make(ops::Replay<Space> const& replay, std::vector<VariableId> const& ids)
  {
    Output result;
    std::size_t i = 0;
    auto const take = [&](auto& value) {
      value = replay.template get<std::decay_t<decltype(value)>>(ids[i]);
      ++i;
    };
    std::apply([&](auto&... value) { (take(value), ...); }, result.variables());
    return result;
  }
};

template <int Dim, class Scalar, class Space>
struct TracedOutput<SparseTensor<Dim, Scalar, Space>> {
  static constexpr bool is_traceable = true;
  using Output = SparseTensor<Dim, Scalar, Space>;
  template <class Visit>
  static void visit(Output const& output, Visit const& visit)
  {
    visit(output);
  }
  [[nodiscard]] static Output make(ops::Replay<Space> const& replay, std::vector<VariableId> const& ids)
  {
    return replay.template get<Output>(ids.front());
  }
};

template <int Dim, class Scalar, class Space>
struct TracedOutput<PointTensor<Dim, Scalar, Space>> {
  static constexpr bool is_traceable = true;
  using Output = PointTensor<Dim, Scalar, Space>;
  template <class Visit>
  static void visit(Output const& output, Visit const& visit)
  {
    visit(output);
  }
  [[nodiscard]] static Output make(ops::Replay<Space> const& replay, std::vector<VariableId> const& ids)
  {
    return replay.template get<Output>(ids.front());
  }
};

template <class T, class Space>
struct TracedOutput<Matrix<T, Space>> {
  static constexpr bool is_traceable = true;
  using Output = Matrix<T, Space>;
  template <class Visit>
  static void visit(Output const& output, Visit const& visit)
  {
    visit(output);
  }
  [[nodiscard]] static Output make(ops::Replay<Space> const& replay, std::vector<VariableId> const& ids)
  {
    return ShareMatrix::share(replay.template get<Output>(ids.front()));
  }
};

template <int Dim, class Scalar, class Space>
struct TracedOutput<DenseTensor<Dim, Scalar, Space>> {
  static constexpr bool is_traceable = true;
  using Output = DenseTensor<Dim, Scalar, Space>;
  template <class Visit>
  static void visit(Output const& output, Visit const& visit)
  {
    visit(output);
  }
  [[nodiscard]] static Output make(ops::Replay<Space> const& replay, std::vector<VariableId> const& ids)
  {
    return ShareDense::share(replay.template get<Output>(ids.front()));
  }
};

template <class Value, std::size_t N>
struct TracedOutput<std::array<Value, N>> {
  static constexpr bool is_traceable = true;
  using Output = std::array<Value, N>;
  template <class Visit>
  static void visit(Output const& output, Visit const& visit)
  {
    for (auto const& value : output) { visit(value); }
  }
  template <class Space>
  [[nodiscard]] static Output make(ops::Replay<Space> const& replay, std::vector<VariableId> const& ids)
  {
    Output result;
    for (std::size_t i = 0; i < N; ++i) { result[i] = replay.template get<Value>(ids[i]); }
    return result;
  }
};

template <class Value>
struct TracedOutput<std::vector<Value>> {
  static constexpr bool is_traceable = true;
  using Output = std::vector<Value>;
  template <class Visit>
  static void visit(Output const& output, Visit const& visit)
  {
    for (auto const& value : output) { visit(value); }
  }
  template <class Space>
  [[nodiscard]] static Output make(ops::Replay<Space> const& replay, std::vector<VariableId> const& ids)
  {
    Output result;
    for (auto const id : ids) { result.push_back(replay.template get<Value>(id)); }
    return result;
  }
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
