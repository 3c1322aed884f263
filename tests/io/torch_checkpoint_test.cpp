// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/data.hpp"
#include "../support/files.hpp"
#include "../support/pickles.hpp"
#include "torch_files.hpp"

#include <tessera/io/state_dict.hpp>
#include <tessera/io/torch_checkpoint.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

using namespace tessera;
using namespace torch_files;
using io::ValueKind;
using test::call;
using test::global;
using test::integer;
using test::pickle;
using test::text;

TEST_CASE("torch checkpoint: every kind of value and tensor is read, in each format")
{
  for (std::string const name : {"torch_zip.pth", "torch_protocol5.pth", "torch_stream.pth"}) {
    CAPTURE(name);
    auto const file = io::read_torch_checkpoint(test::fixture(name));
    auto const root = file.root();
    REQUIRE(root.kind() == ValueKind::dict);
    auto const meta = root.find("meta").value();
    auto const at = [&](char const* key) { return meta.find(key).value(); };
    CHECK(at("none").kind() == ValueKind::none);
    CHECK(at("yes").kind() == ValueKind::boolean);
    CHECK((at("yes").integer() == 1 && at("no").integer() == 0));
    CHECK((at("small").integer() == 7 && at("word").integer() == 40000 && at("int").integer() == -5));
    CHECK((at("long").integer() == std::int64_t{1} << 40 &&
           at("negative").integer() == -(std::int64_t{1} << 40)));
    CHECK(at("huge").kind() == ValueKind::opaque);
    CHECK((at("real").kind() == ValueKind::real && at("real").real() == 0.1));
    CHECK((at("text").kind() == ValueKind::text && at("text").text() == "Stra\xc3\x9f"
                                                                        "e"));
    CHECK((at("bytes").kind() == ValueKind::bytes && at("bytes").text() == std::string_view("\0\xff", 2)));
    CHECK((at("empty").kind() == ValueKind::tuple && at("empty").size() == 0));
    CHECK((at("pair").size() == 2 && at("four").size() == 4 && at("four").item(3).integer() == 4));
    CHECK((at("list").kind() == ValueKind::list && at("list").item(2).item(0).real() == 2.5));
    CHECK((at("set").kind() == ValueKind::opaque && at("set").text() == "set"));
    CHECK((at("size").kind() == ValueKind::tuple && at("size").item(1).integer() == 3));
    CHECK((at("default").kind() == ValueKind::dict && at("default").find("a")->integer() == 1));
    CHECK(at("itself").find("itself")->find("itself")->find("small")->integer() == 7);
    auto const log = root.find("message_hub")->find("loss").value();
    CHECK((log.kind() == ValueKind::opaque && log.module() == "mmengine" && log.text() == "HistoryBuffer"));
    CHECK(log.attributes()->find("max_length")->integer() == 10);
    CHECK(log.attributes()->find("statistics")->find("min")->text() == "getattr");
    CHECK(root.find("class")->kind() == ValueKind::opaque);
    CHECK_FALSE(root.find("absent"));
    CHECK_FALSE(at("none").find("absent"));
    CHECK(
        test::has(test::error_of([&] { static_cast<void>(meta.item(0)); }), "TorchValue: item 0 of a value"));
    CHECK(test::has(test::error_of([&] { static_cast<void>(meta.tensor()); }),
                    "TorchValue: this is no tensor"));
  }
}

