// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

/// The only place that states the version; CMake reads these three lines.
#define TESSERA_VERSION_MAJOR 0
#define TESSERA_VERSION_MINOR 1
#define TESSERA_VERSION_PATCH 0

/// The version as one number to compare with, `10000 * major + 100 * minor + patch`: 100 for 0.1.0, 10203 for
/// 1.2.3. `#if TESSERA_VERSION >= 200` asks for 0.2.0 or newer.
#define TESSERA_VERSION (TESSERA_VERSION_MAJOR * 10000 + TESSERA_VERSION_MINOR * 100 + TESSERA_VERSION_PATCH)
