// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "device.cuh"
#include "encode.hpp"

namespace encode_bev {

Encoding encode_in_half(Task const& task, tessera::Execution<> const& exec)
{
  return encode<tessera::Device, __half>(task, exec);
}

}  // namespace encode_bev
