// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/data.hpp"
#include "../support/files.hpp"

#include <tessera/io/detail/file.hpp>
#include <tessera/io/detail/json.hpp>
#include <tessera/io/npy.hpp>
#include <tessera/io/safetensors.hpp>

#include <doctest/doctest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>

using namespace tessera;

TEST_CASE("safetensors: every recorded file is read, and its tensors are those its header promises")
{
  for (auto const& path : test::data_files("golden", ".safetensors")) {
    CAPTURE(path);
    Safetensors const file{path};
    CHECK_FALSE(file.names().empty());
    CHECK(std::set<std::string>(file.names().begin(), file.names().end()).size() == file.names().size());
    std::size_t total = 0;
    for (auto const& name : file.names()) {
      CAPTURE(name);
      auto const tensor = file.tensor(name);
      std::int64_t elements = 1;
      for (auto const extent : tensor.shape) { elements *= extent; }
      CHECK(elements == tensor.size());
      CHECK(file.to_float(name).size() == static_cast<std::size_t>(elements));
      total += tensor.num_bytes;
    }
    std::uint64_t header = 0;
    std::ifstream{path, std::ios::binary}.read(reinterpret_cast<char*>(&header), 8);
    CHECK(8 + header + total == std::filesystem::file_size(path));

    // Written again it is the same file to a reader.
    test::TempDir const dir;
    std::vector<NamedTensor> tensors;
    for (auto const& name : file.names()) { tensors.emplace_back(name, file.tensor(name)); }
    write_safetensors(dir / "copy", tensors, file.metadata());
    Safetensors const copy{dir / "copy"};
    CHECK(copy.names() == file.names());
    CHECK(copy.metadata() == file.metadata());
    for (auto const& name : file.names()) {
      auto const a = file.tensor(name);
      auto const b = copy.tensor(name);
      CHECK((a.dtype == b.dtype && a.shape == b.shape && a.num_bytes == b.num_bytes));
      CHECK(std::memcmp(a.bytes, b.bytes, a.num_bytes) == 0);
    }
  }
}

TEST_CASE("safetensors: the cases of the recorded kernel maps are all in the file")
{
  auto const path = test::data_file("golden/kmaps.safetensors");
  if (!path) { return; }
  Safetensors const file{*path};
  CHECK(file.shape("input.coords").size() == 2);
  CHECK(file.to<std::int32_t>("input.coords").size() ==
        static_cast<std::size_t>(4 * file.shape("input.coords")[0]));
  std::string const end = ".out_coords";
  int cases = 0;
  for (auto const& tensor : file.names()) {
    if (tensor.size() <= end.size() || tensor.compare(tensor.size() - end.size(), end.size(), end) != 0) {
      continue;
    }
    ++cases;
    auto const name = tensor.substr(0, tensor.size() - end.size());
    CAPTURE(name);
    REQUIRE(file.metadata().count(name) == 1);
    auto const json = detail::parse_json(file.metadata().at(name), detail::FileContext{"test", name});
    CHECK(json.get<detail::Json::Object>() != nullptr);
    for (auto const* const part : {".out_coords", ".out_in_map", ".weight", ".bias", ".out_feats"}) {
      CHECK(file.contains(name + part));
    }
  }
  CHECK(cases > 0);
}
