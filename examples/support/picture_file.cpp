// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
//
// PNG by libpng where there is one, else PPM, which needs no library.

#include "picture_file.hpp"

#include "program.hpp"

#ifdef PROGRAM_HAS_PNG
#include <png.h>
#endif
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>

namespace program {
namespace {

[[noreturn]] void fail(std::string const& path, char const* what, std::string const& why)
{
  throw Failure{path + ": the picture cannot be " + what + ": " + why};
}

/// All bytes under another name, then the rename, so that no half picture is left.
void write_whole(std::string const& path, std::vector<char> const& bytes)
{
  namespace fs = std::filesystem;
  std::string const unfinished = path + ".unfinished";
  std::error_code error;
  {
    std::ofstream file{unfinished, std::ios::binary};
    if (!file) { fail(path, "written", std::strerror(errno)); }
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    file.close();
    if (!file) {
      std::string const why = std::strerror(errno);
      fs::remove(unfinished, error);
      fail(path, "written", why);
    }
  }
  fs::rename(unfinished, path, error);
  if (error) {
    std::string const why = error.message();
    fs::remove(unfinished, error);
    fail(path, "written", why);
  }
}

std::vector<std::uint8_t> bytes_of(Picture const& picture)
{
  std::vector<std::uint8_t> bytes;
  bytes.reserve(3 * picture.pixels().size());
  for (auto const& color : picture.pixels()) { bytes.insert(bytes.end(), color.begin(), color.end()); }
  return bytes;
}

Picture picture_of(int width, int height, std::vector<std::uint8_t> const& bytes)
{
  Picture picture{width, height};
  auto from = bytes.begin();
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x, from += 3) { std::copy(from, from + 3, picture.at(x, y).begin()); }
  }
  return picture;
}

}  // namespace

#ifdef PROGRAM_HAS_PNG

char const* picture_extension() noexcept
{
  return ".png";
}

void write_picture(std::string const& path, Picture const& picture)
{
  auto const bytes = bytes_of(picture);
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(picture.width());
  image.height = static_cast<png_uint_32>(picture.height());
  image.format = PNG_FORMAT_RGB;
  png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(image);
  std::vector<char> file(size);
  if (png_image_write_to_memory(&image, file.data(), &size, 0, bytes.data(), 0, nullptr) == 0) {
    fail(path, "written", image.message);
  }
  file.resize(size);
  write_whole(path, file);
}

Picture read_picture(std::string const& path)
{
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  std::vector<std::uint8_t> bytes;
  bool good = png_image_begin_read_from_file(&image, path.c_str()) != 0;
  if (good) {
    image.format = PNG_FORMAT_RGB;
    bytes.resize(PNG_IMAGE_SIZE(image));
    good = png_image_finish_read(&image, nullptr, bytes.data(), 0, nullptr) != 0;
  }
  if (!good) {
    std::string const why = image.message;
    png_image_free(&image);
    fail(path, "read", why);
  }
  return picture_of(static_cast<int>(image.width), static_cast<int>(image.height), bytes);
}

void print_picture_note() {}

#else

char const* picture_extension() noexcept
{
  return ".ppm";
}

void print_picture_note()
{
  std::printf("note      the picture is PPM, not PNG, because the program was built without libpng\n");
}

void write_picture(std::string const& path, Picture const& picture)
{
  auto const header =
      "P6\n" + std::to_string(picture.width()) + " " + std::to_string(picture.height()) + "\n255\n";
  std::vector<char> file(header.begin(), header.end());
  auto const bytes = bytes_of(picture);
  file.insert(file.end(), bytes.begin(), bytes.end());
  write_whole(path, file);
}

Picture read_picture(std::string const& path)
{
  std::ifstream file{path, std::ios::binary};
  std::string magic;
  int width = 0;
  int height = 0;
  int largest = 0;
  file >> magic >> width >> height >> largest;
  file.get();
  constexpr int longest = 1 << 14;
  bool const known =
      magic == "P6" && largest == 255 && width > 0 && height > 0 && width <= longest && height <= longest;
  if (!file || !known) { fail(path, "read", "it is none of this program's"); }
  std::vector<std::uint8_t> bytes(3 * static_cast<std::size_t>(width) * static_cast<std::size_t>(height));
  file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  if (!file) { fail(path, "read", "it is cut short"); }
  return picture_of(width, height, bytes);
}

#endif

}  // namespace program
