// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/io/detail/checkpoint.hpp>
#include <tessera/io/detail/stored_layout.hpp>
#include <tessera/io/detail/wrapper_names.hpp>
#include <tessera/io/safetensors.hpp>
#include <tessera/nn/parameter.hpp>

#include <algorithm>
#include <cstddef>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Finds the tensors of a file that belong to a module's parameters, and says what is there instead where
/// they are missing.
class ParameterNames {
 public:
  ParameterNames(Safetensors const& file, std::vector<nn::ParameterView> const& parameters)
      : file_{file}, parameters_{parameters}
  {
    auto const mark = file.metadata().find(prefix_key);
    if (mark != file.metadata().end()) { lost_ = mark->second; }
  }

  /// The name in the file of each parameter under `prefix`; empty where there is none.
  [[nodiscard]] std::vector<std::string> names_under(std::string const& prefix) const
  {
    std::vector<std::string> names;
    for (auto const& parameter : parameters_) { names.push_back(find(prefix, parameter.name)); }
    return names;
  }

  /// The wrappers of a network, as `module.model.`, behind which the file has every parameter; empty if there
  /// are none, or several.
  [[nodiscard]] std::string wrappers() const
  {
    constexpr std::size_t most = 16;
    std::set<std::string_view> candidates;
    for (auto const& name : file_.names()) {
      auto const wrappers = leading_wrappers(name);
      if (!wrappers.empty() && candidates.size() < most) { candidates.insert(wrappers); }
    }
    std::string found;
    for (auto const candidate : candidates) {
      std::string const prefix{candidate};
      if (count_under(prefix) < parameters_.size()) { continue; }
      if (!found.empty()) { return {}; }
      found = prefix;
    }
    return found;
  }

  /// What the file has instead of the `missing` parameters: names, the nearest ones, a prefix that fits.
  [[nodiscard]] std::string explain(std::vector<std::string> const& missing) const
  {
    if (file_.names().empty()) { return "; it has no tensor at all"; }
    auto text = concat("; it has ", file_.names().size(), ": ", first_few(file_.names()));
    for (std::size_t i = 0; i < missing.size() && i < 2; ++i) {
      auto const& near = nearest(missing[i]);
      if (!near.empty()) {
        text += concat("; nearest to \"", shown_name(missing[i]), "\" is \"", shown_name(near), "\"");
      }
    }
    std::size_t count = 0;
    auto const prefix = likely_prefix(count);
    if (count > 0) {
      return text + concat("; behind the prefix ", in_quotes(prefix), " it has ", count,
                           " of them: LoadOptions().prefix(\"", shown_name(prefix),
                           "\"), or ConvertOptions::prefix, --prefix when it is converted");
    }
    auto const own = own_prefix();
    if (!own.empty()) {
      text += concat("; the module's names begin with ", in_quotes(own),
                     ", those of the file do not: load the module "
                     "of that name");
    }
    return text;
  }

 private:
  [[nodiscard]] std::string find(std::string const& prefix, std::string const& name) const
  {
    if (file_.contains(prefix + name)) { return prefix + name; }
    // Conversion took `lost_` from the names, of which the module may have the last parts itself.
    for (std::size_t at = 0; prefix.empty() && at < lost_.size(); at = lost_.find('.', at) + 1) {
      std::string_view const end = std::string_view{lost_}.substr(at);
      if (begins_with(name, end) && file_.contains(name.substr(end.size()))) {
        return name.substr(end.size());
      }
      if (lost_.find('.', at) == std::string::npos) { break; }
    }
    return {};
  }

  [[nodiscard]] std::size_t count_under(std::string const& prefix) const
  {
    auto const found = [&](auto const& parameter) { return file_.contains(prefix + parameter.name); };
    return static_cast<std::size_t>(std::count_if(parameters_.begin(), parameters_.end(), found));
  }

  /// The name that begins and ends most like `name`.
  [[nodiscard]] std::string const& nearest(std::string const& name) const
  {
    static std::string const none;
    std::string const* best = &none;
    std::size_t best_score = name.size() / 2;  // less in common is no help
    for (auto const& other : file_.names()) {
      auto const shorter = std::min(name.size(), other.size());
      auto const begin =
          std::mismatch(name.begin(), name.begin() + static_cast<std::ptrdiff_t>(shorter), other.begin())
              .first -
          name.begin();
      auto const end =
          std::mismatch(name.rbegin(), name.rbegin() + static_cast<std::ptrdiff_t>(shorter), other.rbegin())
              .first -
          name.rbegin();
      auto const score = std::min(shorter, static_cast<std::size_t>(begin + end));
      if (score > best_score) {
        best = &other;
        best_score = score;
      }
    }
    return *best;
  }

  /// The prefix behind which the file has most parameters, and how many.
  [[nodiscard]] std::string likely_prefix(std::size_t& count) const
  {
    constexpr std::size_t most = 8;
    std::set<std::string> candidates;
    for (std::size_t i = 0; i < parameters_.size() && i < 3; ++i) {
      auto const end = "." + parameters_[i].name;
      for (auto const& name : file_.names()) {
        if (candidates.size() < most && ends_with(name, end)) {
          candidates.insert(name.substr(0, name.size() - end.size() + 1));
        }
      }
    }
    std::string best;
    for (auto const& candidate : candidates) {
      auto const found = count_under(candidate);
      if (found <= count) { continue; }
      count = found;
      best = candidate;
    }
    return best;
  }

  /// The first parts of the first parameter's name without which the file has it.
  [[nodiscard]] std::string own_prefix() const
  {
    auto const& name = parameters_.front().name;
    for (auto dot = name.find('.'); dot != std::string::npos; dot = name.find('.', dot + 1)) {
      if (file_.contains(name.substr(dot + 1))) { return name.substr(0, dot + 1); }
    }
    return {};
  }

  Safetensors const& file_;
  std::vector<nn::ParameterView> const& parameters_;
  std::string lost_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
