// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/core/scalar.hpp>
#include <tessera/io/convert_options.hpp>
#include <tessera/io/detail/file.hpp>
#include <tessera/io/detail/wrapper_names.hpp>
#include <tessera/io/state_dict.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Takes the wrappers of training from the names of a state_dict, and leaves the tensors of one prefix.
///
/// PyTorch's own wrappers (`_orig_mod.`) go wherever they are. `module.`, `model.`, `net.` and `network.` go
/// from the beginning, any number of them, where all weights have them; a loss or a metric beside the network
/// keeps its name. A known prefix (`backbone_3d.`) is found behind wrappers as well. A file that was
/// converted before keeps its names unless a prefix is given.
class NameSelection {
 public:
  NameSelection(io::StateDict& state, ConvertOptions& options, FileContext const& file)
      : state_{state}, options_{options}, file_{file}
  {
    for (auto const& tensor : state_.tensors) { originals_.push_back(tensor.first); }
    auto const& wanted = options_.prefix();
    if (wanted && !wanted->empty() && has(*wanted)) {
      prefix_ = *wanted;  // as the file has it, wrappers included
    } else {
      if (!state_.is_converted) { take_wrappers(); }
      find_prefix();
    }
    keep_prefix();
    lost_ += prefix_;
  }

  /// What the names that are left still begin with, and are to lose.
  [[nodiscard]] std::string const& prefix() const noexcept { return prefix_; }
  /// All that names lose: wrappers and prefix.
  [[nodiscard]] std::string const& lost() const noexcept { return lost_; }
  /// The names in the file of the tensors that are left.
  [[nodiscard]] std::vector<std::string> const& originals() const noexcept { return originals_; }
  /// Names in the file and shapes of tensors with another prefix.
  [[nodiscard]] std::vector<std::pair<std::string, std::vector<std::int64_t>>> const& left_out()
      const noexcept
  {
    return left_out_;
  }

 private:
  [[nodiscard]] bool has(std::string_view prefix) const
  {
    return std::any_of(state_.tensors.begin(), state_.tensors.end(),
                       [&](auto const& tensor) { return begins_with(tensor.first, prefix); });
  }

  /// Gives every name, of tensors, modules, marks and options, what `change` makes of it, unless two tensors
  /// would get one name; false if so.
  template <class Change>
  bool rename(Change const& change)
  {
    std::vector<std::string> names;
    for (auto const& tensor : state_.tensors) { names.push_back(change(tensor.first)); }
    std::set<std::string_view> const different(names.begin(), names.end());
    if (different.size() != names.size()) { return false; }
    for (std::size_t i = 0; i < names.size(); ++i) { state_.tensors[i].first = std::move(names[i]); }
    auto const rename_keys = [&](auto& map, std::string const& end) {
      std::remove_reference_t<decltype(map)> renamed;
      for (auto& [key, value] : map) {
        auto name = change(key + end);
        name.resize(name.size() - std::min(name.size(), end.size()));
        renamed[name] = std::move(value);
      }
      map = std::move(renamed);
    };
    rename_keys(state_.versions, ".");
    rename_keys(state_.kernel_marks, "");
    auto sizes = options_.kernel_sizes();
    rename_keys(sizes, "");
    options_.kernel_sizes(std::move(sizes));
    std::set<std::string> strided;
    for (auto const& name : options_.strided_pointwise()) { strided.insert(change(name)); }
    options_.strided_pointwise(std::move(strided));
    return true;
  }

  void take_wrappers()
  {
    auto const wrappers = common_wrappers();
    bool const taken = rename([&](std::string const& name) {
      return begins_with(name, wrappers) ? name.substr(wrappers.size()) : name;
    });
    if (taken) { lost_ = wrappers; }
    rename([](std::string const& name) { return without_torch_wrappers(name); });
  }

