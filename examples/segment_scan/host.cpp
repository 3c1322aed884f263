// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "segment.hpp"

namespace segment_scan {

Segmentation segment_on_host(Task const& task)
{
  return segment<ts::Host, float>(task, program::host_execution(task.options->threads));
}

}  // namespace segment_scan
