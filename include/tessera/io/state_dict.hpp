// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/io/detail/file.hpp>
#include <tessera/io/safetensors.hpp>
#include <tessera/io/torch_checkpoint.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace io {

/// The tensors of a model by name; views of the checkpoint they come from.
struct StateDict {
  std::vector<NamedTensor> tensors;              ///< in the order of the file
  std::map<std::string, std::int64_t> versions;  ///< PyTorch's `_version` of modules, where the file has it
  std::vector<std::string> others;               ///< names of entries that are no tensors
  std::string where;                             ///< e.g. "state_dict", empty for the file's root
};

}  // namespace io

namespace detail {

/// A value's key as text, for sentences.
[[nodiscard]] inline std::string shown_keys(io::TorchValue const& dict)
{
  std::string text;
  constexpr std::size_t most = 6;
  for (std::size_t i = 0; i < dict.size() && i < most; ++i) {
    auto const key = dict.member(i).first;
    text += (i == 0 ? "" : ", ") + (key.kind() == ValueKind::text ? in_quotes(key.text()) : "(no text)");
  }
  return dict.size() > most ? concat(text, " and ", dict.size() - most, " more") : text;
}

[[nodiscard]] inline bool holds_tensors(io::TorchValue const& value)
{
  if (value.kind() != ValueKind::dict) { return false; }
  for (std::size_t i = 0; i < value.size(); ++i) {
    auto const [key, entry] = value.member(i);
    if (key.kind() == ValueKind::text && entry.kind() == ValueKind::tensor) { return true; }
  }
  return false;
}

/// Where checkpoints hold their state_dict, in the order it is looked for.
inline constexpr std::string_view state_dict_names[] = {"state_dict", "model_state", "model", "network"};

/// The first of these members that is a dict of tensors, or has one in turn within `depth`; else none. A
/// step or an accuracy may be a tensor beside it.
[[nodiscard]] inline std::string_view state_dict_member(io::TorchValue const& value, int depth)
{
  for (auto const name : state_dict_names) {
    auto const member = depth > 0 ? value.find(name) : std::nullopt;
    if (member && (holds_tensors(*member) || !state_dict_member(*member, depth - 1).empty())) { return name; }
  }
  return {};
}

/// The `_version` numbers beside a state_dict: `_metadata` is {module: {"version": number}}.
[[nodiscard]] inline std::map<std::string, std::int64_t> module_versions(io::TorchValue const& dict)
{
  std::map<std::string, std::int64_t> versions;
  auto const attributes = dict.attributes();
  auto const metadata = attributes ? attributes->find("_metadata") : std::nullopt;
  if (!metadata || metadata->kind() != ValueKind::dict) { return versions; }
  for (std::size_t i = 0; i < metadata->size(); ++i) {
    auto const [module, facts] = metadata->member(i);
    auto const version = facts.find("version");
    if (module.kind() == ValueKind::text && version && version->kind() == ValueKind::integer) {
      versions[std::string{module.text()}] = version->integer();
    }
  }
  return versions;
}

}  // namespace detail

namespace io {

/// Finds the state_dict of a checkpoint.
///
/// It is what lies under `state_dict`, `model_state`, `model` or `network`, in this order, one in another if
/// need be, if that holds tensors, else the root; or exactly under `key`, if one is given.
/// @throws invalid_argument  there is none; a name appears twice in it; its tensors share memory so often
/// that they are more than eight times the file and 64 MiB
///
/// Cost: a pass over the names; tensors are not copied.
/// Source: `state_dict` is what mmdetection3d, det3d and BEVFusion write, `model_state` OpenPCDet,
/// `model` SPVNAS.
[[nodiscard]] inline StateDict find_state_dict(TorchCheckpoint const& checkpoint, std::string const& key = {})
{
  detail::FileContext const file{"find_state_dict", checkpoint.path()};
  StateDict result;
  auto value = checkpoint.root();
  auto const enter = [&](std::string_view name) {
    auto const member = value.find(name);
    if (!member) { return false; }
    if (member->kind() == ValueKind::opaque) {
      file.fail("holds an object of the class ", detail::in_quotes(member->text()), " under ",
                detail::in_quotes(name), "; save its state_dict() instead");
    }
    if (member->kind() != ValueKind::dict) { return false; }
    value = *member;
    result.where += (result.where.empty() ? "" : ".") + std::string{name};
    return true;
  };
  if (!key.empty() && !enter(key)) {
    file.fail("holds no dictionary ", detail::in_quotes(key), " but ", detail::shown_keys(value));
  }
  for (int depth = 0; key.empty() && depth < 4; ++depth) {
    auto const name = detail::state_dict_member(value, 2);
    if (!name.empty() && enter(name)) { continue; }
    if (detail::holds_tensors(value)) { break; }
    auto const& names = detail::state_dict_names;
    if (std::find_if(std::begin(names), std::end(names), enter) == std::end(names)) { break; }
  }
  if (!detail::holds_tensors(value)) {
    auto const shown = value.kind() == ValueKind::dict ? detail::shown_keys(value) : "no dictionary";
    if (value.kind() == ValueKind::opaque) {
      file.fail("holds an object of the class ", detail::in_quotes(value.text()),
                "; save its state_dict() instead");
    }
    file.fail("holds no state_dict: ", result.where.empty() ? "its root" : detail::in_quotes(result.where),
              " has ", shown.empty() ? "nothing" : shown);
  }

  // Who converts the tensors copies each of them, however many are views of one storage.
  std::uint64_t left = 8 * std::uint64_t{checkpoint.num_bytes()} + (std::uint64_t{1} << 26);
  std::map<std::string_view, int> seen;
  for (std::size_t i = 0; i < value.size(); ++i) {
    auto const [name, entry] = value.member(i);
    if (name.kind() != ValueKind::text) { continue; }
    if (entry.kind() != ValueKind::tensor) {
      result.others.emplace_back(name.text());
      continue;
    }
    if (++seen[name.text()] > 1) { file.fail("holds two tensors ", detail::in_quotes(name.text())); }
    std::uint64_t const bytes = entry.tensor().num_bytes;
    if (bytes > left) {
      file.fail("holds ", value.size(),
                " entries that share memory; together they would be far larger than the ",
                checkpoint.num_bytes(), " bytes of the file");
    }
    left -= bytes;
    result.tensors.emplace_back(std::string{name.text()}, entry.tensor());
  }
  result.versions = detail::module_versions(value);
  return result;
}

/// A checkpoint that is gone after the call has no tensors to refer to: give it a name.
StateDict find_state_dict(TorchCheckpoint const&& checkpoint, std::string const& key = {}) = delete;

/// The tensors of a safetensors file, which is a state_dict as it is.
/// @throws invalid_argument  a tensor is of a type that DType lacks
[[nodiscard]] inline StateDict find_state_dict(Safetensors const& file)
{
  StateDict result;
  for (auto const& name : file.names()) { result.tensors.emplace_back(name, file.tensor(name)); }
  return result;
}

/// As with a checkpoint.
StateDict find_state_dict(Safetensors const&& file) = delete;

}  // namespace io
}  // namespace v0
}  // namespace tessera
