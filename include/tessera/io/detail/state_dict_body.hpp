// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/core/inline.hpp>
#include <tessera/io/detail/file.hpp>
#include <tessera/io/detail/kernel_mark.hpp>
#include <tessera/io/detail/layout_text.hpp>
#include <tessera/io/safetensors.hpp>
#include <tessera/io/state_dict.hpp>
#include <tessera/io/torch_checkpoint.hpp>
#include <tessera/io/weight_layout.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// A value's key as text, for sentences.
[[nodiscard]] inline std::string shown_keys(io::TorchValue const& dict)
{
  std::string text;
  constexpr std::size_t most = 6;
  for (std::size_t i = 0; i < dict.size() && i < most; ++i) {
    auto const key = dict.member(i).first;
    text += (i == 0 ? "" : ", ") + (key.kind() == io::ValueKind::text ? in_quotes(key.text()) : "(no text)");
  }
  return dict.size() > most ? concat(text, " and ", dict.size() - most, " more") : text;
}

[[nodiscard]] inline bool holds_tensors(io::TorchValue const& value)
{
  if (value.kind() != io::ValueKind::dict) { return false; }
  for (std::size_t i = 0; i < value.size(); ++i) {
    auto const [key, entry] = value.member(i);
    if (key.kind() == io::ValueKind::text && entry.kind() == io::ValueKind::tensor) { return true; }
  }
  return false;
}

/// Names that were met: one that a pickle spells once and uses often is compared by its place in the file, so
/// that looking at all names takes time in the bytes of the file.
class SeenNames {
 public:
  /// Whether `name` was not met before.
  bool insert(std::string_view name)
  {
    if (!places_.insert({reinterpret_cast<std::uintptr_t>(name.data()), name.size()}).second) {
      return false;
    }
    return names_.insert(name).second;
  }

 private:
  std::set<std::pair<std::uintptr_t, std::size_t>> places_;
  std::set<std::string_view> names_;
};

/// Where checkpoints hold their state_dict, in the order it is looked for.
inline constexpr std::string_view state_dict_names[] = {
    "state_dict", "model_state", "model_state_dict", "model", "network", "net", "module"};

inline constexpr std::size_t num_state_dict_names = std::size(state_dict_names);

/// The members of those names, in that order; the last one of a name counts, as in Python.
using StateDictMembers = std::array<std::optional<io::TorchValue>, num_state_dict_names>;

[[nodiscard]] inline StateDictMembers state_dict_members(io::TorchValue const& value)
{
  StateDictMembers result;
  for (std::size_t i = 0; value.kind() == io::ValueKind::dict && i < value.size(); ++i) {
    auto const [key, entry] = value.member(i);
    if (key.kind() != io::ValueKind::text) { continue; }
    auto const* const at = std::find(std::begin(state_dict_names), std::end(state_dict_names), key.text());
    if (at != std::end(state_dict_names)) { result[static_cast<std::size_t>(at - state_dict_names)] = entry; }
  }
  return result;
}

/// Which of these members is a dict of tensors, or has one in turn within `depth`; their number if none. A
/// step or an accuracy may be a tensor beside it.
[[nodiscard]] inline std::size_t first_with_tensors(StateDictMembers const& members, int depth)
{
  for (std::size_t i = 0; depth > 0 && i < members.size(); ++i) {
    if (!members[i]) { continue; }
    if (holds_tensors(*members[i])) { return i; }
    if (first_with_tensors(state_dict_members(*members[i]), depth - 1) < members.size()) { return i; }
  }
  return members.size();
}

/// The `_version` numbers beside a state_dict: `_metadata` is {module: {"version": number}}.
[[nodiscard]] inline std::map<std::string, std::int64_t> module_versions(io::TorchValue const& dict)
{
  std::map<std::string, std::int64_t> versions;
  auto const attributes = dict.attributes();
  auto const metadata = attributes ? attributes->find("_metadata") : std::nullopt;
  if (!metadata || metadata->kind() != io::ValueKind::dict) { return versions; }
  std::map<std::uint32_t, std::optional<io::TorchValue>> known;  // modules may share one dictionary
  SeenNames seen;
  for (std::size_t i = metadata->size(); i-- > 0;) {  // the last one of a name counts
    auto const [module, facts] = metadata->member(i);
    if (module.kind() != io::ValueKind::text || !seen.insert(module.text())) { continue; }
    auto const [at, is_new] = known.try_emplace(facts.number());
    if (is_new) { at->second = facts.find("version"); }
    auto const& version = at->second;
    if (version && version->kind() == io::ValueKind::integer) {
      versions[std::string{module.text()}] = version->integer();
    }
  }
  return versions;
}

/// Names of the members of `dict`, other than `taken`, that are dicts of tensors.
inline void note_others(io::TorchValue const& dict, std::string const& where, std::string_view taken,
                        std::vector<std::string>& names)
{
  constexpr std::size_t most = 8;
  constexpr std::size_t longest = 64;
  std::set<std::uint32_t> seen;  // one dictionary may be there under many names
  for (std::size_t i = 0; dict.kind() == io::ValueKind::dict && i < dict.size() && names.size() < most; ++i) {
    auto const [key, value] = dict.member(i);
    bool const other =
        key.kind() == io::ValueKind::text && key.text() != taken && key.text().size() <= longest;
    if (other && seen.insert(value.number()).second && holds_tensors(value)) {
      names.push_back(where + std::string{key.text()});
    }
  }
}

}  // namespace detail

