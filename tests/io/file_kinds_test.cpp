// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/allocations.hpp"
#include "../support/files.hpp"
#include "../support/pickles.hpp"
#include "../support/state_dicts.hpp"

#include <tessera/io/convert.hpp>
#include <tessera/io/layer_config.hpp>
#include <tessera/io/load.hpp>
#include <tessera/io/npy.hpp>
#include <tessera/io/spvnas_config.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

using namespace tessera;

TEST_CASE("kinds of files: a reader that is given another kind of file says which it is")
{
  test::TempDir const folder;
  auto const torch = test::checkpoint(test::pickle("N"));
  struct Case {
    std::string begin;
    std::string kind;
  };
  std::vector<Case> const cases{{"ply\nformat ascii 1.0\n", "a PLY file"},
                                {"\x93NUMPY\x01", "a numpy array (.npy)"},
                                {"# .PCD v0.7 - Point Cloud Data", "a PCD file"},
                                {"LASF", "a LAS or LAZ file"},
                                {"\x1f\x8b\x08", "a gzip archive (unpack it first)"},
                                {"\x89HDF\r\n\x1a\n", "an HDF5 file"},
                                {std::string{"\x08\x07\x12\x07pytorch\x1a"}, "an ONNX model"},
                                {"version https://git-lfs.github.com/spec/v1", "a pointer of Git LFS"},
                                {"<!DOCTYPE html>", "a web page"},
                                {"{\"a\": 1}", "JSON text"}};
  for (auto const& [begin, kind] : cases) {
    CAPTURE(kind);
    for (auto const& content : {begin, begin + std::string(100, '\x01')}) {
      auto const said = [&](auto const& read) {
        auto const sentence = test::error_of(read);
        CAPTURE(sentence);
        CHECK(test::has(sentence, "is " + kind));
        CHECK(sentence.size() < 300);
      };
      said([&] { Safetensors{test::bytes_of(content), "f"}; });
      said([&] { static_cast<void>(io::TorchCheckpoint{test::bytes_of(content), "f"}); });
      test::write_bytes(folder / "f.pth", content);
      said([&] { static_cast<void>(io::convert_checkpoint(folder / "f.pth")); });
      test::write_bytes(folder / "f.safetensors", content);
      said([&] { static_cast<void>(io::convert_checkpoint(folder / "f.safetensors")); });
    }
  }
  for (std::string const name : {"torch_zip.pth", "torch_stream.pth"}) {
    auto const sentence = test::error_of([&] { Safetensors{test::fixture(name)}; });
    CHECK(test::has(sentence,
                    "is a checkpoint of PyTorch, no safetensors file: io::convert_checkpoint() reads both"));
  }
  CHECK(test::has(test::error_of([&] {
                    Safetensors{test::bytes_of(torch), "f"};
                  }),
                  "is a checkpoint of PyTorch"));
  CHECK(test::has(test::error_of([&] {
                    Safetensors{test::bytes_of(test::zip({{"a.npy", "x"}})), "f"};
                  }),
                  "is a numpy archive (.npz)"));
  CHECK(test::has(test::error_of([&] {
                    Safetensors{test::bytes_of(test::zip({{"a.txt", "x"}})), "f"};
                  }),
                  "is a zip archive"));
  auto const good = test::read_bytes(test::fixture("all_types.safetensors"));
  CHECK(test::has(test::error_of([&] {
                    static_cast<void>(io::TorchCheckpoint{good, "f"});
                  }),
                  "is a safetensors file"));
  // A safetensors file whose length begins as something else does is still one.
  for (std::size_t const first : {0x80, 0x50, 0x08, 0x1f}) {
    auto bytes = safetensors_bytes({}, {});
    bytes.resize(8 + 2);
    bytes.insert(bytes.end(), first + 256 - 2, ' ');
    bytes[0] = static_cast<std::uint8_t>(first);
    bytes[1] = 1;
    CHECK(Safetensors{bytes, "f"}.names().empty());
  }
}

TEST_CASE("kinds of files: a large file that is no checkpoint is refused by its beginning")
{
  test::TempDir const folder;
  auto const path = folder / "f.safetensors";
  auto const large = [&](std::string const& beginning) {
    test::write_bytes(path, beginning);
    std::filesystem::resize_file(path, std::uintmax_t{1} << 28);
  };
  auto const refused = [](std::string const& why, auto const& read) {
    test::AllocationWatch const watch;
    auto const sentence = test::error_of(read);
    CAPTURE(sentence);
    CHECK(test::has(sentence, why));
    CHECK(watch.peak_bytes() < 1'000'000);
  };
  auto const tensors = [&] { Safetensors{path}; };
  auto const torch = [&] { static_cast<void>(io::read_torch_checkpoint(path)); };
  auto const any = [&] { static_cast<void>(io::convert_checkpoint(path)); };
  auto const length = std::string{"\x40\0\0\0\0\0\0\0", 8};  // of the header

  large({});
  refused("does not begin with '{'", tensors);
  refused("does not begin with '{'", any);
  refused("begins neither as a zip archive nor as a pickle", torch);
  for (std::string const beginning : {"ply\n", "\x93NUMPY"}) {
    large(beginning);
    refused(", no safetensors file", tensors);
    refused(", no checkpoint of PyTorch's", torch);
    refused(beginning[0] == 'p' ? "is a PLY file" : "is a numpy array", any);
  }
  large("\x80\x04N.");
  refused("does not begin with PyTorch's magic number", torch);
  refused("does not begin with PyTorch's magic number", any);
  large(length + "{ its header is no JSON }");
  refused("expected", tensors);
  refused("expected", any);
  std::string header = "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}";
  header.resize(64, ' ');
  large(length + header);  // and many bytes that belong to no tensor
  refused("holds 268435384 bytes of data, but its tensors only 1", tensors);
  refused("holds 268435384 bytes of data, but its tensors only 1", any);
  refused("holds 268435456 bytes; at most", [&] { static_cast<void>(io::read_layer_configs(path)); });
  refused("holds 268435456 bytes; at most", [&] {
    static_cast<void>(io::read_spvnas_config(path, models::SPVNASSpace{4, 19}));
  });
}