TEST_CASE("torch checkpoint: tensors are in rows whatever their strides, of every type")
{
  for (std::string const name : {"torch_zip.pth", "torch_protocol5.pth", "torch_stream.pth"}) {
    CAPTURE(name);
    auto const file = io::read_torch_checkpoint(test::fixture(name));
    auto const state = io::find_state_dict(file);
    CHECK(state.where == "state_dict");
    CHECK(state.versions == std::map<std::string, std::int64_t>{{"", 1}, {"views", 2}});
    CHECK(state.others == std::vector<std::string>{"types.ComplexFloat", "extra_state"});
    std::map<std::string, RawTensor> tensors(state.tensors.begin(), state.tensors.end());
    CHECK(tensors.size() == 21);
    for (auto const& type : {std::pair{"Double", DType::float64},
                             {"Float", DType::float32},
                             {"Half", DType::float16},
                             {"BFloat16", DType::bfloat16},
                             {"Long", DType::int64},
                             {"Int", DType::int32},
                             {"Short", DType::int16},
                             {"Char", DType::int8}}) {
      std::string const kind = type.first;
      CAPTURE(kind);
      auto const& tensor = tensors.at("types." + kind);
      CHECK(tensor.dtype == type.second);
      CHECK(to_float(tensor) == std::vector<float>{-2, -1});
    }
    CHECK(to_float(tensors.at("types.Byte")) == std::vector<float>{0, 1});
    CHECK(tensors.at("types.Bool").dtype == DType::boolean);

    // Element (i, j, ...) of a view lies at offset + i * stride + ...; the storage counts from -2.
    auto const expected = [](std::vector<int> const& shape, std::vector<int> const& strides, int offset) {
      std::vector<float> values{static_cast<float>(offset - 2)};
      for (std::size_t axis = 0; axis < shape.size(); ++axis) {
        std::vector<float> next;
        for (auto const value : values) {
          for (int i = 0; i < shape[axis]; ++i) {
            next.push_back(value + static_cast<float>(i * strides[axis]));
          }
        }
        values = next;
      }
      return values;
    };
    CHECK(to_float(tensors.at("views.rows")) == expected({2, 3, 4}, {12, 4, 1}, 0));
    CHECK(to_float(tensors.at("views.transposed")) == expected({4, 3, 2}, {1, 4, 12}, 0));
    CHECK(to_float(tensors.at("views.part")) == expected({3, 2}, {4, 2}, 5));
    CHECK(to_float(tensors.at("views.expanded")) == expected({3, 2}, {0, 1}, 7));
    CHECK(to_float(tensors.at("views.ones")) == expected({1, 4, 1}, {99, 1, 7}, 2));
    CHECK(to_float(tensors.at("views.scalar")) == std::vector<float>{1});
    CHECK(tensors.at("views.scalar").shape.empty());
    CHECK(tensors.at("views.empty").shape == std::vector<std::int64_t>{0, 5});
    for (auto const* const two : {"parameter", "old", "attributed"}) {
      CHECK(to_float(tensors.at(two)) == std::vector<float>{-2, -1});
    }
    CHECK(to_float(tensors.at("untyped")) == std::vector<float>{1, 2.5});
  }
}

TEST_CASE("torch checkpoint: every truncation of a small file is refused")
{
  for (std::string const name :
       {"torch_zip.pth", "torch_protocol5.pth", "torch_stream.pth", "torch_detector.pth"}) {
    CAPTURE(name);
    auto const good = test::read_bytes(test::fixture(name));
    for (std::size_t size = 0; size < good.size(); ++size) {
      CAPTURE(size);
      CHECK_FALSE(error(std::string(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size))).empty());
    }
  }
}

TEST_CASE("torch checkpoint: calls in a pickle are values, and nothing more")
{
  test::TempDir const dir;
  auto const touch = "touch " + (dir / "called");
  for (auto const& [module, name] : {std::pair{"os", "system"},
                                     {"posix", "system"},
                                     {"subprocess", "call"},
                                     {"builtins", "eval"},
                                     {"__builtin__", "getattr"}}) {
    auto const file = read(call(global(module, name), text(touch)));
    CHECK(file.root().kind() == ValueKind::opaque);
    CHECK((file.root().module() == module && file.root().text() == name));
  }
  // What a call gave is called, made into an object, filled and given attributes.
  auto const inner = call(global("os", "system"), text(touch));
  auto const file = read("(" + inner + ")R" + global("os", "system") + text(touch) + "\x85\x81" + "}b" +
                         inner + "]a" + text("k") + "Ns" + "t");
  CHECK(file.root().size() == 3);
  for (std::size_t i = 0; i < 3; ++i) { CHECK(file.root().item(i).kind() == ValueKind::opaque); }
  CHECK(dir.num_files() == 0);
  // An object as Python 2 wrote one whose class does not derive from object.
  auto const old = read("(" + global("utils", "AverageMeter") + integer(1) + "o}" + text("sum") + "Nsb");
  auto const meter = old.root();
  CHECK((meter.kind() == ValueKind::opaque && meter.text() == "AverageMeter"));
  CHECK(meter.attributes()->find("sum").has_value());
}

