// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "encode.hpp"

namespace encode_bev {

Encoding encode_on_host(Task const& task)
{
  int const threads = task.options->threads;
  auto const exec = threads > 0 ? ts::Execution<ts::Host>{threads} : ts::Execution<ts::Host>{};
  auto result = encode<ts::Host, float>(task, exec);
  result.device =
      "CPU, " + std::to_string(exec.num_threads()) + (exec.num_threads() == 1 ? " thread" : " threads");
  return result;
}

}  // namespace encode_bev
