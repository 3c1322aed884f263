// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// Recorded layers of spconv 2.3, built from the configuration in the file's metadata by the registry.

#include "../support/data.hpp"
#include "../support/device.hpp"
#include "../support/golden.hpp"
#include "../support/oracle.hpp"

#ifdef __CUDACC__
#include <tessera/conv/convolution_kernels.cuh>
#endif
#include <tessera/conv/detail/convolution_host.hpp>
#include <tessera/io/detail/file.hpp>
#include <tessera/io/detail/json.hpp>
#include <tessera/io/detail/layer_config_body.hpp>
#include <tessera/io/layer_config.hpp>
#include <tessera/io/load.hpp>
#include <tessera/nn/layer_registry.hpp>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

namespace golden_spconv {

using namespace tessera;

struct Case {
  std::string name;
  detail::Json json;

  [[nodiscard]] std::string layer() const { return *json.find("layer")->get<std::string>(); }
  [[nodiscard]] int dim() const { return static_cast<int>(*json.find("dim")->get<std::int64_t>()); }
  [[nodiscard]] bool has(char const* part) const { return layer().find(part) != std::string::npos; }

  /// The layer's configuration: what the metadata says beside dimension and shapes.
  [[nodiscard]] nn::LayerConfig config(std::string const& type) const
  {
    auto result = detail::layer_config_of(without_description(), detail::FileContext{"golden", name});
    return result.type(type);
  }

 private:
  [[nodiscard]] detail::Json without_description() const
  {
    detail::Json::Object kept;
    auto const* const all = json.get<detail::Json::Object>();
    for (std::size_t i = 0; i < all->keys.size(); ++i) {
      auto const& key = all->keys[i];
      if (key == "dim" || key == "spatial_shape" || key == "out_spatial_shape") { continue; }
      kept.keys.push_back(key == "layer" ? "type" : key);
      kept.values.push_back(all->values[i]);
    }
    return detail::Json{kept};
  }
};

inline std::vector<Case> cases_of(Safetensors const& file, int dim)
{
  std::vector<Case> result;
  for (auto const& [name, text] : file.metadata()) {
    if (!file.contains(name + ".out_feats")) { continue; }
    Case entry{name, test::golden_config(file, name)};
    if (entry.dim() == dim) { result.push_back(entry); }
  }
  return result;
}

template <int Dim>
std::vector<Coordinate<Dim>> rows_of(std::vector<std::int32_t> const& values)
{
  std::vector<Coordinate<Dim>> rows;
  for (std::size_t i = 0; i < values.size(); i += Dim + 1) {
    Coordinate<Dim> row;
    row.batch = values[i];
    for (int axis = 0; axis < Dim; ++axis) {
      row.position[axis] = values[i + 1 + static_cast<std::size_t>(axis)];
    }
    rows.push_back(row);
  }
  return rows;
}

/// Rows and features in lexicographic order, as they were recorded.
template <int Dim>
struct Sorted {
  std::vector<Coordinate<Dim>> rows;
  std::vector<float> features;
};

template <int Dim, class Space>
Sorted<Dim> sorted(SparseTensor<Dim, float, Space> const& x, Execution<Space> const& exec)
{
  auto const rows = x.coordinates_on_host(exec);
  auto const features = x.features_on_host(exec);
  std::vector<std::size_t> order(rows.size());
  for (std::size_t i = 0; i < order.size(); ++i) { order[i] = i; }
  std::sort(order.begin(), order.end(),
            [&](auto a, auto b) { return test::lexicographically_less(rows[a], rows[b]); });
  Sorted<Dim> result;
  auto const channels = static_cast<std::size_t>(x.channels());
  for (auto const i : order) {
    result.rows.push_back(rows[i]);
    for (std::size_t c = 0; c < channels; ++c) { result.features.push_back(features[i * channels + c]); }
  }
  return result;
}

/// A recorded network of one layer, or of a strided one and its inverse.
template <int Dim, class Space>
struct Layers {
  nn::ModulePointer<Dim, float, Space> down;  // null where there is one layer
  nn::ModulePointer<Dim, float, Space> last;

  [[nodiscard]] SparseTensor<Dim, float, Space> forward(SparseTensor<Dim, float, Space> const& x,
                                                        Execution<Space> const& exec) const
  {
    return last->forward(down != nullptr ? down->forward(x, exec) : x, exec);
  }
};

template <int Dim, class Space>
struct Golden {
  Safetensors const& file;
  Case const& entry;
  Execution<Space> const& exec;

  [[nodiscard]] SparseTensor<Dim, float, Space> input() const
  {
    auto const key = "input." + std::to_string(Dim) + "d.";
    auto const rows = rows_of<Dim>(file.to<std::int32_t>(key + "coords"));
    auto const shape = test::ints(*entry.json.find("spatial_shape"));
    CoordinateSetOptions<Dim> options;
    options.spatial_range = SpatialRange<Dim>{};
    for (auto const& row : rows) {
      options.spatial_range->batches = std::max(options.spatial_range->batches, row.batch + 1);
    }
    for (int i = 0; i < Dim; ++i) {
      options.spatial_range->extent[i] = shape.at(static_cast<std::size_t>(i));
    }
    return {make_coordinate_set(rows, options, exec),
            upload_matrix(file.to_float(key + "feats"), file.shape(key + "feats").back(), exec)};
  }

  /// Layer `type` with the sizes of its recorded weight, loaded.
  template <class Layout>
  [[nodiscard]] nn::ModulePointer<Dim, float, Space> layer(std::string const& type, std::string const& prefix,
                                                           Layout const& layout) const
  {
    auto config = entry.config(type);
    if (file.contains(prefix + "weight")) {
      auto const shape = file.shape(prefix + "weight");
      config.set("in_channels", shape.back()).set("out_channels", shape.front());
      config.set("bias", file.contains(prefix + "bias"));
    }
    auto made = nn::build_layer<Dim, float, Space>(config, exec);
    io::load(*made, file, layout, exec, LoadOptions().prefix(prefix));
    return made;
  }

  template <class Layout>
  [[nodiscard]] Layers<Dim, Space> layers(Layout const& layout) const
  {
    auto const dims = std::to_string(Dim) + "d";
    if (entry.layer() != "inverse") { return {nullptr, layer(entry.layer(), entry.name + ".", layout)}; }
    // mmdetection3d gives an inverse convolution its kernel size alone
    nn::LayerConfig config{"SparseInverseConv" + dims};
    auto const shape = file.shape(entry.name + ".weight");
    config.set("in_channels", shape.back()).set("out_channels", shape.front());
    config.set("kernel_size", entry.config("").template require<IntArray<Dim>>("kernel_size"));
    auto up = nn::build_layer<Dim, float, Space>(config.set("indice_key", "down"), exec);
    io::load(*up, file, layout, exec, LoadOptions().prefix(entry.name + "."));
    return {layer("SparseConv" + dims, entry.name + ".down.", layout), std::move(up)};
  }

  template <class Layout>
  [[nodiscard]] SparseTensor<Dim, float, Space> run(Layout const& layout) const
  {
    auto const x = input();
    auto const y = layers(layout).forward(x, exec);
    if (entry.layer() == "inverse") { CHECK(y.coordinates() == x.coordinates()); }
    return y;
  }
};

}  // namespace golden_spconv
