// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// Every normalisation.

#include <tessera/ops/batch_norm.hpp>
#include <tessera/ops/group_norm.hpp>