TEST_CASE("torch checkpoint: depth costs nothing, and ends nowhere")
{
  constexpr std::size_t depth = 300'000;
  auto const deep = read(std::string(depth, ']') + std::string(depth - 1, 'a'));
  auto value = deep.root();
  std::size_t found = 1;
  while (value.size() == 1) {
    value = value.item(0);
    ++found;
  }
  CHECK(found == depth);
  CHECK(pickle_error(std::string(depth, '(') + "t") == "values are left over at its end");
  std::string nested = "N";
  for (int i = 0; i < 100'000; ++i) { nested += '\x85'; }
  auto const tuples = read(nested);
  CHECK(tuples.root().size() == 1);
  CHECK(test::has(test::error_of([&] { static_cast<void>(io::find_state_dict(deep)); }),
                  "holds no state_dict"));
}

TEST_CASE("torch checkpoint: a pickle that cannot be is refused with its byte")
{
  CHECK(error(test::checkpoint(pickle("Z"))) == "not a valid pickle at byte 42: the unknown instruction 90");
  CHECK(error("\x80\x02N.") == "is a pickle, but does not begin with PyTorch's magic number");
  CHECK(pickle_error("") == "a value is needed, but there is none");
  CHECK(pickle_error("a") == "a value is needed, but there is none");
  CHECK(pickle_error("N(a") == "a value is needed, but there is none");
  CHECK(pickle_error("t") == "a group of values ends that never began");
  CHECK(pickle_error("h\x05") == "value 5 is asked for, which was never kept");
  CHECK(pickle_error("j" + test::packed(0xffffffffU)) ==
        "value 4294967295 is asked for, which was never kept");
  CHECK(pickle_error("q\x05") == "a value is needed, but there is none");
  CHECK(pickle_error("N)R") == "something that is no function is called");
  CHECK(pickle_error(global("a", "b") + "NR") == "a function is called with something but a tuple");
  CHECK(pickle_error("N)\x81") == "an object is made of something that is no class");
  CHECK(pickle_error("NNa") == "an entry is appended to something that is no list");
  CHECK(pickle_error("}Na") == "an entry is appended to something that is no list");
  CHECK(pickle_error("]NNs") == "a member is given to something that is no dictionary");
  CHECK(pickle_error("}(Nu") == "a dictionary with a key but no value");
  CHECK(pickle_error("(Nd") == "a dictionary with a key but no value");
  CHECK(pickle_error("](N\x90") == "an entry is added to something that is no set");
  CHECK(pickle_error("NNb") == "attributes are given to something that is no object");
  CHECK(pickle_error("NN\x93") == "a class without a name");
  CHECK(pickle_error("(o") == "an object is made of no class");
  CHECK(pickle_error("cos\nsystem") == "a name without its end");
  CHECK(pickle_error("\x80\x06N") == "protocol 6; 2 to 5 are known");
  CHECK(pickle_error("I5\n") == "the instruction 'I' of the text protocol, which PyTorch does not write");
  CHECK(pickle_error("\x97") == "the unknown instruction 151");
}

TEST_CASE("torch checkpoint: sizes that a pickle claims are held against the file")
{
  auto const needs = [](std::string const& body) {
    return test::has(pickle_error(body), " bytes are needed, but the pickle ends");
  };
  CHECK(needs("X" + test::packed(0xffffffffU) + "abc"));
  CHECK(needs("\x8d" + test::packed(0xffffffffffffffffU) + "abc"));
  CHECK(needs("\x8e" + test::packed(std::uint64_t{1} << 62) + "abc"));
  CHECK(needs("\x96" + test::packed(std::uint64_t{1} << 40)));
  CHECK(needs("\x8b" + test::packed(0x7fffffffU)));
  CHECK(needs("G1234"));
  CHECK(test::has(pickle_error("\x95" + test::packed(std::uint64_t{1} << 63)),
                  "a frame of 9223372036854775808 bytes"));
  CHECK(test::has(pickle_error(std::string(5'000'000, ']')), "more than 4194304 values"));
  // A list that is copied again and again by a few bytes each time.
  std::string pairs = "](";
  for (int i = 0; i < 50'000; ++i) { pairs += "N\x85N\x86"; }
  pairs += "eq\x01";
  auto const copy = global("collections", "OrderedDict") + "q\x02" + "0";
  std::string copies;
  for (int i = 0; i < 1000; ++i) { copies += "h\x02h\x01\x85R0"; }
  CHECK(test::has(pickle_error(pairs + copy + copies), "values are copied over and over"));
}

TEST_CASE("torch checkpoint: tensors that lie outside of their storage are refused")
{
  auto const six = floats({0, 1, 2, 3, 4, 5});
  auto const fault = [&](std::string const& body) {
    auto const sentence = error(test::checkpoint(pickle(body), {six}));
    return sentence.substr(0, sentence.find("byte ")) +
           sentence.substr(std::min(sentence.size(), sentence.find(' ', sentence.find("byte ") + 5)));
  };
  auto const s = test::storage("0", 6);
  CHECK(error(test::checkpoint(pickle(test::tensor(s, 0, {2, 3}, {3, 1})), {six})).empty());
  CHECK(error(test::checkpoint(pickle(test::tensor(s, 0, {3, 2}, {1, 3})), {six})).empty());
  CHECK(fault(test::tensor(s, 1, {2, 3}, {3, 1})) ==
        "the tensor at  of shape [2, 3], strides [3, 1] and offset 1 lies outside of its storage of 6 "
        "elements");
  CHECK(test::has(fault(test::tensor(s, 6, {}, {})), "lies outside of its storage"));
  CHECK(test::has(fault(test::tensor(s, 0, {2}, {6})), "lies outside of its storage"));
  CHECK(test::has(fault(test::tensor(s, 0x7fffffff, {2}, {0x7fffffff})), "lies outside of its storage"));
  CHECK(test::has(fault(test::tensor(s, 0, {0x7fffffff, 0x7fffffff, 0x7fffffff}, {0, 0, 0})),
                  "has more elements than can be counted"));
  CHECK(test::has(fault(test::tensor(s, 0, {0x7fffffff}, {0})), "would take more memory than the file"));
  CHECK(test::has(fault(test::tensor(s, 0, {-1}, {1})), "shape holds something other than whole numbers"));
  CHECK(test::has(fault(test::tensor(s, 0, {2}, {-1})), "strides holds something other than whole numbers"));
  CHECK(test::has(fault(test::tensor(s, -1, {2}, {1})), "a tensor's offset is no number"));
  CHECK(test::has(fault(test::tensor(s, 0, {2, 3}, {1})), "2 dimensions and 1 strides"));
  CHECK(
      test::has(fault(test::tensor(s, 0, std::vector<std::int32_t>(65, 1), std::vector<std::int32_t>(65, 1))),
                "a tensor of 65 dimensions"));
  CHECK(test::has(fault(test::tensor(test::storage("1", 6), 0, {2}, {1})),
                  "storage '1', which the file lacks"));
  CHECK(test::has(fault(test::tensor(test::storage("0", 7), 0, {2}, {1})),
                  "of 7 elements, for which the file has 24 bytes"));
  CHECK(test::has(fault(test::tensor(test::storage("0", -1), 0, {2}, {1})),
                  "a storage whose type, key or size"));
  CHECK(test::has(fault(test::tensor("N", 0, {2}, {1})), "other arguments than PyTorch's"));
  CHECK(test::has(fault(call(global("torch._utils", "_rebuild_tensor_v2"), s)),
                  "other arguments than PyTorch's"));
  CHECK(test::has(fault(call(global("torch._utils", "_rebuild_parameter"), "")),
                  "other arguments than PyTorch's"));
  // A tensor in something that is no storage, or of a type that is not known, is opaque.
  for (auto const& storage : {std::string{"K\x01Q"}, test::storage("0", 6, "QInt8Storage")}) {
    auto const file = read(test::tensor(storage, 0, {2}, {1}));
    CHECK(file.root().kind() == ValueKind::opaque);
  }
}

TEST_CASE("torch checkpoint: a stream whose storages are not what its list says is refused")
{
  auto const head = std::string("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", 15);
  auto const version = pickle("M\xe9\x03");
  auto const body = pickle(test::tensor(test::storage("k", 2), 0, {2}, {1}));
  auto const list = pickle("]" + text("k") + "a");
  auto const data = test::packed(std::int64_t{2}) + floats({1, 2});
  CHECK(error(head + version + pickle("}") + body + list + data).empty());
  CHECK(error(head + pickle("K\x05") + pickle("}") + body + list + data) ==
        "is of another version of PyTorch's stream format than 1001");
  CHECK(error(head + version + pickle("}" + text("little_endian") + "\x89s") + body + list + data) ==
        "was written on a big-endian machine, which is not supported");
  CHECK(error(head + version + pickle("}") + body + pickle("N") + data) ==
        "has no list of storages behind the checkpoint");
  CHECK(error(head + version + pickle("}") + body + pickle("]" + text("x") + "a") + data) ==
        "holds a storage that nothing in the checkpoint uses");
  CHECK(test::has(error(head + version + pickle("}") + body + pickle("]") + ""),
                  "storage 'k', which the file lacks"));
  CHECK(test::has(
      error(head + version + pickle("}") + body + list + test::packed(std::int64_t{3}) + floats({1, 2})),
      "is said to have 3 elements"));
  CHECK(test::has(
      error(head + version + pickle("}") + body + list + test::packed(std::int64_t{-1}) + floats({1, 2})),
      "is said to have 18446744073709551615 elements"));
  CHECK(error(head + version + pickle("}") + body + list + data + "x") ==
        "has 1 bytes left behind its last storage");
  auto const twice = pickle("]" + text("k") + "a" + text("k") + "a");
  CHECK(error(head + version + pickle("}") + body + twice + data + data) == "lists the storage 'k' twice");
  // A view into a storage, as PyTorch wrote it before 0.4: (key, first element, number of elements).
  auto const view = test::tuple(text("storage") + global("torch", "FloatStorage") + text("k") + text("cpu") +
                                integer(2) + test::tuple(text("v") + integer(1) + integer(1))) +
                    "Q";
  io::TorchCheckpoint const file{
      test::bytes_of(head + version + pickle("}") + pickle(test::tensor(view, 0, {1}, {1})) + list + data),
      "f"};
  CHECK(to_float(file.root().tensor()) == std::vector<float>{2});
  CHECK(test::has(error(head + version + pickle("}") + pickle(test::tensor(view, 0, {2}, {1})) + list + data),
                  "lies outside of its storage of 1 elements"));
}

TEST_CASE("torch checkpoint: what is no checkpoint is refused for what it is")
{
  CHECK(error("") == "begins neither as a zip archive nor as a pickle: no checkpoint of PyTorch's");
  CHECK(error("hello") == "begins neither as a zip archive nor as a pickle: no checkpoint of PyTorch's");
  CHECK(test::has(error(test::zip({{"readme", "text"}})), "without NAME/data.pkl"));
  CHECK(test::has(error(test::zip({{"a/data.pkl", "N."}, {"b/data.pkl", "N."}})), "two checkpoints"));
  CHECK(test::has(error(test::zip({{"a/data.pkl", "N."}, {"a/constants.pkl", "N."}})), "TorchScript"));
  CHECK(test::has(error(test::zip({{"a/data.pkl", "N."}, {"a/byteorder", "big"}})), "big-endian"));
  CHECK_THROWS_AS(static_cast<void>(io::read_torch_checkpoint("/absent.pth")), invalid_argument);
}

TEST_CASE("torch checkpoint: nothing refers to a checkpoint that has no name")
{
  // Both would dangle; that they do not compile is the test.
  CHECK_FALSE(has_root<io::TorchCheckpoint>(0));
  CHECK(has_root<io::TorchCheckpoint const&>(0));
  CHECK_FALSE(has_state_dict<io::TorchCheckpoint>(0));
  CHECK_FALSE(has_state_dict<Safetensors>(0));
  CHECK(has_state_dict<io::TorchCheckpoint const&>(0));
  CHECK(has_state_dict<Safetensors const&>(0));
}
