// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
//
//   example_picture                 tests how pictures are drawn, written and read
//   example_picture FILE COLOUR...  prints the picture's size, and how many pixels have each colour (rrggbb)

#include "picture_file.hpp"
#include "program.hpp"

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <unistd.h>

namespace {

namespace fs = std::filesystem;
using program::Color;
using program::Picture;

int faults = 0;

void expect(bool holds, char const* what)
{
  if (holds) { return; }
  std::printf("does not hold: %s\n", what);
  ++faults;
}

std::size_t count(Picture const& picture, Color const& color)
{
  std::size_t found = 0;
  for (auto const& pixel : picture.pixels()) { found += pixel == color ? 1 : 0; }
  return found;
}

void test_letters()
{
  constexpr std::size_t size = (program::Glyph::width + 1) * program::Glyph::height - 1;
  std::set<std::string_view> shapes;
  bool in_order = true;
  bool whole = true;
  for (char letter = ' '; letter <= '~'; ++letter) {
    auto const& glyph = program::glyph_of(letter);
    in_order = in_order && glyph.letter == letter;
    whole = whole && glyph.rows.size() == size;
    for (std::size_t i = 0; i < glyph.rows.size(); ++i) {
      bool const between = i % (program::Glyph::width + 1) == program::Glyph::width;
      char const pixel = glyph.rows[i];
      whole = whole && (between ? pixel == ' ' : pixel == '#' || pixel == '.');
    }
    shapes.insert(glyph.rows);
  }
  expect(in_order, "letters are in the order of ASCII");
  expect(whole, "a letter has 8 rows of 5 pixels");
  expect(shapes.size() == '~' - ' ' + 1, "no two letters look the same");
  expect(program::glyph_of('\x07').letter == '?' && program::glyph_of('\xe4').letter == '?',
         "a byte that is no letter of ASCII is shown as a question mark");
}

void test_drawing()
{
  Color const black{0, 0, 0};
  Color const red{255, 0, 0};
  Picture picture{40, 30, black};
  picture.text(3, 4, "l", 2, red);  // 10 pixels of a letter, each 2 x 2
  std::size_t pixels = 0;
  for (char const pixel : program::glyph_of('l').rows) { pixels += pixel == '#' ? 1 : 0; }
  expect(count(picture, red) == 4 * pixels, "a letter of scale 2 has four pixels for each of its own");

  Picture cut{10, 10, black};
  cut.rectangle(-5, -5, 8, 8, red);
  cut.rectangle(8, 8, 100, 100, red);
  cut.text(7, -3, "cut off", 3, black);
  cut.line(-20, -20, 30, -20, 3, red);
  cut.arrow(5, 5, 200, 5, 1, black);
  program::draw_sensor(cut, -30, 12, 2);
  expect(cut.width() == 10 && cut.height() == 10, "drawing does not change the size");
  expect(cut.at(0, 0) == red && cut.at(4, 0) != red, "what is outside of the picture is cut off");

  Picture ring{41, 41, black};
  ring.ring(20, 20, 10, 1, red);
  bool round = true;
  for (int y = 0; y < 41; ++y) {
    for (int x = 0; x < 41; ++x) {
      bool const on = std::fabs(std::hypot(x - 20, y - 20) - 10) <= 0.5;
      round = round && (ring.at(x, y) == red) == on;
    }
  }
  expect(round, "a ring is where its radius says");

  for (double const most : {0.013, 0.1, 0.99, 1.0, 1.99, 2.0, 4.9, 5.0, 7.0, 10.0, 49.0, 1234.0}) {
    double const metres = program::round_number_below(most);
    double const ten = std::pow(10.0, std::floor(std::log10(metres) + 1e-9));
    double const digit = metres / ten;
    bool const round_number =
        std::fabs(digit - 1) < 1e-6 || std::fabs(digit - 2) < 1e-6 || std::fabs(digit - 5) < 1e-6;
    expect(round_number && metres <= most * 1.0001 && metres * 2.5001 > most,
           "a scale is 1, 2 or 5 times a power of ten, and the longest that fits");
  }

  Picture bar{400, 60, black};
  program::draw_scale_bar(bar, 10, 10, 300, 25, 2);  // 300 pixels are 12 m: a bar of 10 m is 250 pixels
  expect(bar.at(10, 10) == program::ink && bar.at(259, 10) == program::ink && bar.at(260, 10) == black,
         "a bar of 10 m at 25 pixels a metre is 250 pixels long");
}

void test_files(fs::path const& folder)
{
  auto const path = (folder / ("picture" + std::string{program::picture_extension()})).string();
  for (auto const& [width, height] : {std::pair{1, 1}, std::pair{3, 2}, std::pair{257, 301}}) {
    Picture picture{width, height};
    unsigned value = 1;
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < width; ++x) {
        for (auto& channel : picture.at(x, y)) {
          value = value * 1103515245U + 12345U;
          channel = static_cast<std::uint8_t>(value >> 16);
        }
      }
    }
    program::write_picture(path, picture);
    auto const read = program::read_picture(path);
    expect(read.width() == width && read.height() == height && read.pixels() == picture.pixels(),
           "a picture that was written is read as it was");
  }

  Picture large{1200, 900};
  large.text(100, 100, "compressed", 10, program::ink);
  program::write_picture(path, large);
  if (std::string_view{program::picture_extension()} == ".png") {
    expect(fs::file_size(path) < 50000, "a PNG is compressed");
  }
  expect(std::distance(fs::directory_iterator{folder}, fs::directory_iterator{}) == 1,
         "no other file is left");

  bool refused = false;
  try {
    program::write_picture((folder / "no" / "such.png").string(), large);
  } catch (program::Failure const& error) {
    refused = std::string{error.what()}.find("No such file") != std::string::npos;
  }
  expect(refused, "a folder that is not there is refused, with the reason");
}

int test()
{
  test_letters();
  test_drawing();
  auto const folder = fs::temp_directory_path() / ("tessera_pictures_" + std::to_string(::getpid()));
  fs::create_directories(folder);
  test_files(folder);
  fs::remove_all(folder);
  std::puts(faults == 0 ? "ok" : "FAILED");
  return faults == 0 ? 0 : 1;
}

int describe(std::string const& path, int num_colors, char** colors)
{
  auto const picture = program::read_picture(path);
  std::printf("%d x %d\n", picture.width(), picture.height());
  for (int i = 0; i < num_colors; ++i) {
    auto const rgb = std::stoul(colors[i], nullptr, 16);
    Color const color{static_cast<std::uint8_t>(rgb >> 16), static_cast<std::uint8_t>(rgb >> 8),
                      static_cast<std::uint8_t>(rgb)};
    std::printf("%s %zu\n", colors[i], count(picture, color));
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv)
{
  try {
    return argc > 1 ? describe(argv[1], argc - 2, argv + 2) : test();
  } catch (std::exception const& error) {
    std::fprintf(stderr, "example_picture: %s\n", error.what());
    return 1;
  }
}
