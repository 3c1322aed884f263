// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
//
// Memory of other libraries: tensors that stand on it, results that go there, DLPack in both directions. All of it
// works alike on a GPU, with Device for Host.

#include <tessera/core/buffer.hpp>
#include <tessera/ops/activation.hpp>
#include <tessera/tensor/borrow.hpp>
#include <tessera/tensor/copy_into.hpp>
#include <tessera/tensor/dlpack.hpp>

#include <cstdint>
#include <cstdio>
#include <memory>
#include <utility>
#include <vector>

namespace ts = tessera;

namespace {

/// What another library hands in: arrays that live as long as somebody holds them.
struct Scan {
  std::vector<std::int32_t> coordinates{0, 1, 2, 3, 0, 4, 5, 6, 0, 7, 8, 9};  // [3, 4]: batch, x, y, z
  std::vector<float> features{1, -2, 3, -4, 5, -6};                           // [3, 2]
};

// [export]
/// For a consumer of DLPack, such as a Python binding, which wraps the pointer in a capsule.
ts::dlpack::ManagedTensorVersioned* to_consumer(ts::SparseTensor<3, float, ts::Host> const& y,
                                                ts::Execution<ts::Host> const& exec)
{
  return ts::dlpack::export_features(y, exec).release();
}
// [export]

}  // namespace

int main()
{
  ts::Execution<ts::Host> const exec;
  auto const scan = std::make_shared<Scan>();

  // [borrow]
  ts::MatrixView<std::int32_t const> const coordinates{scan->coordinates.data(), 3, 4};
  ts::MatrixView<float const> const features{scan->features.data(), 3, 2};
  auto const x =
      ts::borrow_tensor<3>(coordinates, features, scan, exec);  // `scan` lives as long as x needs it
  // [borrow]
  bool ok = x.features().data == scan->features.data();

  auto const y = ts::relu(x, exec);

  // [copy_into]
  std::vector<float> mine(6);
  ts::copy_into(y, ts::MatrixView<float>{mine.data(), 3, 2}, exec);
  // [copy_into]
  ok = ok && mine == std::vector<float>{1, 0, 3, 0, 5, 0};

  // [adopt]
  auto values = std::make_unique<std::vector<float>>(6, 0.5F);
  auto* const data = values->data();
  auto buffer = ts::Buffer<float, ts::Host>::adopt(data, 6, std::move(values));
  auto const z = x.with_features({std::move(buffer), 3, 2});
  // [adopt]
  ok = ok && z.features().data == data;

  auto* const managed = to_consumer(y, exec);
  // [import]
  // `managed` is a DLManagedTensorVersioned* or DLManagedTensor*; the import takes it, whatever happens
  auto const again = ts::dlpack::import_features<float>(x.coordinates(), managed, exec);
  // [import]
  ok = ok && again.features().data == y.features().data;

  std::puts(ok ? "ok" : "wrong");
  return ok ? 0 : 1;
}
