// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "../models/random_networks.hpp"
#include "../support/difference.hpp"
#include "../support/memory.hpp"
#include "../support/small.hpp"
#include "tensors.hpp"

#ifdef __CUDACC__
#include <tessera/conv/convolution_kernels.cuh>
#include <tessera/nn/detail/tune_backend.cuh>
#include <tessera/plan/plan.cuh>
#endif
#include <tessera/conv/detail/convolution_host.hpp>
#include <tessera/models/minkunet.hpp>
#include <tessera/models/sparse_encoder.hpp>
#include <tessera/nn/fuse.hpp>
#include <tessera/nn/tune.hpp>

#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

namespace tune_cases {

using namespace tessera;
using nn::ConvChoice;
using nn::TuneStep;
using nn::TuneTrial;
using tessera::TuneOptions;

template <class Space>
using Conv = nn::Conv<3, float, Space>;
template <class Space>
using Net = nn::Sequential<3, float, Space>;
template <class Space>
using Samples = std::vector<SparseTensor<3, float, Space>>;

inline ConvChoice gemm(bool sort, int splits)
{
  return {Dataflow::implicit_gemm, sort, splits};
}

/// A clock that shows what `seconds(trial)` says, and does the work.
template <class Seconds>
nn::TuneTimer clock_of(Seconds seconds)
{
  return [seconds](TuneTrial const& trial, std::function<void()> const& work) {
    work();
    return static_cast<double>(seconds(trial));
  };
}

/// Quiet and quick.
inline TuneOptions options_of(nn::TuneTimer timer)
{
  return TuneOptions().quiet().repetitions(1).timer(std::move(timer));
}

/// A sample of voxels on a surface, 100 or more.
template <class Space>
Samples<Space> samples_of(int channels, Execution<Space> const& exec, int size = 12)
{
  return {random_networks::input<3>(size, 1, channels, exec)};
}

template <class Model, class Space>
std::vector<float> output_of(Model& model, SparseTensor<3, float, Space> const& x,
                             Execution<Space> const& exec)
{
  return model.forward(x, exec).features_on_host(exec);
}

/// What makes a group, and the names of its layers.
using Key = std::tuple<std::string, int, int, std::vector<int>, int, int>;
using Groups = std::map<Key, std::set<std::string>>;

/// Groups from the names and shapes of a model's kernels: `tell(layer)` -> kind, stride, tensor stride.
template <class Tell>
Groups groups_by_name(nn::ModuleBase const& model, Tell const& tell)
{
  Groups result;
  for (auto const& parameter : model.parameters()) {
    if (parameter.role != nn::ParameterRole::conv_weight) { continue; }
    auto const layer = parameter.name.substr(0, parameter.name.rfind('.'));
    auto const [kind, stride, tensor_stride] = tell(layer);
    auto const rank = parameter.shape.size();
    result[{kind, static_cast<int>(parameter.shape[rank - 2]), static_cast<int>(parameter.shape[rank - 1]),
            parameter.kernel_size, stride, tensor_stride}]
        .insert(layer);
  }
  return result;
}

inline Groups groups_of(nn::Tuning const& tuning)
{
  Groups result;
  for (auto const& [group, layers, choice, before, s, sb, ms, msb, refused] : tuning.groups) {
    auto& names = result[{detail::name_of(group.kind), group.in_channels, group.out_channels,
                          group.kernel_size, group.stride[0], group.tensor_stride[0]}];
    CHECK(names.empty());  // no group twice
    names.insert(layers.begin(), layers.end());
    CHECK(names.size() == layers.size());
  }
  return result;
}

struct LayerKind {
  std::string kind;
  int stride;
  int tensor_stride;
};

/// Of a MinkUNet: stem at 1, stage k from 2^(k-1) to 2^k, up k from 2^(5-k) to 2^(4-k).
inline LayerKind in_minkunet(std::string const& layer)
{
  auto const starts = [&](char const* text) { return layer.rfind(text, 0) == 0; };
  bool const first = layer.size() > 7 && layer.find(".0.net.0") != std::string::npos;
  if (starts("stage")) {
    int const k = layer[5] - '0';
    if (layer == "stage" + std::to_string(k) + ".0.net.0") { return {"strided", 2, 1 << (k - 1)}; }
    return {"submanifold", 1, 1 << k};
  }
  if (starts("up")) {
    int const k = layer[2] - '0';
    if (first && layer == "up" + std::to_string(k) + ".0.net.0") { return {"transposed", 2, 1 << (5 - k)}; }
    return {"submanifold", 1, 1 << (4 - k)};
  }
  REQUIRE(starts("stem"));
  return {"submanifold", 1, 1};
}

/// Of SECOND's encoder: stages but the first begin with a strided convolution, the last layer halves an axis.
inline LayerKind in_encoder(std::string const& layer)
{
  std::string const head = "encoder_layers.encoder_layer";
  if (layer == "conv_input.0") { return {"submanifold", 1, 1}; }
  if (layer == "conv_out.0") { return {"strided", 2, 8}; }
  REQUIRE(layer.rfind(head, 0) == 0);
  int const stage = layer[head.size()] - '0';
  bool const strided = stage > 1 && layer.substr(head.size() + 1) == ".0.0";
  return {strided ? "strided" : "submanifold", strided ? 2 : 1, 1 << (strided ? stage - 2 : stage - 1)};
}

}  // namespace tune_cases
