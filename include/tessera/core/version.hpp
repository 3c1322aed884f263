// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

/// The only place that states the version; CMake reads these three lines.
#define TESSERA_VERSION_MAJOR 0
#define TESSERA_VERSION_MINOR 1
#define TESSERA_VERSION_PATCH 0
