// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/device.hpp"
#include "../support/dlpack_header.hpp"
#include "../support/foreign.hpp"

#include <tessera/tensor/dlpack.hpp>

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

using namespace tessera;

namespace {

/// Another library's array in `Space`, which hands itself out as a managed tensor and counts its deletions.
template <class T, class Space, class Managed = DLManagedTensorVersioned>
struct Producer {
  Producer(std::vector<T> const& values, std::vector<std::int64_t> extents, DLDataType type,
           Execution<Space> const& exec)
      : memory{values, exec}, shape{std::move(extents)}
  {
    managed.manager_ctx = this;
    managed.deleter = [](Managed* self) { ++static_cast<Producer*>(self->manager_ctx)->deleted; };
    auto& tensor = managed.dl_tensor;
    tensor.data = memory.data();
    tensor.device.device_type = std::is_same_v<Space, Host> ? kDLCPU : kDLCUDA;
    tensor.device.device_id = test::device_of(exec);
    tensor.ndim = static_cast<std::int32_t>(shape.size());
    tensor.dtype = type;
    tensor.shape = shape.data();
    if constexpr (dlpack::is_versioned<Managed>) { managed.version = {1, 3}; }
  }
  Producer(Producer const&) = delete;
  Producer& operator=(Producer const&) = delete;

  test::Foreign<T, Space> memory;
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> strides;
  Managed managed{};
  int deleted = 0;
};

constexpr DLDataType float32{2, 32, 1};
constexpr DLDataType int32{0, 32, 1};

template <class Space>
using Floats = Producer<float, Space>;
template <class Space>
using Ints = Producer<std::int32_t, Space>;

static_assert(sizeof(dlpack::ManagedTensorVersioned) == sizeof(DLManagedTensorVersioned));
static_assert(sizeof(dlpack::ManagedTensor) == sizeof(DLManagedTensor));
static_assert(offsetof(dlpack::ManagedTensorVersioned, deleter) ==
              offsetof(DLManagedTensorVersioned, deleter));
static_assert(offsetof(dlpack::ManagedTensorVersioned, flags) == offsetof(DLManagedTensorVersioned, flags));
static_assert(offsetof(dlpack::ManagedTensorVersioned, dl_tensor) ==
              offsetof(DLManagedTensorVersioned, dl_tensor));
static_assert(offsetof(dlpack::Tensor, shape) == offsetof(DLTensor, shape));
static_assert(offsetof(dlpack::Tensor, byte_offset) == offsetof(DLTensor, byte_offset));

}  // namespace

TEST_CASE_TEMPLATE("dlpack: a matrix is imported where it is, and deleted once", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  std::vector<float> const values{0, 0, 0, 0, 1, 2, 3, 4, 5, 6};
  SUBCASE("with a version, strides and an offset")
  {
    Floats<Space> theirs{values, {3, 2}, float32, exec};
    theirs.strides = {2, 1};
    theirs.managed.dl_tensor.strides = theirs.strides.data();
    theirs.managed.dl_tensor.byte_offset = 16;
    {
      Matrix<float, Space> const matrix = dlpack::import_matrix<float>(&theirs.managed, exec);
      CHECK(matrix.data() == theirs.memory.data() + 4);
      CHECK(matrix.rows() == 3);
      CHECK(matrix.columns() == 2);
      CHECK(download(matrix.data(), 6, exec) == std::vector<float>{1, 2, 3, 4, 5, 6});
      CHECK(theirs.deleted == 0);
    }
    CHECK(theirs.deleted == 1);
  }
  SUBCASE("without any of them")
  {
    Producer<float, Space, DLManagedTensor> theirs{values, {2, 5}, float32, exec};
    {
      Matrix<float, Space> const matrix = dlpack::import_matrix<float>(&theirs.managed, exec);
      CHECK(matrix.data() == theirs.memory.data());
    }
    CHECK(theirs.deleted == 1);
  }
  SUBCASE("without a deleter")
  {
    Floats<Space> theirs{values, {5, 2}, float32, exec};
    theirs.managed.deleter = nullptr;
    CHECK(dlpack::import_matrix<float>(&theirs.managed, exec).rows() == 5);
  }
  SUBCASE("from this library's own struct")
  {
    test::Foreign<float, Space> memory{values, exec};
    std::vector<std::int64_t> shape{5, 2};
    dlpack::ManagedTensorVersioned managed{};
    managed.version.major = 1;
    auto& tensor = managed.dl_tensor;
    tensor.data = memory.data();
    tensor.device.device_type = std::is_same_v<Space, Host> ? 1 : 2;
    tensor.device.device_id = test::device_of(exec);
    tensor.ndim = 2;
    tensor.dtype = {2, 32, 1};
    tensor.shape = shape.data();
    CHECK(dlpack::import_matrix<float>(&managed, exec).data() == memory.data());
  }
}

