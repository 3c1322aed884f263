// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// Every operation of these tests, as functions of operands of any scalar and space.

#include "../support/ways.hpp"
#include "differentiated.hpp"

#include <tessera/ops/custom.hpp>

namespace differentiated {

using Kind = ConvolutionKind;

/// A weight [volume, in, out], and a bias.
inline std::vector<Shape> weight_and_bias(int volume, int in, int out)
{
  return {{volume, in, out}, {out}};
}

template <class Operands, class Exec>
auto convolve(Operands const& o, Kind kind, ConvolutionGeometry<3> const& shape, ConvConfig const& config,
              Exec const& exec)
{
  auto const out = static_cast<int>(o.w[1].size());
  return convolution(o.x[0], o.w[0], o.w[1], out, kind, shape, config, exec);
}

/// Calls `visit(problem, run)` for convolutions of every kind.
template <class Visit>
void for_each_kind(Visit const& visit)
{
  auto const once = [&](char const* name, Kind kind, ConvolutionGeometry<3> const& shape, int in, int out,
                        int tensor_stride = 1) {
    visit(Problem{name, {in}, weight_and_bias(shape.volume(), in, out), tensor_stride},
          [=](auto const& o, auto const& exec) { return convolve(o, kind, shape, ConvConfig{}, exec); });
  };
  once("submanifold", Kind::submanifold, geometry(3), 3, 4);
  once("submanifold, dilated", Kind::submanifold, geometry(3, 1, 2), 3, 4);
  once("submanifold, even", Kind::submanifold, geometry(2), 2, 3);
  once("one voxel", Kind::submanifold, geometry(1), 5, 3);
  once("strided", Kind::strided, geometry(2, 2), 3, 4);
  once("strided, overlapping", Kind::strided, geometry(3, 2), 3, 2);
  once("generative", Kind::generative, geometry(3, 2), 2, 3, 2);
  once("expanding", Kind::expanding, geometry(2, 2), 2, 3, 2);

  auto const there_and_back = [&](char const* name, Kind up, int size) {
    auto const volume = size * size * size;
    visit(Problem{name, {2}, {{volume, 2, 3}, {3}, {volume, 3, 2}, {2}}},
          [=](auto const& o, auto const& exec) {
            auto const shape = geometry(size, 2);
            auto const down = convolve(o, Kind::strided, shape, ConvConfig{}, exec);
            return convolution(down, o.w[2], o.w[3], 2, up, shape, ConvConfig{}, exec);
          });
  };
  there_and_back("transposed", Kind::transposed, 2);
  there_and_back("transposed, overlapping", Kind::transposed, 3);
  there_and_back("inverse", Kind::inverse, 3);
}

/// The same in every dataflow, and with every choice at compile time.
template <class Visit>
void for_each_dataflow(Visit const& visit)
{
  for (auto const& way : test::every_way({})) {
    auto const config = way.config;
    visit(Problem{way.name, {3}, weight_and_bias(27, 3, 4)}, [=](auto const& o, auto const& exec) {
      return convolve(o, Kind::submanifold, geometry(3), config, exec);
    });
    visit(Problem{way.name, {3}, weight_and_bias(27, 3, 4)}, [=](auto const& o, auto const& exec) {
      return convolve(o, Kind::strided, geometry(3, 2), config, exec);
    });
  }
  visit(Problem{"policy", {3}, weight_and_bias(27, 3, 4)}, [](auto const& o, auto const& exec) {
    using Policy = ConvPolicy<GatherScatter, Hashmap, MinkowskiDownsample>;
    return convolution<Policy>(o.x[0], o.w[0], o.w[1], 4, Kind::strided, geometry(3, 2), MathMode::exact,
                               Compatibility::none, exec);
  });
}

/// Convolutions of two tensors, with a residual and an activation.
template <class Visit>
void for_each_epilogue(Visit const& visit)
{
  visit(Problem{"two tensors", {2, 3}, weight_and_bias(27, 5, 4)}, [](auto const& o, auto const& exec) {
    return convolution(o.x[0], o.x[1], o.w[0], o.w[1], 4, Kind::submanifold, geometry(3), ConvConfig{}, exec);
  });
  visit(Problem{"one tensor twice", {8}, weight_and_bias(1, 16, 8)}, [](auto const& o, auto const& exec) {
    return convolution(o.x[0], o.x[0], o.w[0], o.w[1], 8, Kind::submanifold, geometry(1), ConvConfig{}, exec);
  });
  auto const with = [&](char const* name, Activation activation, float slope) {
    visit(Problem{name, {3, 4}, weight_and_bias(27, 3, 4)}, [=](auto const& o, auto const& exec) {
      return convolution_add(o.x[0], o.x[1], o.w[0], o.w[1], 4, Kind::submanifold, geometry(3), ConvConfig{},
                             activation, slope, exec);
    });
    visit(Problem{name, {3}, weight_and_bias(27, 3, 4)}, [=](auto const& o, auto const& exec) {
      Epilogue<typename std::decay_t<decltype(o.x[0])>::scalar> epilogue;
      epilogue.activation = activation;
      epilogue.slope = slope;
      return convolution(o.x[0], o.w[0], o.w[1], 4, Kind::submanifold, geometry(3), ConvConfig{}, epilogue,
                         exec);
    });
  };
  with("residual", Activation::none, 0);
  with("residual, relu", Activation::relu, 0);
  with("residual, leaky_relu", Activation::leaky_relu, 0.2F);
  with("residual, leaky_relu of a negative slope", Activation::leaky_relu, -0.3F);
  with("residual, silu", Activation::silu, 0);
  with("residual, sigmoid", Activation::sigmoid, 0);
}

/// Linear layers of tensors and matrices.
template <class Visit>
void for_each_linear(Visit const& visit)
{
  visit(Problem{"PyTorch's order", {5}, {{3, 5}, {3}}}, [](auto const& o, auto const& exec) {
    return linear(o.x[0], o.w[0], o.w[1], 3, MathMode::exact, exec);
  });
  for (auto const activation : {Activation::none, Activation::silu, Activation::relu}) {
    for (bool const is_transposed : {false, true}) {
      visit(Problem{name_of(activation), {5}, {{5, 3}, {3}}}, [=](auto const& o, auto const& exec) {
        using Tensor = std::decay_t<decltype(o.x[0])>;
        ops::LinearMethod const options{3, MathMode::exact, is_transposed, activation};
        return detail::linear<Tensor, typename Tensor::scalar, typename Tensor::space>(
            o.x[0], o.w[0], o.w[1], options, nullptr, exec);
      });
    }
  }
}

/// Operations of elements.
template <class Visit>
void for_each_elementwise(Visit const& visit)
{
  visit(Problem{"add", {3, 3}, {}},
        [](auto const& o, auto const& exec) { return add(o.x[0], o.x[1], exec); });
  visit(Problem{"add to itself", {3}, {}},
        [](auto const& o, auto const& exec) { return add(o.x[0], add(o.x[0], o.x[0], exec), exec); });
  visit(Problem{"multiply", {3, 3}, {}},
        [](auto const& o, auto const& exec) { return multiply(o.x[0], o.x[1], exec); });
  visit(Problem{"square", {3}, {}},
        [](auto const& o, auto const& exec) { return multiply(o.x[0], o.x[0], exec); });
  visit(Problem{"cat", {3, 8, 1}, {}}, [](auto const& o, auto const& exec) {
    return cat({o.x[0], o.x[1], o.x[2], o.x[0]}, exec);
  });
  visit(Problem{"cat of whole packs", {8, 16}, {}}, [](auto const& o, auto const& exec) {
    return cat({o.x[0], o.x[1]}, exec);
  });
  visit(Problem{"relu", {3}, {}}, [](auto const& o, auto const& exec) { return relu(o.x[0], exec); });
  visit(Problem{"leaky_relu", {3}, {}},
        [](auto const& o, auto const& exec) { return leaky_relu(o.x[0], 0.1, exec); });
  visit(Problem{"leaky_relu of a negative slope", {3}, {}},
        [](auto const& o, auto const& exec) { return leaky_relu(o.x[0], -0.5, exec); });
  visit(Problem{"silu", {3}, {}}, [](auto const& o, auto const& exec) { return silu(o.x[0], exec); });
  visit(Problem{"sigmoid", {3}, {}}, [](auto const& o, auto const& exec) { return sigmoid(o.x[0], exec); });
  visit(Problem{"tanh", {3}, {}}, [](auto const& o, auto const& exec) { return tanh(o.x[0], exec); });
  visit(Problem{"gelu", {3}, {}}, [](auto const& o, auto const& exec) { return gelu(o.x[0], exec); });
  for (auto const activation : {Activation::none, Activation::relu, Activation::silu, Activation::sigmoid,
                                Activation::tanh, Activation::gelu, Activation::leaky_relu}) {
    visit(Problem{"add_activate", {3, 3}, {}}, [=](auto const& o, auto const& exec) {
      return add_activate(o.x[0], o.x[1], activation, -0.25F, exec);
    });
  }
}

}  // namespace differentiated
