// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "encode.hpp"

namespace encode_bev {

Encoding encode_on_host(Task const& task)
{
  return encode<ts::Host, float>(task, program::host_execution(task.options->threads));
}

}  // namespace encode_bev
