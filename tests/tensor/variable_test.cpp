// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/small.hpp"

#include <tessera/tensor/dense.hpp>

#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

using namespace tessera;

namespace {

SparseTensor<3, float, Host> small_tensor(Execution<Host> const& exec)
{
  std::vector<std::int32_t> const rows{0, 1, 2, 3, 0, 4, 5, 6};
  std::vector<float> const values{1, 2, 3, 4};
  return {MatrixView<std::int32_t const>{rows.data(), 2, 4}, MatrixView<float const>{values.data(), 2, 2},
          exec};
}

struct Refusal final : Recorder {
  void record(std::shared_ptr<OperationRecord const>) override {}
  void reads_on_host(char const* what) override { throw invalid_argument{what}; }
};

}  // namespace

TEST_CASE("SparseTensor: copies have one id, other features another, and it is that of the matrix taken")
{
  Execution<Host> const exec{1};
  CHECK((SparseTensor<3, float, Host>{}.id()) == 0);
  auto const x = small_tensor(exec);
  auto const copied = x;
  CHECK(x.id() != 0);
  CHECK(copied.id() == x.id());
  Matrix<float, Host> features{2, 5, exec};
  auto const id = features.id();
  auto const y = x.with_features(std::move(features));
  CHECK(y.id() == id);
  CHECK(y.id() != x.id());
  CHECK(y.coordinates() == x.coordinates());
  y.mark_written();
  CHECK(y.version() == 1);
  CHECK(x.version() == 0);
}

TEST_CASE("DenseTensor: its id moves with the values")
{
  Execution<Host> const exec{1};
  DenseTensor<2, float, Host> first{{1, {2, 2}}, 3, DenseLayout::channels_last, exec};
  auto const id = first.id();
  CHECK(id != 0);
  DenseTensor<2, float, Host> second{std::move(first)};
  CHECK(second.id() == id);
  CHECK(first.id() == 0);  // NOLINT(bugprone-use-after-move)
  auto const shared = detail::ShareDense::share(second);
  CHECK(shared.id() == id);
  CHECK(std::as_const(shared).data() == std::as_const(second).data());
  second.mark_written();
  CHECK(shared.version() == 1);
}

TEST_CASE("Variables on one memory have one version, whichever is written")
{
  Execution<Host> const exec{1};
  auto const check = [](auto const& x) {
    auto const one = x.detached();
    auto const other = one.detached();
    CHECK(one.id() != x.id());
    CHECK(other.id() != one.id());
    other.mark_written();
    CHECK(x.version() == 1);
    CHECK(one.version() == 1);
    x.mark_written();
    CHECK(other.version() == 2);
  };
  check(small_tensor(exec));
  check(Matrix<float, Host>{2, 5, exec});
  check(DenseTensor<2, float, Host>{{1, {2, 2}}, 3, DenseLayout::channels_last, exec});

  Matrix<float, Host> kept;
  {
    Matrix<float, Host> const first{2, 5, exec};
    kept = first.detached();
  }
  kept.mark_written();  // the memory, and what counts its writes, live on
  CHECK(kept.version() == 1);
}

TEST_CASE("SparseTensor: num_rows() and downloads ask the recorder first")
{
  Execution<Host> const exec{1};
  auto const x = small_tensor(exec);
  Refusal refusal;
  CHECK(x.num_rows() == 2);
  {
    detail::ThreadRecorderScope const scope{&refusal};
    CHECK_THROWS_WITH_AS(static_cast<void>(x.num_rows()), "num_rows", invalid_argument);
    CHECK_THROWS_WITH_AS(static_cast<void>(x.coordinates()->num_rows()), "num_rows", invalid_argument);
  }
  CHECK(x.num_rows() == 2);
  auto const recording = exec.with_recorder(refusal);
  CHECK_THROWS_WITH_AS(static_cast<void>(x.features_on_host(recording)), "download", invalid_argument);
  CHECK_THROWS_WITH_AS(static_cast<void>(x.coordinates_on_host(recording)), "download", invalid_argument);
}

TEST_CASE("Coordinate sets: store the execution that made them without its recorder")
{
  Refusal refusal;
  auto const recording = Execution<Host>{1}.with_recorder(refusal);
  CHECK(detail::CoordinateManager<3, Host>{recording}.exec.recorder() == nullptr);
}
