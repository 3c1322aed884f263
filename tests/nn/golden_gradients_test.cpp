// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// Gradients as spconv and TorchSparse recorded them, through the tape.

#include "../support/small.hpp"
#include "golden_spconv_layers.hpp"

#include <tessera/autograd/tape.hpp>
#include <tessera/nn/conv.hpp>
#include <tessera/nn/pooling.hpp>

using namespace tessera;
using namespace golden_spconv;

namespace {

/// The values of rows in lexicographic order in the order of `like`.
template <int Dim, class Space>
std::vector<float> unsorted(std::vector<float> const& sorted_values,
                            SparseTensor<Dim, float, Space> const& like, Execution<Space> const& exec)
{
  auto const rows = like.coordinates_on_host(exec);
  std::vector<std::size_t> order(rows.size());
  for (std::size_t i = 0; i < order.size(); ++i) { order[i] = i; }
  std::sort(order.begin(), order.end(),
            [&](auto a, auto b) { return test::lexicographically_less(rows[a], rows[b]); });
  auto const channels = sorted_values.size() / std::max(rows.size(), std::size_t{1});
  std::vector<float> result(sorted_values.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    std::copy_n(sorted_values.begin() + static_cast<std::ptrdiff_t>(i * channels), channels,
                result.begin() + static_cast<std::ptrdiff_t>(order[i] * channels));
  }
  return result;
}

/// A gradient [volume, in, out] in spconv's order, [out, volume..., in].
std::vector<float> in_krsc(std::vector<float> const& values, std::vector<std::int64_t> const& shape)
{
  auto const out = static_cast<std::size_t>(shape.front());
  auto const in = static_cast<std::size_t>(shape.back());
  auto const volume = values.size() / out / in;
  std::vector<float> result(values.size());
  for (std::size_t k = 0; k < volume; ++k) {
    for (std::size_t c = 0; c < in; ++c) {
      for (std::size_t o = 0; o < out; ++o) {
        result[(o * volume + k) * in + c] = values[(k * in + c) * out + o];
      }
    }
  }
  return result;
}

template <int Dim, class Space>
std::vector<float> weight_gradient(nn::ModuleBase& layer, Execution<Space> const& exec)
{
  for (auto const& parameter : layer.writable_parameters()) {
    if (parameter.role != nn::ParameterRole::conv_weight) { continue; }
    auto const& typed = parameter.template as<float, Space>();
    return download(std::as_const(typed).grad(), typed.size(), exec);
  }
  return {};
}

template <int Dim, class Space>
int check_gradients(Safetensors const& file)
{
  Execution<Space> const exec{};
  ConvConfig config;
  config.compat = compat::spconv;
  ScopedConvConfig const scope{config};
  int layers = 0;
  for (auto const& entry : cases_of(file, Dim)) {
    if (entry.has("Global") || entry.has("AvgPool")) { continue; }  // spconv's are wrong for average pools
    CAPTURE(entry.name);
    if (layers++ % 8 != 0 && test::small_sets()) { continue; }
    Golden<Dim, Space> const golden{file, entry, exec};
    auto const x = golden.input();
    auto const made = golden.layers(io::Krsc{});
    Tape<Space> tape;
    tape.watch(x);
    if (made.down != nullptr) { tape.watch(*made.down); }
    tape.watch(*made.last);
    auto const y = made.forward(x, exec.with_recorder(tape));
    auto const cotangent = unsorted(file.to_float(entry.name + ".grad_out"), y, exec);
    auto const grad = upload_matrix(cotangent, y.channels(), exec);
    tape.backward(y, grad.view(), exec);
    auto const dx = x.with_features(tape.gradient(x)).features_on_host(exec);  // in the order of the input
    CHECK(test::largest_difference(dx, file.to_float(entry.name + ".grad_in")) <= 1e-3);
    auto const check_weight = [&](nn::ModuleBase& layer, std::string const& name) {
      if (!file.contains(name)) { return; }
      auto found = weight_gradient<Dim, Space>(layer, exec);
      auto const shape = file.shape(name);
      // spconv reads the weight of a kernel of one voxel as [in, out], whatever its shape says.
      bool const is_matrix = found.size() == static_cast<std::size_t>(shape.front() * shape.back()) &&
                             y.coordinates() == x.coordinates();
      if (!is_matrix) { found = in_krsc(found, shape); }
      CHECK(test::largest_difference(found, file.to_float(name)) <= 1e-3);
    };
    if (made.down != nullptr) { check_weight(*made.down, entry.name + ".grad_down.weight"); }
    check_weight(*made.last, entry.name + ".grad_weight");
  }
  return layers;
}

}  // namespace

