// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// Elements of what operations return, and gradients of their shape.

#include "gradient_check.hpp"

#include <tessera/tensor/dense.hpp>

#include <vector>

namespace operation_cases {

using namespace tessera;

template <int Dim, class T, class Space>
std::vector<T> elements(SparseTensor<Dim, T, Space> const& x, Execution<Space> const& exec)
{
  return x.features_on_host(exec);
}
template <class T, class Space>
std::vector<T> elements(Matrix<T, Space> const& x, Execution<Space> const& exec)
{
  return download(x.data(), x.size(), exec);
}
template <int Dim, class T, class Space>
std::vector<T> elements(DenseTensor<Dim, T, Space> const& x, Execution<Space> const& exec)
{
  return download(x.data(), x.size(), exec);
}

/// Elements in the shape of an output's gradient.
template <int Dim, class T, class Space>
Matrix<T, Space> gradient_like(SparseTensor<Dim, T, Space> const& x, std::vector<double> const& values,
                               Execution<Space> const& exec)
{
  return upload_matrix(test::rounded<T>(values), x.channels(), exec);
}
template <class T, class Space>
Matrix<T, Space> gradient_like(Matrix<T, Space> const& x, std::vector<double> const& values,
                               Execution<Space> const& exec)
{
  return upload_matrix(test::rounded<T>(values), x.columns(), exec);
}
template <int Dim, class T, class Space>
Matrix<T, Space> gradient_like(DenseTensor<Dim, T, Space> const& x, std::vector<double> const& values,
                               Execution<Space> const& exec)
{
  return upload_matrix(test::rounded<T>(values), x.size(), exec);
}

}  // namespace operation_cases
