// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// Operations with operands of any scalar and space, and the gradients that a tape gives of them.

#include "../ops/gradient_check.hpp"

#ifdef __CUDACC__
#include <tessera/conv/convolution.cuh>
#endif
#include <tessera/autograd/tape.hpp>
#include <tessera/nn/activation.hpp>
#include <tessera/nn/parameter.hpp>
#include <tessera/ops/activation.hpp>
#include <tessera/ops/combine.hpp>
#include <tessera/ops/convolution.hpp>
#include <tessera/ops/linear.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

namespace differentiated {

using namespace tessera;

using Values = std::vector<double>;
using Shape = std::vector<std::int64_t>;

/// What an operation reads: tensors on one set of voxels, and parameters.
template <class Scalar, class Space>
struct Operands {
  using Tensor = SparseTensor<3, Scalar, Space>;

  std::vector<Tensor> x;
  std::vector<nn::Parameter<Scalar, Space>> w;
};

/// The channels of the tensors, the shapes of the parameters, and where the voxels are.
struct Problem {
  char const* name;
  std::vector<int> channels;
  std::vector<Shape> shapes;
  int tensor_stride = 1;
  int edge = 4;

  [[nodiscard]] std::vector<Coordinate<3>> voxels() const
  {
    std::vector<Coordinate<3>> rows;
    for (int i = 0; i < edge * edge * edge; ++i) {
      if (i * 7 % 5 >= 3) { continue; }
      Coordinate<3> row;
      row.batch = i * 11 % 3 == 0 ? 1 : 0;
      row.position = {i / (edge * edge) * tensor_stride, i / edge % edge * tensor_stride,
                      i % edge * tensor_stride};
      rows.push_back(row);
    }
    return rows;
  }
  /// Values for each tensor, then each parameter.
  [[nodiscard]] std::vector<Values> random_values(unsigned seed) const
  {
    std::vector<Values> result;
    auto const rows = voxels().size();
    for (auto const count : channels) {
      result.push_back(test::random_values(rows * static_cast<std::size_t>(count), ++seed));
    }
    for (auto const& shape : shapes) {
      auto const size =
          std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<std::int64_t>{});
      result.push_back(test::random_values(static_cast<std::size_t>(size), ++seed));
    }
    return result;
  }
  template <class Space>
  [[nodiscard]] CoordinateSetPointer<3, Space> set(Execution<Space> const& exec) const
  {
    CoordinateSetOptions<3> options;
    options.tensor_stride = IntArray<3>(tensor_stride);
    options.spatial_range = SpatialRange<3>{2, IntArray<3>(edge * tensor_stride)};
    return make_coordinate_set(voxels(), options, exec);
  }
};

template <class Scalar, class Space>
void write(nn::Parameter<Scalar, Space>& parameter, Values const& values, Execution<Space> const& exec)
{
  auto const rounded = test::rounded<Scalar>(values);
  detail::Transfer<Space>::from_host(parameter.write(), rounded.data(), rounded.size() * sizeof(Scalar),
                                     exec);
}

template <class Scalar, class Space>
Operands<Scalar, Space> make_operands(Problem const& problem, CoordinateSetPointer<3, Space> const& set,
                                      std::vector<Values> const& values, Execution<Space> const& exec)
{
  Operands<Scalar, Space> result;
  std::size_t i = 0;
  for (auto const channels : problem.channels) {
    result.x.push_back({set, upload_matrix(test::rounded<Scalar>(values[i++]), channels, exec)});
  }
  for (auto const& shape : problem.shapes) {
    result.w.emplace_back(shape, exec);
    write(result.w.back(), values[i++], exec);
  }
  return result;
}

template <class Value>
auto view_of(Value const& value)
{
  return detail::GradientOf<Value>::shape(value);
}

template <class T>
Values widened(std::vector<T> const& values)
{
  Values result;
  for (auto const value : values) { result.push_back(test::wide(value)); }
  return result;
}

/// What `run(operands, exec)` gives, on the host.
template <class Scalar, class Space, class Run>
Values output_of(Problem const& problem, std::vector<Values> const& values, Run const& run,
                 Execution<Space> const& exec)
{
  auto const operands = make_operands<Scalar>(problem, problem.set(exec), values, exec);
  auto const y = run(operands, exec);
  auto const view = view_of(y);
  return widened(download(view.data, view.size(), exec));
}

