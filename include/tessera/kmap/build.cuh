// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// Coordinate sets, tables and kernel maps on the device.

#include <tessera/coords/coordinate_set.cuh>
#include <tessera/kmap/build.hpp>
#include <tessera/kmap/detail/cut_tiles.cuh>
#include <tessera/kmap/detail/list_pairs.cuh>
#include <tessera/kmap/pair_list.hpp>
#include <tessera/kmap/tile_map.hpp>
