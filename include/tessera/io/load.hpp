// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/io/converted_checkpoint.hpp>
#include <tessera/io/detail/checkpoint.hpp>
#include <tessera/io/detail/parameter_names.hpp>
#include <tessera/io/detail/stored_layout.hpp>
#include <tessera/io/safetensors.hpp>
#include <tessera/io/weight_layout.hpp>
#include <tessera/nn/module.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {

/// Options of load(): `LoadOptions().prefix("backbone.")`.
struct LoadOptions {
  /// What the file writes before the names of this module; tensors without it are not looked at.
  LoadOptions& prefix(std::string value) { return prefix_ = std::move(value), *this; }
  [[nodiscard]] std::string const& prefix() const noexcept { return prefix_; }
  /// Whether a tensor of that prefix that the module has no parameter for is an error.
  LoadOptions& strict(bool value = true) { return strict_ = value, *this; }
  [[nodiscard]] bool is_strict() const noexcept { return strict_; }

 private:
  std::string prefix_;
  bool strict_ = false;
};

namespace io {

/// What load() did. Names are those of the file.
struct LoadReport {
  std::vector<std::string> loaded;  ///< in the order of the network's parameters
  std::vector<std::string> unused;  ///< of the prefix, but without a parameter; not `num_batches_tracked`
  std::string layout;  ///< that the file was read in, e.g. "torchsparse"; empty for one of your own
};

/// Copies the tensors of a checkpoint into the parameters and buffers of `network` that have their names.
///
/// Kernels are brought from the file's layout into Tessera's: from the one that the file says it has
/// (`tessera.layout` in its metadata, which convert_checkpoint() and save() write), or else from `Layout`.
/// Offsets that could not be put in order without their kernel size when the file was converted are put in
/// order by the module's. Values of float16, bfloat16, float32 and float64 become the parameter's type,
/// rounded to nearest. Names may have the wrappers of training before them (`module.`, `model.`, ...) if no
/// prefix is given and only one such prefix fits. Everything is checked first: when this throws, nothing in
/// the module has changed.
///
/// @param network  any module or network whose parameters are in `Space`
/// @throws invalid_argument  a parameter has no tensor (the missing ones are named, and what the file has
/// instead), one of another shape (both shapes are named), one that was converted from another kernel size,
/// or one of integers; the file says that its layout is another than a `Layout` of your own; with `strict`, a
/// tensor has no parameter
/// Cost: one pass over the file.
/// Stream: enqueues one copy per parameter; waits only as long as they read host memory.
/// Determinism: same file, same bits.
template <class Layout, class Space>
LoadReport load(nn::ModuleBase& network, Safetensors const& file, Layout const& layout,
                Execution<Space> const& exec, LoadOptions const& options = {})
{
  auto const parameters = network.parameters();
  detail::expect_space<Space>(parameters, "load");
  detail::StoredLayout const stored{file, layout};
  detail::ParameterNames const names{file, parameters};
  auto prefix = options.prefix();
  LoadReport report;
  report.layout = stored.text();
  report.loaded = names.names_under(prefix);
  auto const is_missing = [](std::string const& name) { return name.empty(); };
  auto missing = std::count_if(report.loaded.begin(), report.loaded.end(), is_missing);
  if (missing > 0 && prefix.empty()) {
    auto const wrappers = names.wrappers();
    if (!wrappers.empty()) {
      prefix = wrappers;
      report.loaded = names.names_under(prefix);
      missing = 0;
    }
  }
  if (missing > 0) {
    std::vector<std::string> lacking;
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      if (is_missing(report.loaded[i])) { lacking.push_back(prefix + parameters[i].name); }
    }
    detail::fail("load: ", detail::printable(file.path()), " lacks ", missing, " of the module's ",
                 parameters.size(), " tensors: ", detail::first_few(lacking), names.explain(lacking));
  }
  std::set<std::string> const used(report.loaded.begin(), report.loaded.end());
  for (auto const& name : file.names()) {
    bool const ours = name.rfind(prefix, 0) == 0;
    bool const counter = detail::ends_with(name, "num_batches_tracked");  // PyTorch's; nothing depends on it
    if (ours && !counter && used.count(name) == 0) { report.unused.push_back(name); }
  }
  detail::expects(!options.is_strict() || report.unused.empty(), "load: ", detail::printable(file.path()),
                  " has ", report.unused.size(),
                  " tensors that the module has no parameter for: ", detail::first_few(report.unused));
  std::vector<std::vector<std::uint8_t>> values;
  auto const writable = network.writable_parameters();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    auto const& name = report.loaded[i];
    values.push_back(
        detail::values_for(parameters[i], name, file.tensor(name), stored.place(parameters[i], name)));
  }
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    detail::Transfer<Space>::from_host(writable[i].write_bytes(), values[i].data(), values[i].size(), exec);
  }
  return report;
}

