// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
//
//   cpp_layers <out.safetensors>: layers computed by the C++ functions, with their inputs, for test_cpp_layers.py.

#include <tessera/conv/convolution_backward.hpp>
#include <tessera/io/safetensors.hpp>
#include <tessera/ops/convolution.hpp>
#include <tessera/ops/dense.hpp>
#include <tessera/ops/global_pooling.hpp>
#include <tessera/ops/pooling.hpp>

#include <cstdint>
#include <cstdio>
#include <deque>
#include <exception>
#include <random>
#include <string>
#include <vector>

namespace ts = tessera;

namespace {

using Host = ts::Host;
using Tensor = ts::SparseTensor<3, float, Host>;
constexpr int extent = 9;
constexpr int in_channels = 6;
constexpr int out_channels = 10;

/// The tensors of the file, and the memory of those that would be gone by the time it is written.
struct File {
  template <class T>
  void add(std::string const& name, T const* data, std::vector<std::int64_t> const& shape)
  {
    std::size_t bytes = sizeof(T);
    for (auto const size : shape) { bytes *= static_cast<std::size_t>(size); }
    auto const* const first = reinterpret_cast<std::uint8_t const*>(data);
    kept.emplace_back(first, first + bytes);
    auto const type = std::is_same_v<T, float> ? ts::DType::float32 : ts::DType::int32;
    tensors.push_back({name, {type, shape, kept.back().data(), bytes}});
  }
  void add(std::string const& name, ts::Matrix<float, Host> const& matrix)
  {
    add(name, matrix.data(), {matrix.rows(), matrix.columns()});
  }

  std::deque<std::vector<std::uint8_t>> kept;
  std::vector<ts::NamedTensor> tensors;
};

std::vector<float> draw(std::int64_t count, std::mt19937& random)
{
  std::vector<float> values(static_cast<std::size_t>(count));
  for (auto& value : values) { value = static_cast<float>(static_cast<std::int32_t>(random())) * 0x1p-31F; }
  return values;
}

/// A convolution over `mapped` with its gradients, under names that begin with `name`.
void add_convolution(File& file, std::string const& name, Tensor const& x, Tensor const& y,
                     ts::KernelMap<Host>& map, std::vector<float> const& weight, std::mt19937& random,
                     ts::Execution<Host> const& exec)
{
  auto const columns = x.channels();
  auto const dy = ts::upload_matrix(draw(map.num_out() * y.channels(), random), y.channels(), exec);
  ts::ConvConfig const config;
  auto const view = ts::plain_weight(weight.data(), map.volume(), columns, y.channels());
  ts::Matrix<float, Host> dw{map.volume(), std::int64_t{columns} * y.channels(), exec};
  ts::Matrix<float, Host> db{1, y.channels(), exec};
  ts::convolution_backward_weight(x.features(), dy.view(), map, dw.data(), ts::GradientMode::overwrite, exec);
  ts::convolution_backward_bias(dy.view(), map, db.data(), ts::GradientMode::overwrite, exec);
  file.add(name + ".coordinates", reinterpret_cast<std::int32_t const*>(y.coordinates()->data()),
           {y.coordinates()->capacity(), 4});
  file.add(name + ".out", y.features().data, {y.capacity(), y.channels()});
  file.add(name + ".grad", dy);
  file.add(name + ".grad_features", ts::convolution_backward_data(dy.view(), view, map, config, exec));
  file.add(name + ".grad_weight", dw.data(), {map.volume(), columns, y.channels()});
  file.add(name + ".grad_bias", db.data(), {y.channels()});
}

void write(char const* path)
{
  ts::Execution<Host> const exec;
  std::mt19937 random{5};
  std::vector<ts::Coordinate<3>> rows;
  for (int b = 0; b < 2; ++b) {
    for (int cell = 0; cell < extent * extent * extent; ++cell) {
      if (random() % 3 == 0) {
        rows.push_back({b, {cell / extent / extent, cell / extent % extent, cell % extent}});
      }
    }
  }
  File file;
  auto const count = static_cast<std::int64_t>(rows.size());
  ts::CoordinateSetOptions<3> options;
  options.spatial_range = ts::SpatialRange<3>{2, ts::IntArray<3>(extent)};
  Tensor const x{ts::make_coordinate_set(rows, options, exec),
                 ts::upload_matrix(draw(count * in_channels, random), in_channels, exec)};
  auto const weight = draw(27 * in_channels * out_channels, random);
  auto const inverse_weight = draw(27 * out_channels * in_channels, random);
  auto const bias = draw(out_channels, random);
  file.add("coordinates", reinterpret_cast<std::int32_t const*>(x.coordinates()->data()), {count, 4});
  file.add("features", x.features().data, {count, in_channels});
  file.add("weight", weight.data(), {27, in_channels, out_channels});
  file.add("inverse_weight", inverse_weight.data(), {27, out_channels, in_channels});
  file.add("bias", bias.data(), {out_channels});

  using Kind = ts::ConvolutionKind;
  ts::ConvConfig const config;
  auto& set = *x.coordinates();
  ts::ConvolutionGeometry<3> same;
  ts::ConvolutionGeometry<3> half;
  half.stride = 2;
  half.padding = 1;
  auto const convolve = [&](std::string const& name, Kind kind, ts::ConvolutionGeometry<3> const& g) {
    auto const y = ts::convolution(x, weight.data(), bias.data(), out_channels, kind, g, config, exec);
    auto const map = ts::kernel_map(set, kind, g, ts::compat::none, exec).map;
    add_convolution(file, name, x, y, *map, weight, random, exec);
    return y;
  };
  convolve("submanifold", Kind::submanifold, same);
  auto const down = convolve("strided", Kind::strided, half);
  convolve("expanding", Kind::expanding, half);
  auto const up =
      ts::convolution(down, inverse_weight.data(), nullptr, in_channels, Kind::inverse, half, config, exec);
  auto const back = ts::kernel_map(*down.coordinates(), Kind::inverse, half, ts::compat::none, exec).map;
  add_convolution(file, "inverse", down, up, *back, inverse_weight, random, exec);

  auto const pools = ts::nn::PoolOptions<3>(3).stride(2).padding(1);
  auto const add_pool = [&](std::string const& name, Tensor const& y, auto const& backward) {
    auto const dy = ts::upload_matrix(draw(y.capacity() * in_channels, random), in_channels, exec);
    file.add(name + ".out", y.features().data, {y.capacity(), in_channels});
    file.add(name + ".grad", dy);
    file.add(name + ".grad_features", backward(dy.view()));
  };
  add_pool("max", ts::max_pool(x, pools, exec),
           [&](auto const& dy) { return ts::max_pool_backward(dy, x, pools, exec); });
  add_pool("average", ts::average_pool(x, pools, exec),
           [&](auto const& dy) { return ts::average_pool_backward(dy, x, pools, exec); });
  file.add("global_average", ts::global_average_pool(x, exec));
  file.add("global_max", ts::global_max_pool(x, exec));
  auto const dense = ts::dense(x, {std::nullopt, ts::DenseLayout::channels_first}, exec);
  file.add("dense", dense.data(), dense.shape());
  ts::write_safetensors(path, file.tensors);
}

}  // namespace

int main(int argc, char** argv)
{
  if (argc != 2) {
    std::fputs("cpp_layers <out.safetensors>\n", stderr);
    return 2;
  }
  try {
    write(argv[1]);
  } catch (std::exception const& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
