// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
// expect: Sequential: a layer does not take what the layer before it returns
#include <tessera/nn/linear.hpp>
#include <tessera/nn/pooling.hpp>
#include <tessera/nn/sequential.hpp>

#include <memory>

using namespace tessera;

using Pool = nn::GlobalAveragePool<3, float, Host>;
#ifdef TESSERA_ACCEPTED
using Next = nn::Linear<3, float, Host>;
#else
using Next = Pool;  // of a matrix
#endif

auto use(std::unique_ptr<Next> next, SparseTensor<3, float, Host> const& x, Execution<Host> const& exec)
{
  nn::Sequential net{std::make_unique<Pool>(), std::move(next)};
  return net(x, exec);
}
