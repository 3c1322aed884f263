// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "../support/data.hpp"
#include "../support/files.hpp"
#include "../support/pickles.hpp"

#include <tessera/io/state_dict.hpp>
#include <tessera/io/torch_checkpoint.hpp>

#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

namespace torch_files {

using namespace tessera;
using test::pickle;

/// What is said of a file of this content, behind the common beginning; empty if it is read.
inline std::string error(std::string const& content)
{
  auto const sentence = test::error_of([&] {
    static_cast<void>(io::TorchCheckpoint{test::bytes_of(content), "f"});
  });
  std::string const beginning = "read_torch_checkpoint: f: ";
  CHECK((sentence.empty() || sentence.rfind(beginning, 0) == 0));
  CHECK(sentence.size() < 1000);
  return sentence.empty() ? sentence : sentence.substr(beginning.size());
}

/// The same of a pickle, without the position.
inline std::string pickle_error(std::string const& body)
{
  auto const sentence = error(test::checkpoint(pickle(body)));
  std::string const beginning = "not a valid pickle at byte ";
  if (sentence.rfind(beginning, 0) != 0) { return sentence; }
  return sentence.substr(sentence.find(": ") + 2);
}

inline io::TorchCheckpoint read(std::string const& body, std::vector<std::string> const& storages = {})
{
  return {test::bytes_of(test::checkpoint(pickle(body), storages)), "f"};
}

/// Whether `File` as it is (a value, a reference) has a root().
template <class File, class = decltype(std::declval<File>().root())>
constexpr bool has_root(int)
{
  return true;
}
template <class File>
constexpr bool has_root(long)
{
  return false;
}
template <class File, class = decltype(io::find_state_dict(std::declval<File>()))>
constexpr bool has_state_dict(int)
{
  return true;
}
template <class File>
constexpr bool has_state_dict(long)
{
  return false;
}

inline std::string floats(std::vector<float> const& values)
{
  std::string bytes;
  for (auto const value : values) { bytes += test::packed(value); }
  return bytes;
}

}  // namespace torch_files
