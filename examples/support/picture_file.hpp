// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "picture.hpp"

#include <string>

namespace program {

/// What names of picture files end in: ".png", or ".ppm" where the programs were built without libpng.
[[nodiscard]] char const* picture_extension() noexcept;

/// Says why the picture is no PNG, if it is none.
void print_picture_note();

/// Writes the picture to `path`, compressed if it is a PNG. The file takes its name when it is complete.
/// @throws Failure  it cannot be written
void write_picture(std::string const& path, Picture const& picture);

/// A picture that write_picture() has written.
/// @throws Failure  it cannot be read
[[nodiscard]] Picture read_picture(std::string const& path);

}  // namespace program
