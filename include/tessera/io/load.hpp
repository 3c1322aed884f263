// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/execution.hpp>
#include <tessera/core/inline.hpp>
#include <tessera/core/scalar.hpp>
#include <tessera/io/converted_checkpoint.hpp>
#include <tessera/io/detail/checkpoint.hpp>
#include <tessera/io/detail/layout_text.hpp>
#include <tessera/io/safetensors.hpp>
#include <tessera/io/weight_layout.hpp>
#include <tessera/nn/module.hpp>
#include <tessera/nn/parameter.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
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

}  // namespace io

namespace detail {

/// What a file has for the parameters of a network.
struct LoadedParameters {
  io::LoadReport report;
  std::vector<std::vector<std::uint8_t>> values;  ///< the bytes of each parameter
};

/// Looks everything up, and refuses what load() refuses.
/// @param layout  the name of the caller's layout, and where that has kernels: see StoredLayout
[[nodiscard]] LoadedParameters find_parameters(std::vector<nn::ParameterView> const& parameters,
                                               Safetensors const& file, std::string_view layout, Place place,
                                               LoadOptions const& options);

}  // namespace detail

namespace io {

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
LoadReport load(nn::ModuleBase& network, Safetensors const& file, Layout const& /*layout*/,
                Execution<Space> const& exec, LoadOptions const& options = {})
{
  auto const parameters = network.parameters();
  detail::expect_space<Space>(parameters, "load");
  auto found =
      detail::find_parameters(parameters, file, detail::layout_text<Layout>(), &Layout::place, options);
  auto const writable = network.writable_parameters();
  for (std::size_t i = 0; i < writable.size(); ++i) {
    auto const& values = found.values[i];
    detail::Transfer<Space>::from_host(writable[i].write_bytes(), values.data(), values.size(), exec);
  }
  return std::move(found.report);
}

/// How many parameters and buffers of `network` the file has, by name and number of values: all of them for
/// the network that it is of, so that a program can name the network that fits best.
///
/// Cost: one look-up per parameter.
/// Stream: enqueues nothing, does not wait.
/// Determinism: same file, same number.
[[nodiscard]] std::size_t num_matching(nn::ModuleBase const& network, Safetensors const& file,
                                       LoadOptions const& options = {});

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
  SaveOptions& dtype(DType value);
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

#ifdef TESSERA_NEEDS_HOST_BODIES
#include <tessera/io/detail/load_body.hpp>
#endif
