// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/core/inline.hpp>
#include <tessera/core/scalar.hpp>
#include <tessera/io/detail/checkpoint.hpp>
#include <tessera/io/detail/parameter_names.hpp>
#include <tessera/io/detail/printable.hpp>
#include <tessera/io/detail/stored_layout.hpp>
#include <tessera/io/load.hpp>
#include <tessera/io/raw_tensor.hpp>
#include <tessera/io/safetensors.hpp>
#include <tessera/nn/module.hpp>
#include <tessera/nn/parameter.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace tessera {
inline namespace v0 {

TESSERA_INLINE SaveOptions& SaveOptions::dtype(DType value)
{
  detail::expects(value == DType::float16 || value == DType::bfloat16 || value == DType::float32 ||
                      value == DType::float64,
                  "SaveOptions: parameters are not written as ", name_of(value));
  return dtype_ = value, *this;
}

namespace detail {

TESSERA_INLINE LoadedParameters find_parameters(std::vector<nn::ParameterView> const& parameters,
                                                Safetensors const& file, std::string_view layout, Place place,
                                                LoadOptions const& options)
{
  StoredLayout const stored{file, layout, place};
  ParameterNames const names{file, parameters};
  auto prefix = options.prefix();
  LoadedParameters result;
  auto& report = result.report;
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
    fail("load: ", printable(file.path()), " lacks ", missing, " of the module's ", parameters.size(),
         " tensors: ", first_few(lacking), names.explain(lacking));
  }
  std::set<std::string> const used(report.loaded.begin(), report.loaded.end());
  for (auto const& name : file.names()) {
    bool const ours = name.rfind(prefix, 0) == 0;
    bool const counter = ends_with(name, "num_batches_tracked");  // PyTorch's; nothing depends on it
    if (ours && !counter && used.count(name) == 0) { report.unused.push_back(name); }
  }
  expects(!options.is_strict() || report.unused.empty(), "load: ", printable(file.path()), " has ",
          report.unused.size(), " tensors that the module has no parameter for: ", first_few(report.unused));
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    auto const& name = report.loaded[i];
    result.values.push_back(
        values_for(parameters[i], name, file.tensor(name), stored.place(parameters[i], name)));
  }
  return result;
}

}  // namespace detail

namespace io {

TESSERA_INLINE std::size_t num_matching(nn::ModuleBase const& network, Safetensors const& file,
                                        LoadOptions const& options)
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

}  // namespace io
}  // namespace v0
}  // namespace tessera