namespace io {

TESSERA_INLINE StateDict find_state_dict(TorchCheckpoint const& checkpoint, std::string const& key)
{
  detail::FileContext const file{"find_state_dict", checkpoint.path()};
  StateDict result;
  auto value = checkpoint.root();
  auto const enter = [&](std::string_view name, std::optional<TorchValue> const& member) {
    if (!member) { return false; }
    if (member->kind() == ValueKind::opaque) {
      file.fail("holds an object of the class ", detail::in_quotes(member->text()), " under ",
                detail::in_quotes(name), "; save its state_dict() instead");
    }
    if (member->kind() != ValueKind::dict) { return false; }
    detail::note_others(value, result.where.empty() ? "" : result.where + ".", name, result.beside);
    value = *member;
    result.where += (result.where.empty() ? "" : ".") + std::string{name};
    return true;
  };
  std::string_view rest{key};  // "model.ema" is the member ema of the member model, unless one has that name
  while (!rest.empty() && !enter(rest, value.find(rest))) {
    auto const dot = rest.find('.');
    if (dot != std::string_view::npos && enter(rest.substr(0, dot), value.find(rest.substr(0, dot)))) {
      rest.remove_prefix(dot + 1);
      continue;
    }
    file.fail("holds no dictionary ", detail::in_quotes(rest), " but ", detail::shown_keys(value));
  }
  auto const& names = detail::state_dict_names;
  for (int depth = 0; key.empty() && depth < 4; ++depth) {
    auto const members = detail::state_dict_members(value);
    auto const best = detail::first_with_tensors(members, 2);
    if (best < members.size() && enter(names[best], members[best])) { continue; }
    if (detail::holds_tensors(value)) { break; }
    std::size_t entered = 0;
    while (entered < members.size() && !enter(names[entered], members[entered])) { ++entered; }
    if (entered == members.size()) { break; }
  }
  if (!detail::holds_tensors(value)) {
    auto const shown = value.kind() == ValueKind::dict ? detail::shown_keys(value) : "no dictionary";
    if (value.kind() == ValueKind::opaque) {
      file.fail("holds an object of the class ", detail::in_quotes(value.text()),
                "; save its state_dict() instead");
    }
    std::vector<std::string> candidates;
    detail::note_others(value, result.where.empty() ? "" : result.where + ".", "", candidates);
    file.fail("holds no state_dict: ", result.where.empty() ? "its root" : detail::in_quotes(result.where),
              " has ", shown.empty() ? "nothing" : shown,
              candidates.empty() ? ""
                                 : "; there are tensors in " + detail::in_quotes(candidates.front()) +
                                       ": give its name if it is that (ConvertOptions::key, --key)");
  }

  // Who converts the tensors copies each of them, however many are views of one storage.
  std::uint64_t left = 8 * std::uint64_t{checkpoint.num_bytes()} + (std::uint64_t{1} << 20);
  detail::SeenNames seen;
  detail::SeenNames seen_others;
  for (std::size_t i = 0; i < value.size(); ++i) {
    auto const [name, entry] = value.member(i);
    if (name.kind() != ValueKind::text) { continue; }
    if (entry.kind() != ValueKind::tensor) {
      if (seen_others.insert(name.text())) { result.others.emplace_back(name.text()); }
      continue;
    }
    if (!seen.insert(name.text())) { file.fail("holds two tensors ", detail::in_quotes(name.text())); }
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

TESSERA_INLINE StateDict find_state_dict(Safetensors const& file)
{
  StateDict result;
  for (auto const& name : file.names()) { result.tensors.emplace_back(name, file.tensor(name)); }
  auto const& metadata = file.metadata();
  auto const text = [&](char const* key) {
    auto const found = metadata.find(key);
    return found == metadata.end() ? std::string_view{} : std::string_view{found->second};
  };
  auto const add_texts = [&](std::string const& prefix, auto const& add) {
    for (auto at = metadata.lower_bound(prefix); at != metadata.end() && at->first.rfind(prefix, 0) == 0;
         ++at) {
      add(*at);
    }
  };
  add_texts(detail::description_prefix, [&](auto const& entry) { result.description.insert(entry); });
  auto const layout = text(detail::layout_key);
  if (layout.empty()) { return result; }
  result.is_as_shaped = layout == detail::layout_text<KrscUnder<Compatibility::none>>();
  result.layout = result.is_as_shaped ? WeightLayout::krsc : detail::layout_of_text(layout);
  if (!result.layout) {
    detail::FileContext{"find_state_dict", file.path()}.fail(
        "says that its layout is ", detail::in_quotes(layout), ", which is not known");
  }
  if (*result.layout != WeightLayout::tessera) { return result; }
  result.is_converted = metadata.count(detail::prefix_key) != 0;
  result.lost = text(detail::prefix_key);
  auto const marks = detail::kernel_mark_key("");
  add_texts(marks, [&](auto const& entry) {
    result.kernel_marks.emplace(entry.first.substr(marks.size()), entry.second);
  });
  return result;
}

}  // namespace io
}  // namespace v0
}  // namespace tessera