/// How many parameters and buffers of `network` the file has, by name and number of values: all of them for
/// the network that it is of, so that a program can name the network that fits best.
///
/// Cost: one look-up per parameter.
/// Stream: enqueues nothing, does not wait.
/// Determinism: same file, same number.
[[nodiscard]] inline std::size_t num_matching(nn::ModuleBase const& network, Safetensors const& file,
                                              LoadOptions const& options = {})
{
  auto const parameters = network.parameters();
  auto const names = detail::ParameterNames{file, parameters}.names_under(options.prefix());
  std::size_t count = 0;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (names[i].empty()) { continue; }
    std::size_t size = 0;
    bool const counted = detail::count_bytes(file.shape(names[i]), 1, size);
    count += counted && static_cast<std::int64_t>(size) == parameters[i].size ? 1 : 0;
  }
  return count;
}

/// load() from the safetensors file `path`: `io::load(net, "minkunet.safetensors", io::TorchSparse{},
/// exec)`.
/// @throws invalid_argument  also: the file cannot be read
template <class Layout, class Space>
LoadReport load(nn::ModuleBase& network, std::string const& path, Layout const& layout,
                Execution<Space> const& exec, LoadOptions const& options = {})
{
  return load(network, Safetensors{path}, layout, exec, options);
}

/// load() from a checkpoint that convert_checkpoint() read, whose layout is known:
/// `io::load(net, io::convert_checkpoint("centerpoint.pth"), exec)`.
template <class Space>
LoadReport load(nn::ModuleBase& network, ConvertedCheckpoint const& checkpoint, Execution<Space> const& exec,
                LoadOptions const& options = {})
{
  return load(network, checkpoint.tensors, Tessera{}, exec, options);
}

}  // namespace io

/// Options of save(): `SaveOptions().dtype(DType::float16)`.
struct SaveOptions {
  /// The type of all values in the file, rounded to nearest; by default each is written in its own.
  /// @throws invalid_argument  a type that load() does not read: float16, bfloat16, float32, float64 are
  SaveOptions& dtype(DType value)
  {
    detail::expects(value == DType::float16 || value == DType::bfloat16 || value == DType::float32 ||
                        value == DType::float64,
                    "SaveOptions: parameters are not written as ", name_of(value));
    return dtype_ = value, *this;
  }
  [[nodiscard]] std::optional<DType> dtype() const noexcept { return dtype_; }
  /// Texts for the file's metadata. Those whose keys begin with `tessera.network.` stay with the weights when
  /// the file is converted.
  SaveOptions& metadata(std::map<std::string, std::string> value)
  {
    return metadata_ = std::move(value), *this;
  }
  [[nodiscard]] std::map<std::string, std::string> const& metadata() const noexcept { return metadata_; }

 private:
  std::optional<DType> dtype_;
  std::map<std::string, std::string> metadata_;
};

namespace io {

/// Writes all parameters and buffers of `network` to the safetensors file `path`, under their names, in their
/// type unless the options say another, kernels in `Layout`'s order: load() brings back the same bits. The
/// file's metadata say its layout, unless it is one of your own.
/// @throws invalid_argument  a finite value is too large for the type asked for; the file cannot be written
/// Cost: one copy of every parameter.
/// Stream: waits for the work enqueued on `exec`.
/// Determinism: same parameters, same bytes.
template <class Layout, class Space>
void save(nn::ModuleBase const& network, std::string const& path, Layout const& /*layout*/,
          Execution<Space> const& exec, SaveOptions const& options = {})
{
  auto const parameters = network.parameters();
  detail::expect_space<Space>(parameters, "save");
  std::vector<std::vector<std::uint8_t>> values;
  std::vector<NamedTensor> tensors;
  for (auto const& parameter : parameters) {
    auto place = detail::placement(parameter, &Layout::place);
    auto const dtype = options.dtype().value_or(parameter.dtype);
    values.push_back(detail::converted_values(parameter, detail::bytes_of(parameter, place, exec), dtype));
    tensors.push_back(
        {parameter.name, {dtype, std::move(place.shape), values.back().data(), values.back().size()}});
  }
  auto metadata = options.metadata();
  std::string const text{detail::layout_text<Layout>()};
  if (!text.empty()) { metadata[detail::layout_key] = text; }
  write_safetensors(path, tensors, metadata);
}

}  // namespace io
}  // namespace v0
}  // namespace tessera
