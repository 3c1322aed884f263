// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace tessera {
inline namespace v0 {
namespace detail {

/// What programs wrap a network in for training, as the name of the attribute that holds it.
/// Source: torch.nn.parallel and DeepSpeed (`module`), the usual attributes of Lightning's modules and of
/// training scripts (`model`, `net`, `network`).
inline constexpr std::string_view wrapper_names[] = {"module.", "model.", "net.", "network."};

/// Wrappers that PyTorch puts around any module, whose names nobody else uses: torch.compile, fully sharded
/// training, activation checkpointing.
inline constexpr std::string_view torch_wrapper_names[] = {"_orig_mod.", "_fsdp_wrapped_module.",
                                                           "_checkpoint_wrapped_module.", "_forward_module."};

[[nodiscard]] inline bool begins_with(std::string_view text, std::string_view with) noexcept
{
  return text.substr(0, with.size()) == with;
}

/// The wrapper that `name` begins with, with its dot; empty if it begins with none.
[[nodiscard]] inline std::string_view leading_wrapper(std::string_view name) noexcept
{
  for (auto const wrapper : wrapper_names) {
    if (begins_with(name, wrapper)) { return wrapper; }
  }
  for (auto const wrapper : torch_wrapper_names) {
    if (begins_with(name, wrapper)) { return wrapper; }
  }
  return {};
}

/// All wrappers that `name` begins with: `module.model.` of `module.model.conv.weight`.
[[nodiscard]] inline std::string_view leading_wrappers(std::string_view name) noexcept
{
  std::size_t length = 0;
  for (;;) {
    auto const wrapper = leading_wrapper(name.substr(length));
    if (wrapper.empty()) { return name.substr(0, length); }
    length += wrapper.size();
  }
}

/// `name` without PyTorch's own wrappers, wherever they are in it.
[[nodiscard]] inline std::string without_torch_wrappers(std::string_view name)
{
  std::string result;
  for (std::size_t at = 0; at < name.size();) {
    auto const rest = name.substr(at);
    std::size_t skipped = 0;
    for (auto const wrapper : torch_wrapper_names) {
      if (begins_with(rest, wrapper)) { skipped = wrapper.size(); }
    }
    if (skipped == 0) {
      auto const dot = rest.find('.');
      skipped = dot == std::string_view::npos ? rest.size() : dot + 1;
      result += rest.substr(0, skipped);
    }
    at += skipped;
  }
  return result;
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
