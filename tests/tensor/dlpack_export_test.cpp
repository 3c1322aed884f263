// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/device.hpp"
#include "../support/dlpack_header.hpp"
#include "../support/foreign.hpp"

#include <tessera/tensor/dlpack.hpp>

#include <cstdint>
#include <utility>
#include <vector>

using namespace tessera;

TEST_CASE_TEMPLATE("dlpack: exports say what they are, and keep their memory until they are deleted", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const values_of = [&](DLTensor const& tensor, std::int64_t size) {
    return download(static_cast<float const*>(tensor.data), size, exec);
  };
  SUBCASE("a matrix")
  {
    auto handle = dlpack::export_matrix<DLManagedTensorVersioned>(
        upload_matrix(std::vector<float>{1, 2, 3, 4, 5, 6}, 3, exec), exec);
    DLManagedTensorVersioned* const managed = handle.release();  // as a consumer takes it
    CHECK(managed->version.major == 1);
    CHECK(managed->flags == 0);
    auto const& tensor = managed->dl_tensor;
    CHECK(tensor.device.device_type == (std::is_same_v<Space, Host> ? kDLCPU : kDLCUDA));
    CHECK(tensor.device.device_id == test::device_of(exec));
    CHECK(tensor.ndim == 2);
    CHECK(tensor.shape[0] == 2);
    CHECK(tensor.shape[1] == 3);
    CHECK(tensor.strides[0] == 3);
    CHECK(tensor.strides[1] == 1);
    CHECK(tensor.byte_offset == 0);
    CHECK(tensor.dtype.code == 2);
    CHECK(tensor.dtype.bits == 32);
    CHECK(tensor.dtype.lanes == 1);
    CHECK(values_of(tensor, 6) == std::vector<float>{1, 2, 3, 4, 5, 6});
    managed->deleter(managed);
  }
  SUBCASE("features and coordinates, read-only, after the tensor is gone")
  {
    dlpack::Handle<DLManagedTensorVersioned> features;
    dlpack::Handle<DLManagedTensorVersioned> coordinates;
    {
      std::vector<Coordinate<1>> const rows{{0, {4}}, {1, {5}}, {0, {0}}};
      auto set = CoordinateSet<1, Space>::make(
          {upload(rows, exec), upload(std::vector<std::int32_t>{2}, exec)}, CoordinateSetOptions<1>{}, exec);
      SparseTensor<1, float, Space> const x{std::move(set),
                                            upload_matrix(std::vector<float>{7, 8, 9}, 1, exec)};
      features = dlpack::export_features<DLManagedTensorVersioned>(x, exec);
      coordinates = dlpack::export_coordinates<DLManagedTensorVersioned>(x.coordinates(), exec);
    }
    CHECK(features->flags == 1);
    CHECK(coordinates->flags == 1);
    CHECK(features->dl_tensor.shape[0] == 2);  // the rows in use
    CHECK(coordinates->dl_tensor.shape[0] == 2);
    CHECK(coordinates->dl_tensor.dtype.code == 0);
    CHECK(values_of(features->dl_tensor, 2) == std::vector<float>{7, 8});
    CHECK(download(static_cast<std::int32_t const*>(coordinates->dl_tensor.data), 4, exec) ==
          std::vector<std::int32_t>{0, 4, 1, 5});
  }
  SUBCASE("a dense tensor goes there and back")
  {
    DenseTensor<1, float, Space> map{SpatialRange<1>{2, {3}}, 5, DenseLayout::channels_first, exec};
    map.set_zero(exec);
    auto const* const data = map.data();
    auto handle = dlpack::export_dense(std::move(map), exec);
    CHECK(handle->dl_tensor.ndim == 3);
    CHECK(handle->dl_tensor.shape[1] == 5);
    CHECK(handle->dl_tensor.strides[0] == 15);
    auto const back = dlpack::import_dense<1, float>(handle.release(), DenseLayout::channels_first, exec);
    CHECK(back.data() == data);
    CHECK(back.range().extent[0] == 3);
  }
  SUBCASE("what may be written counts as written, what is read-only does not")
  {
    auto matrix = upload_matrix(std::vector<float>{1, 2, 3, 4, 5, 6}, 3, exec);
    auto const shared = matrix.detached();
    auto const of_matrix = dlpack::export_matrix(std::move(matrix), exec);
    CHECK(shared.version() == 1);
    DenseTensor<1, float, Space> map{SpatialRange<1>{2, {3}}, 5, DenseLayout::channels_first, exec};
    auto const other = map.detached();
    map.set_zero(exec);
    CHECK(other.version() == 1);
    auto const of_map = dlpack::export_dense(std::move(map), exec);
    CHECK(other.version() == 2);
    std::vector<Coordinate<1>> const rows{{0, {4}}, {1, {5}}};
    SparseTensor<1, float, Space> const x{make_coordinate_set(rows, CoordinateSetOptions<1>{}, exec),
                                          upload_matrix(std::vector<float>{7, 8}, 1, exec)};
    auto const features = dlpack::export_features(x, exec);
    CHECK(x.version() == 0);
  }
  SUBCASE("no rows")
  {
    auto const handle = dlpack::export_matrix(Matrix<float, Space>{0, 4, exec}, exec);
    CHECK(handle->dl_tensor.data == nullptr);
    CHECK(handle->dl_tensor.shape[1] == 4);
  }
}

TEST_CASE("dlpack: every element type has its code and bits")
{
  struct Case {
    DType type;
    int code;
    int bits;
  };
  for (auto const& expected :
       {Case{DType::float64, 2, 64}, Case{DType::float32, 2, 32}, Case{DType::float16, 2, 16},
        Case{DType::bfloat16, 4, 16}, Case{DType::int64, 0, 64}, Case{DType::int32, 0, 32},
        Case{DType::int16, 0, 16}, Case{DType::int8, 0, 8}, Case{DType::uint8, 1, 8},
        Case{DType::boolean, 6, 8}, Case{DType::float8_e4m3, 10, 8}, Case{DType::float8_e5m2, 12, 8}}) {
    auto const its = detail::dlpack_type(expected.type);
    CHECK(int{its.code} == expected.code);
    CHECK(int{its.bits} == expected.bits);
  }
  Execution<Host> const exec{};
  auto const bytes = dlpack::export_matrix(Matrix<std::int8_t, Host>{1, 1, exec}, exec);
  CHECK(int{bytes->dl_tensor.dtype.bits} == 8);
  auto const wide = dlpack::export_matrix(Matrix<std::int64_t, Host>{1, 1, exec}, exec);
  CHECK(int{wide->dl_tensor.dtype.bits} == 64);
#ifdef __CUDACC__
  auto const half_floats = dlpack::export_matrix(Matrix<__half, Host>{1, 1, exec}, exec);
  CHECK(int{half_floats->dl_tensor.dtype.code} == 2);
  CHECK(int{half_floats->dl_tensor.dtype.bits} == 16);
  auto const brain = dlpack::export_matrix(Matrix<__nv_bfloat16, Host>{1, 1, exec}, exec);
  CHECK(int{brain->dl_tensor.dtype.code} == 4);
#endif
}
