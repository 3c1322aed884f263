// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/io/detail/file.hpp>

#include <cstddef>
#include <string_view>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Whether a file has a safetensors file's beginning: eight bytes of length, then a JSON object.
[[nodiscard]] inline bool begins_as_safetensors(Bytes const& bytes) noexcept
{
  return bytes.size() > 8 && bytes[8] == '{';
}

/// Whether a file begins as PyTorch's checkpoints do: a zip archive, or the pickle of protocol 2 to 5.
[[nodiscard]] inline bool begins_as_torch(Bytes const& bytes) noexcept
{
  if (begins_as_safetensors(bytes)) { return false; }  // whose length may begin with any byte
  bool const zip = bytes.size() >= 4 && bytes[0] == 'P' && bytes[1] == 'K' && bytes[2] == 3 && bytes[3] == 4;
  bool const pickle = bytes.size() >= 2 && bytes[0] == 0x80 && bytes[1] >= 2 && bytes[1] <= 5;
  return zip || pickle;
}

/// What a file is by its first bytes, for the sentence of a reader that it was given to by mistake: "a PLY
/// file". Empty if they say nothing.
/// Source: the formats' own descriptions; ONNX has no signature, but its first field is the version of the
/// format and its second the producer's name.
[[nodiscard]] inline std::string_view kind_of_file(Bytes const& bytes) noexcept
{
  std::string_view const text{reinterpret_cast<char const*>(bytes.data()), bytes.size()};
  auto const begins = [&](std::string_view with) { return text.substr(0, with.size()) == with; };
  using namespace std::string_view_literals;
  if (begins("PK\x03\x04"sv)) {
    // PyTorch's archives begin with NAME/data.pkl; numpy's with NAME.npy
    auto const head = text.substr(0, 300);
    if (head.find(".npy"sv) != std::string_view::npos) { return "a numpy archive (.npz)"; }
    bool const torch = head.find("/data.pkl"sv) != std::string_view::npos ||
                       head.find("/.format_version"sv) != std::string_view::npos ||
                       head.find("/version"sv) != std::string_view::npos;
    return torch ? "a checkpoint of PyTorch" : "a zip archive";
  }
  if (begins("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46"sv)) { return "a checkpoint of PyTorch"; }
  if (begins_as_torch(bytes)) { return "a pickle of Python's"; }
  if (begins_as_safetensors(bytes)) { return "a safetensors file"; }
  struct Signature {
    std::string_view bytes;
    std::string_view kind;
  };
  constexpr Signature signatures[] = {
      {"ply\n"sv, "a PLY file"},
      {"ply\r"sv, "a PLY file"},
      {"\x93NUMPY"sv, "a numpy array (.npy)"},
      {"# .PCD"sv, "a PCD file"},
      {"VERSION 0.7"sv, "a PCD file"},
      {"VERSION .7"sv, "a PCD file"},
      {"LASF"sv, "a LAS or LAZ file"},
      {"\x89HDF\r\n\x1a\n"sv, "an HDF5 file"},
      {"\x1f\x8b"sv, "a gzip archive (unpack it first)"},
      {"BZh"sv, "a bzip2 archive (unpack it first)"},
      {"\xfd"
       "7zXZ\0"sv,
       "an xz archive (unpack it first)"},
      {"\x28\xb5\x2f\xfd"sv, "a zstd archive (unpack it first)"},
      {"\x89PNG\r\n\x1a\n"sv, "a PNG picture"},
      {"\xff\xd8\xff"sv, "a JPEG picture"},
      {"%PDF-"sv, "a PDF document"},
      {"\x7f"
       "ELF"sv,
       "a program"},
      {"ftrt"sv, "a TensorRT engine"},
      {"GGUF"sv, "a GGUF model"},
      {"version https://git-lfs"sv, "a pointer of Git LFS (fetch the file that it stands for)"},
      {"<!DOCTYPE"sv, "a web page"},
      {"<html"sv, "a web page"}};
  for (auto const& [signature, kind] : signatures) {
    if (begins(signature)) { return kind; }
  }
  bool const onnx = bytes.size() > 4 && bytes[0] == 0x08 && bytes[1] >= 3 && bytes[1] <= 20 &&
                    bytes[2] == 0x12 && bytes[3] < 64;
  if (onnx) { return "an ONNX model"; }
  std::size_t const space = text.find_first_not_of(" \t\r\n");
  if (space != std::string_view::npos && text[space] == '{') { return "JSON text"; }
  return {};
}

/// The first value of PyTorch's checkpoints that are no archives, as a pickle spells it.
inline constexpr std::string_view torch_stream_magic{"\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 10};

/// @throws invalid_argument  the file begins neither as a zip archive nor as a pickle
inline void check_torch_beginning(Bytes const& bytes, FileContext const& file)
{
  std::string_view const text{reinterpret_cast<char const*>(bytes.data()), bytes.size()};
  if (text.substr(0, 4) == "PK\x03\x04" || text.substr(0, 1) == "\x80") { return; }
  auto const kind = kind_of_file(bytes);
  if (!kind.empty()) { file.fail("is ", kind, ", no checkpoint of PyTorch's"); }
  file.fail("begins neither as a zip archive nor as a pickle: no checkpoint of PyTorch's");
}

/// The same of a file of which the rest is not read yet, and a pickle must begin as PyTorch's do.
inline void check_torch_beginning(InputFile const& input, FileContext const& file)
{
  auto const& bytes = input.beginning();
  check_torch_beginning(bytes, file);
  if (bytes[0] != 0x80 || input.size() == bytes.size()) { return; }
  std::string_view const text{reinterpret_cast<char const*>(bytes.data()), bytes.size()};
  file.expects(text.substr(0, 64).find(torch_stream_magic) != std::string_view::npos,
               "is a pickle, but does not begin with PyTorch's magic number");
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
