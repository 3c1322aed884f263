// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/io/converted_checkpoint.hpp>
#include <tessera/io/detail/checkpoint.hpp>
#include <tessera/io/safetensors.hpp>
#include <tessera/io/weight_layout.hpp>
#include <tessera/nn/module.hpp>

#include <cstddef>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace io {

/// Options of load(): `LoadOptions().prefix("backbone.")`.
struct LoadOptions {
  /// What the file writes before the names of this module; tensors without it are not looked at.
  LoadOptions& prefix(std::string value) { return name_prefix = std::move(value), *this; }
  /// Whether a tensor of that prefix that the module has no parameter for is an error.
  LoadOptions& strict(bool value = true) { return is_strict = value, *this; }

  std::string name_prefix;
  bool is_strict = false;
};

/// What load() did. Names are those of the file.
struct LoadReport {
  std::vector<std::string> loaded;  ///< in the order of the module's parameters
  std::vector<std::string> unused;  ///< of the prefix, but without a parameter; not `num_batches_tracked`
};

/// Copies the tensors of a checkpoint into the parameters and buffers of `module` that have their names.
///
/// Kernels are brought from `Layout`'s order into Tessera's. Values of float16, bfloat16, float32 and float64
/// become the parameter's type, rounded to nearest. Everything is checked first: when this throws, nothing in
/// the module has changed.
///
/// @param module  any module or network whose parameters lie in `Space`
/// @throws invalid_argument  a parameter has no tensor (the missing ones are named), one of another shape
/// (both shapes are named), one that was converted from another kernel size, or one of integers; with
/// `strict`, a tensor has no parameter
/// Cost: one pass over the file. Stream: enqueues one copy a parameter; waits only as long as they read host
/// memory. Determinism: same file, same bits.
template <class Layout, class Space>
LoadReport load(nn::ModuleBase& module, Safetensors const& file, Layout const& layout,
                Execution<Space> const& exec, LoadOptions const& options = {})
{
  detail::expects(!module.is_fused(), "load: the module is fused for inference; load first, then fuse");
  auto const parameters = module.parameters();
  detail::expect_space<Space>(parameters, "load");
  LoadReport report;
  std::vector<std::string> missing;
  std::set<std::string> used;
  for (auto const& parameter : parameters) {
    auto const name = options.name_prefix + parameter.name;
    auto& list = file.contains(name) ? report.loaded : missing;
    list.push_back(name);
    used.insert(name);
  }
  detail::expects(missing.empty(), "load: ", file.path(), " lacks ", missing.size(), " of the module's ",
                  parameters.size(), " tensors: ", detail::first_few(missing));
  for (auto const& name : file.names()) {
    bool const ours = name.rfind(options.name_prefix, 0) == 0;
    bool const counter = detail::ends_with(name, "num_batches_tracked");  // PyTorch's; nothing depends on it
    if (ours && !counter && used.count(name) == 0) { report.unused.push_back(name); }
  }
  detail::expects(!options.is_strict || report.unused.empty(), "load: ", file.path(), " has ",
                  report.unused.size(),
                  " tensors that the module has no parameter for: ", detail::first_few(report.unused));
  std::vector<std::vector<std::uint8_t>> values;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    values.push_back(
        detail::values_for(parameters[i], report.loaded[i], file.tensor(report.loaded[i]), layout));
    detail::expect_kernel_size(parameters[i], report.loaded[i], file.metadata());
  }
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    detail::Transfer<Space>::from_host(parameters[i].data, values[i].data(), values[i].size(), exec);
  }
  return report;
}

/// The same from the safetensors file `path`: `io::load(net, "minkunet.safetensors", io::TorchSparse{},
/// exec)`.
/// @throws invalid_argument  also: the file cannot be read
template <class Layout, class Space>
LoadReport load(nn::ModuleBase& module, std::string const& path, Layout const& layout,
                Execution<Space> const& exec, LoadOptions const& options = {})
{
  return load(module, Safetensors{path}, layout, exec, options);
}

/// The same from a checkpoint that convert_checkpoint() read, whose layout is known:
/// `io::load(net, io::convert_checkpoint("centerpoint.pth"), exec)`.
template <class Space>
LoadReport load(nn::ModuleBase& module, ConvertedCheckpoint const& checkpoint, Execution<Space> const& exec,
                LoadOptions const& options = {})
{
  return load(module, checkpoint.tensors, Tessera{}, exec, options);
}

/// Writes all parameters and buffers of `module` to the safetensors file `path`, under their names, in their
/// type, kernels in `Layout`'s order: load() with the same layout brings back the same bits.
/// @throws invalid_argument  the file cannot be written
/// Cost: one copy of every parameter. Stream: waits for the work enqueued on `exec`. Determinism: same
/// parameters, same bytes.
template <class Layout, class Space>
void save(nn::ModuleBase const& module, std::string const& path, Layout const& layout,
          Execution<Space> const& exec)
{
  detail::expects(!module.is_fused(),
                  "save: the module is fused for inference, its parameters are no longer a checkpoint's");
  auto const parameters = module.parameters();
  detail::expect_space<Space>(parameters, "save");
  std::vector<std::vector<std::uint8_t>> values;
  std::vector<NamedTensor> tensors;
  for (auto const& parameter : parameters) {
    values.push_back(detail::bytes_of(parameter, layout, exec));
    tensors.push_back({parameter.name,
                       {parameter.dtype, detail::file_shape(parameter, layout), values.back().data(),
                        values.back().size()}});
  }
  write_safetensors(path, tensors);
}

}  // namespace io
}  // namespace v0
}  // namespace tessera