TEST_CASE_TEMPLATE("dlpack: what cannot be imported is refused by a sentence, and deleted once", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  Floats<Space> theirs{{1, 2, 3, 4, 5, 6, 7, 8}, {2, 3}, float32, exec};
  auto& managed = theirs.managed;
  auto& tensor = managed.dl_tensor;
  theirs.strides = {4, 1};
  bool constexpr on_host = std::is_same_v<Space, Host>;
  char const* sentence = "";
  SUBCASE("version")
  {
    managed.version = {2, 0};
    tensor.shape = nullptr;
    tensor.ndim = -1;
    sentence = "DLPack 2.0, but only version 1 is known";
  }
  SUBCASE("read-only")
  {
    managed.flags = 1;
    sentence = "read-only";
  }
  SUBCASE("axes")
  {
    theirs.shape = {2, 3, 1};
    tensor.shape = theirs.shape.data();
    tensor.ndim = 3;
    sentence = "3 axes, but 2 are needed";
  }
  SUBCASE("half")
  {
    tensor.dtype = {2, 16, 1};
    sentence = "float16, but float32 is needed";
  }
  SUBCASE("vectors")
  {
    tensor.dtype.lanes = 4;
    sentence = "code 2, 32 bits and 4 lanes";
  }
  SUBCASE("gaps between rows")
  {
    tensor.strides = theirs.strides.data();
    sentence = "stride 4 on axis 0, where 3 would be row-major";
  }
  SUBCASE("columns first")
  {
    theirs.strides = {1, 2};
    tensor.strides = theirs.strides.data();
    sentence = "stride 2 on axis 1, where 1 would be";
  }
  SUBCASE("elements askew")
  {
    tensor.byte_offset = 2;
    sentence = "not aligned to the 4 bytes";
  }
  SUBCASE("rows askew")
  {
    tensor.byte_offset = 4;
    sentence = "not aligned to 16 bytes";
  }
  SUBCASE("the other space")
  {
    tensor.device.device_type = on_host ? kDLCUDA : kDLCPU;
    sentence = on_host ? "the execution is of the host" : "the execution is of a GPU";
  }
  SUBCASE("another kind of device")
  {
    tensor.device.device_type = kDLROCM;
    sentence = "device type 10";
  }
  SUBCASE("a negative extent")
  {
    theirs.shape[0] = -2;
    sentence = "the shape [-2, 3]";
  }
  SUBCASE("too many elements")
  {
    theirs.shape[0] = std::int64_t{1} << 62;
    sentence = "too many elements";
  }
  SUBCASE("no data")
  {
    tensor.data = nullptr;
    sentence = "6 elements at a null pointer";
  }
  CHECK_THROWS_WITH_AS((void)dlpack::import_matrix<float>(&managed, exec), doctest::Contains(sentence),
                       invalid_argument);
  CHECK(theirs.deleted == 1);
}

TEST_CASE_TEMPLATE("dlpack: a null pointer is refused", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  CHECK_THROWS_WITH_AS((void)dlpack::import_matrix<float>(static_cast<DLManagedTensor*>(nullptr), exec),
                       "dlpack::import_matrix: a null pointer", invalid_argument);
}

#ifdef __CUDACC__
TEST_CASE("dlpack: memory of another device is refused on the device")
{
  if (test::skipped<Device>()) { return; }
  Execution<Device> const exec{};
  Floats<Device> theirs{{1, 2}, {1, 2}, float32, exec};
  theirs.managed.dl_tensor.device.device_id = exec.device() + 1;
  CHECK_THROWS_WITH_AS((void)dlpack::import_matrix<float>(&theirs.managed, exec),
                       doctest::Contains("but the execution is of device"), invalid_argument);
  CHECK(theirs.deleted == 1);
}
#endif