  /// The wrappers that all weights of the file begin with. Without prefix, as asked for, only those that are
  /// nothing else than a wrapper count.
  [[nodiscard]] std::string common_wrappers() const
  {
    std::string_view common;
    bool first = true;
    for (auto const& [name, tensor] : state_.tensors) {
      if (tensor.shape.size() < 2 || tensor.dtype == DType::int64) { continue; }
      auto const wrappers = leading_wrappers(name);
      if (first) { common = wrappers; }
      first = false;
      auto const shorter = std::min(common.size(), wrappers.size());
      std::size_t length = 0;
      for (std::size_t i = 0; i < shorter && common[i] == wrappers[i]; ++i) {
        if (common[i] == '.') { length = i + 1; }
      }
      common = common.substr(0, length);
    }
    if (!options_.prefix()) { return std::string{common}; }
    std::size_t length = 0;
    while (length < common.size()) {
      auto const wrapper = leading_wrapper(common.substr(length));
      if (wrapper != "module." && wrapper.front() != '_') { break; }
      length += wrapper.size();
    }
    return std::string{common.substr(0, length)};
  }

  void find_prefix()
  {
    auto const& wanted = options_.prefix();
    if (wanted) {
      prefix_ = *wanted;
      if (!has(prefix_)) {
        file_.fail("has no tensor whose name begins with ", in_quotes(prefix_), "; they begin with ",
                   beginnings());
      }
      return;
    }
    if (state_.is_converted) { return; }
    for (auto const& known : io::known_prefixes()) {
      std::set<std::string_view> found;  // what is before it
      for (auto const& tensor : state_.tensors) {
        std::string_view const name{tensor.first};
        auto const wrappers = leading_wrappers(name);
        if (begins_with(name.substr(wrappers.size()), known)) { found.insert(wrappers); }
      }
      if (found.empty()) { continue; }
      if (found.size() > 1 && !found.begin()->empty()) {
        file_.fail("has ", in_quotes(known), " behind ", in_quotes(*found.begin()), " and behind ",
                   in_quotes(*found.rbegin()), "; give the prefix (ConvertOptions::prefix, --prefix)");
      }
      prefix_ = std::string{*found.begin()} + known;
      return;
    }
    find_prefix_behind_another_name();
  }

  /// A known prefix behind a name that is no known wrapper, such as `ema_model.`: only where every name that
  /// has it has the same before it, and no weight begins otherwise.
  void find_prefix_behind_another_name()
  {
    for (auto const& known : io::known_prefixes()) {
      std::set<std::string_view> found;
      for (auto const& tensor : state_.tensors) {
        std::string_view const name{tensor.first};
        auto const at = name.find("." + known);
        if (at != std::string_view::npos) { found.insert(name.substr(0, at + 1)); }
      }
      if (found.empty()) { continue; }
      auto const before = *found.begin();
      bool const is_common =
          std::all_of(state_.tensors.begin(), state_.tensors.end(), [&](auto const& tensor) {
            return tensor.second.shape.size() < 2 || begins_with(tensor.first, before);
          });
      if (found.size() == 1 && is_common) { prefix_ = std::string{before} + known; }
      return;
    }
  }

  /// The first parts of the names, for a sentence.
  [[nodiscard]] std::string beginnings() const
  {
    std::set<std::string_view> parts;
    for (auto const& tensor : state_.tensors) {
      parts.insert(std::string_view{tensor.first}.substr(0, tensor.first.find('.') + 1));
    }
    std::string text;
    constexpr std::size_t most = 8;
    std::size_t count = 0;
    for (auto const part : parts) {
      if (++count <= most) { text += (text.empty() ? "" : ", ") + in_quotes(part); }
    }
    return count > most ? concat(text, " and ", count - most, " more") : text.empty() ? "nothing" : text;
  }

  void keep_prefix()
  {
    std::vector<NamedTensor> kept;
    std::vector<std::string> names;
    for (std::size_t i = 0; i < state_.tensors.size(); ++i) {
      auto& tensor = state_.tensors[i];
      if (begins_with(tensor.first, prefix_)) {
        kept.push_back(std::move(tensor));
        names.push_back(std::move(originals_[i]));
      } else {
        left_out_.emplace_back(std::move(originals_[i]), std::move(tensor.second.shape));
      }
    }
    state_.tensors = std::move(kept);
    originals_ = std::move(names);
  }

  io::StateDict& state_;
  ConvertOptions& options_;
  FileContext const& file_;
  std::string prefix_;
  std::string lost_;
  std::vector<std::string> originals_;
  std::vector<std::pair<std::string, std::vector<std::int64_t>>> left_out_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