TEST_CASE_TEMPLATE("gradients of spconv's layers: every recorded one is reproduced through the tape", Space,
                   TESSERA_TEST_SPACES)
{
  auto const path = test::data_file("golden/spconv/layers.safetensors");
  if (!path || test::skipped<Space>()) { return; }
  Safetensors const file{*path};
  CHECK(check_gradients<1, Space>(file) + check_gradients<2, Space>(file) + check_gradients<3, Space>(file) +
            check_gradients<4, Space>(file) >
        0);
}

TEST_CASE_TEMPLATE("gradients of spconv's global maximum are reproduced through the tape", Space,
                   TESSERA_TEST_SPACES)
{
  auto const path = test::data_file("golden/spconv/layers.safetensors");
  if (!path || test::skipped<Space>()) { return; }
  Safetensors const file{*path};
  Execution<Space> const exec{};
  for (auto const& entry : cases_of(file, 3)) {
    if (!entry.has("GlobalMax")) { continue; }
    auto const x = Golden<3, Space>{file, entry, exec}.input();
    Tape<Space> tape;
    tape.watch(x);
    auto const y = nn::GlobalMaxPool<3, float, Space>{}(x, exec.with_recorder(tape));
    auto const grad = upload_matrix(file.to_float(entry.name + ".grad_out"), y.columns(), exec);
    tape.backward(y, grad.view(), exec);
    auto const dx = x.with_features(tape.gradient(x));
    CHECK(test::largest_difference(dx.features_on_host(exec), file.to_float(entry.name + ".grad_in")) <=
          1e-3);
  }
}

TEST_CASE_TEMPLATE("gradients of TorchSparse's stacks of layers are reproduced through the tape", Space,
                   TESSERA_TEST_SPACES)
{
  auto const path = test::data_file("golden/training.safetensors");
  if (!path || test::skipped<Space>()) { return; }
  Safetensors const file{*path};
  Execution<Space> const exec{};
  ConvConfig config;
  config.compat = compat::torchsparse;
  ScopedConvConfig const scope{config};
  int entries = 0;
  for (auto const& entry : file.metadata()) {
    std::string const& name = entry.first;
    if (!file.contains(name + ".grad_in")) { continue; }
    ++entries;
    CAPTURE(name);
    auto const json = test::golden_config(file, name);
    std::vector<std::unique_ptr<nn::Conv<3, float, Space>>> stack;
    Tape<Space> tape;
    for (auto const& layer : *json.template get<detail::Json::Array>()) {
      auto const weight_name = name + ".weight" + std::to_string(stack.size());
      auto const size = test::per_axis(*layer.find("kernel_size"));
      auto const shape = file.shape(weight_name);
      ConvOptions<3> options(static_cast<int>(shape[1]), static_cast<int>(shape[2]), size);
      options.stride(test::per_axis(*layer.find("stride")));
      options.transposed(*layer.find("transposed")->template get<bool>());
      stack.push_back(std::make_unique<nn::Conv<3, float, Space>>(options, exec));
      auto& weight = stack.back()->weight();
      auto const values = test::reorder_offsets(file.to_float(weight_name), size);
      detail::Transfer<Space>::from_host(weight.write(), values.data(), values.size() * sizeof(float), exec);
      tape.watch(*stack.back());
    }
    auto const in = file.to_float(name + ".in_feats");
    SparseTensor<3, float, Space> const x{
        make_coordinate_set(test::coordinates_of(file.to<std::int32_t>(name + ".in_coords")),
                            CoordinateSetOptions<3>{}, exec),
        upload_matrix(in, file.shape(name + ".in_feats").back(), exec)};
    tape.watch(x);
    auto y = x;
    for (auto& layer : stack) { y = (*layer)(y, exec.with_recorder(tape)); }
    auto const grad = upload_matrix(file.to_float(name + ".grad_out"), y.channels(), exec);
    tape.backward(y, grad.view(), exec);
    auto const dx = tape.gradient(x);
    CHECK(test::largest_difference(download(dx.data(), dx.size(), exec), file.to_float(name + ".grad_in")) <=
          1e-3);
    for (std::size_t i = 0; i < stack.size(); ++i) {
      auto const& weight = stack[i]->weight();
      auto const expected = test::reorder_offsets(file.to_float(name + ".grad_weight" + std::to_string(i)),
                                                  stack[i]->options().geometry.kernel_size);
      CHECK(test::largest_difference(download(std::as_const(weight).grad(), weight.size(), exec), expected) <=
            1e-3);
    }
  }
  CHECK(entries > 0);
}