/// The gradients of tensors and parameters for the gradient `cotangent` of what `run(operands, exec)` gives.
template <class Scalar, class Space, class Run>
std::vector<Values> gradients_of(Problem const& problem, std::vector<Values> const& values,
                                 Values const& cotangent, Run const& run, Execution<Space> const& exec)
{
  auto operands = make_operands<Scalar>(problem, problem.set(exec), values, exec);
  Tape<Space> tape;
  for (auto const& x : operands.x) { tape.watch(x); }
  for (auto& w : operands.w) { tape.watch(w); }
  auto const y = run(operands, exec.with_recorder(tape));
  auto const view = view_of(y);
  using T = std::remove_const_t<std::remove_pointer_t<decltype(view.data)>>;
  auto const grad = upload_matrix(test::rounded<T>(cotangent), view.columns, exec);
  tape.backward(y, grad.view(), exec);
  CHECK(tape.num_operations() == 0);
  std::vector<Values> result;
  for (auto const& x : operands.x) { result.push_back(widened(test::on_host(tape.gradient(x), exec))); }
  for (auto& w : operands.w) { result.push_back(widened(download(std::as_const(w).grad(), w.size(), exec))); }
  return result;
}

/// max |a - b| over the largest |b|.
inline double difference(Values const& a, Values const& b)
{
  REQUIRE(a.size() == b.size());
  double largest = 1e-30;
  double apart = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    largest = std::max(largest, std::abs(b[i]));
    auto const error = std::abs(a[i] - b[i]);
    apart = std::max(apart, std::isnan(error) ? 1e9 : error);
  }
  return apart / largest;
}

/// Gradients in double agree with finite differences: of every element on the host, of some on the device.
template <class Space, class Run>
void check_differences(Problem const& problem, Run const& run, Execution<Space> const& exec)
{
  CAPTURE(problem.name);
  auto const values = problem.random_values(1);
  auto const output = output_of<double>(problem, values, run, exec);
  auto const cotangent = test::random_values(output.size(), 100);
  auto const found = gradients_of<double>(problem, values, cotangent, run, exec);
  REQUIRE(found.size() == values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    auto const largest = std::abs(*std::max_element(
        found[i].begin(), found[i].end(), [](auto a, auto b) { return std::abs(a) < std::abs(b); }));
    auto const apart = std::is_same_v<Space, Host> ? std::size_t{1} : values[i].size() / 5 + 1;
    for (std::size_t at = 0; at < values[i].size(); at += apart) {
      auto const loss = [&](double step) {
        auto changed = values;
        changed[i][at] += step;
        return test::dot(output_of<double>(problem, changed, run, exec), cotangent);
      };
      constexpr double step = 1e-5;
      auto const expected = (loss(step) - loss(-step)) / (2 * step);
      CAPTURE(i);
      CAPTURE(at);
      CHECK(std::abs(found[i][at] - expected) <= 1e-7 * largest);
    }
  }
}

/// Gradients in both spaces agree.
template <class Scalar, class Space, class Run>
void check_spaces(Problem const& problem, Run const& run, Execution<Space> const& exec)
{
  CAPTURE(problem.name);
  Execution<Host> const host{2};
  auto const values = problem.random_values(1);
  auto const cotangent = test::random_values(output_of<Scalar>(problem, values, run, host).size(), 100);
  auto const expected = gradients_of<Scalar>(problem, values, cotangent, run, host);
  auto const found = gradients_of<Scalar>(problem, values, cotangent, run, exec);
  for (std::size_t i = 0; i < values.size(); ++i) {
    CAPTURE(i);
    CHECK(difference(found[i], expected[i]) < test::rounding<Scalar>());
  }
  CHECK(gradients_of<Scalar>(problem, values, cotangent, run, exec) == found);  // the same bits once more
}

inline ConvolutionGeometry<3> geometry(int size, int stride = 1, int dilation = 1)
{
  ConvolutionGeometry<3> result;
  result.kernel_size = IntArray<3>(size);
  result.stride = IntArray<3>(stride);
  result.dilation = IntArray<3>(dilation);
  return result;
}

}  // namespace differentiated
