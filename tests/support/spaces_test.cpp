// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#include "spaces.hpp"

#include <doctest/doctest.h>

#include <string>

TEST_CASE("spaces: the host is always there")
{
  CHECK(test::absence_of<tessera::Host>().empty());
  CHECK_FALSE(test::skipped<tessera::Host>());
}

TEST_CASE_TEMPLATE("spaces: a template's title ends with its space", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  std::string const title = doctest::getContextOptions()->currentTest->m_name;
  std::string const ending = std::string{Space::name} + ">";
  REQUIRE(title.size() > ending.size());
  CHECK(title.substr(title.size() - ending.size()) == ending);
}

#ifdef __CUDACC__

__global__ void spaces_test_kernel(int* to)
{
  *to = 42;
}

TEST_CASE("spaces: a device that is there runs a kernel of this build <Device>")
{
  if (test::skipped<tessera::Device>()) { return; }
  int* to = nullptr;
  REQUIRE(cudaMalloc(&to, sizeof(int)) == cudaSuccess);
  spaces_test_kernel<<<1, 1, 0, nullptr>>>(to);
  CHECK(cudaGetLastError() == cudaSuccess);
  int value = 0;
  CHECK(cudaMemcpy(&value, to, sizeof(int), cudaMemcpyDeviceToHost) == cudaSuccess);
  CHECK(value == 42);
  CHECK(cudaFree(to) == cudaSuccess);
}

#else

TEST_CASE("spaces: a host-only build says why there is no device")
{
  CHECK(test::absence_of<tessera::Device>() == "built without CUDA");
}

#endif
