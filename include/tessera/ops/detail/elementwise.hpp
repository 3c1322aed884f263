// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/detail/pack.hpp>
#include <tessera/core/int_array.hpp>
#include <tessera/core/matrix.hpp>
#include <tessera/core/parallel.hpp>
#include <tessera/core/scalar.hpp>

#include <cstdint>

namespace tessera {
inline namespace v0 {
namespace detail {

/// output[i] = function({inputs[0][i], ...}, i), computed in `accumulator_t` and rounded once; item number n
/// takes `Size` elements.
template <class Scalar, int Inputs, int Size, class Function>
struct MapElements {
  using Sum = accumulator_t<Scalar>;

  Scalar const* inputs[Inputs];  // each [size], beginning where a pack can
  Scalar* output;                // [size], likewise
  std::int64_t size;
  Function function;

  TESSERA_HOST_DEVICE void operator()(std::int64_t n) const
  {
    auto const first = n * Size;
    if (first + Size <= size) {
      map_pack<Size>(first);
    } else {
      for (auto i = first; i < size; ++i) { map_pack<1>(i); }
    }
  }

 private:
  template <int Count>
  TESSERA_HOST_DEVICE void map_pack(std::int64_t first) const
  {
    Pack<Scalar, Count> in[Inputs];
    for (int k = 0; k < Inputs; ++k) { in[k] = load_pack<Count>(inputs[k] + first); }
    Pack<Scalar, Count> out;
    for (int j = 0; j < Count; ++j) {
      Sum values[Inputs];
      for (int k = 0; k < Inputs; ++k) { values[k] = static_cast<Sum>(in[k].values[j]); }
      out.values[j] = static_cast<Scalar>(function(values, first + j));
    }
    store_pack(output + first, out);
  }
};

/// A new matrix of `function` of the elements of matrices of one shape.
/// Stream: enqueues one kernel, does not wait.
template <class Scalar, class Space, class Function, class... Others>
[[nodiscard]] Matrix<Scalar, Space> map_elements(Function const& function, Execution<Space> const& exec,
                                                 MatrixView<Scalar const> const& x, Others const&... others)
{
  Matrix<Scalar, Space> y{x.rows, x.columns, exec};
  constexpr int inputs = 1 + static_cast<int>(sizeof...(Others));
  bool const in_packs = begins_in_packs(x.data) && (begins_in_packs(others.data) && ...);
  with_pack_size<Scalar>(in_packs, [&](auto size) {
    MapElements<Scalar, inputs, size(), Function> const body{
        {x.data, others.data...}, y.data(), y.size(), function};
    for_each(ceil_div(y.size(), std::int64_t{size()}), body, exec);
  });
  return y;
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