TEST_CASE("dlpack: the host takes pinned memory")
{
  Execution<Host> const exec{};
  Floats<Host> theirs{{1, 2}, {1, 2}, float32, exec};
  theirs.managed.dl_tensor.device = {kDLCUDAHost, 0};
  CHECK(dlpack::import_matrix<float>(&theirs.managed, exec).columns() == 2);
}

TEST_CASE_TEMPLATE("dlpack: strides of single rows, and of arrays without elements, mean nothing", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  Floats<Space> one{{1, 2}, {1, 2}, float32, exec};
  one.strides = {-7, 1};
  one.managed.dl_tensor.strides = one.strides.data();
  CHECK(dlpack::import_matrix<float>(&one.managed, exec).columns() == 2);

  Floats<Space> none{{}, {0, 5}, float32, exec};
  none.strides = {9, 9};
  none.managed.dl_tensor.strides = none.strides.data();
  none.managed.dl_tensor.data = nullptr;
  none.managed.dl_tensor.byte_offset = 2;
  {
    auto const matrix = dlpack::import_matrix<float>(&none.managed, exec);
    CHECK(matrix.rows() == 0);
    CHECK(matrix.columns() == 5);
    CHECK(none.deleted == 0);
  }
  CHECK(none.deleted == 1);
}

TEST_CASE_TEMPLATE("dlpack: a tensor stands on coordinates and features of another library", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  Ints<Space> coordinates{{0, 1, 2, 0, 3, 4, 1, 1, 2}, {3, 3}, int32, exec};
  Floats<Space> features{{1, 2, 3}, {3, 1}, float32, exec};
  features.managed.flags = 1;  // tensors do not write
  coordinates.managed.flags = 1;
  {
    auto const x = dlpack::import_tensor<2, float>(&coordinates.managed, &features.managed, exec);
    CHECK(static_cast<void const*>(x.coordinates()->data()) == coordinates.memory.data());
    CHECK(x.features().data == features.memory.data());
    CHECK(x.coordinates_on_host(exec)[2] == Coordinate<2>{1, {1, 2}});
    CHECK(x.features_on_host(exec) == std::vector<float>{1, 2, 3});
    CHECK(coordinates.deleted + features.deleted == 0);
  }
  CHECK(coordinates.deleted == 1);
  CHECK(features.deleted == 1);

  SUBCASE("wrong coordinates")
  {
    coordinates.managed.dl_tensor.dtype.bits = 64;
    CHECK_THROWS_WITH_AS(
        (void)(dlpack::import_tensor<2, float>(&coordinates.managed, &features.managed, exec)),
        doctest::Contains("import_coordinates: int64, but int32 is needed"), invalid_argument);
  }
  SUBCASE("too few features")
  {
    features.shape[0] = 2;
    CHECK_THROWS_WITH_AS(
        (void)(dlpack::import_tensor<2, float>(&coordinates.managed, &features.managed, exec)),
        doctest::Contains("3 coordinates but 2 rows"), invalid_argument);
  }
  SUBCASE("too many columns")
  {
    CHECK_THROWS_WITH_AS(
        (void)(dlpack::import_tensor<1, float>(&coordinates.managed, &features.managed, exec)),
        doctest::Contains("3 columns, but 1 dimensions need 2"), invalid_argument);
  }
  CHECK(coordinates.deleted >= 1);
  CHECK(coordinates.deleted == features.deleted);
}

TEST_CASE_TEMPLATE("dlpack: a dense tensor is imported in either layout", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  Floats<Space> theirs{std::vector<float>(24, 1), {1, 2, 3, 4}, float32, exec};
  auto const first = dlpack::import_dense<2, float>(&theirs.managed, DenseLayout::channels_first, exec);
  CHECK(first.channels() == 2);
  CHECK(first.range() == SpatialRange<2>{1, {3, 4}});
  CHECK(first.shape() == theirs.shape);
  auto const last = dlpack::import_dense<2, float>(&theirs.managed, DenseLayout::channels_last, exec);
  CHECK(last.channels() == 4);
  CHECK(last.range() == SpatialRange<2>{1, {2, 3}});
  CHECK(last.data() == theirs.memory.data());
}
