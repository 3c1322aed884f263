// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
//
// What a file costs that was made to be expensive: twice the bytes may take twice the time and memory, not
// more.

#include "reader_costs.hpp"

#include "../support/allocations.hpp"
#include "../support/files.hpp"
#include "../support/pickles.hpp"
#include "../support/state_dicts.hpp"

#include <tessera/io/convert.hpp>
#include <tessera/io/detail/file.hpp>
#include <tessera/io/detail/json.hpp>
#include <tessera/io/detail/state_dict_body.hpp>
#include <tessera/io/load.hpp>

#include <doctest/doctest.h>

#include <ctime>
#include <string>
#include <vector>

using namespace tessera;
using namespace reader_costs;
using test::global;
using test::integer;
using test::packed;
using test::pickle;
using test::text;

TEST_CASE("costs: names of a pickle that are spelled once and used often")
{
  auto const long_text = [](int n) { return text(std::string(static_cast<std::size_t>(n), 'k')); };
  grows_with_the_file(
      "entries that are no tensors", 40'000, 400,
      [&](int n) {
        auto const names = "}" + text("w") + scalar + "s" + long_text(n) + keep(1) + "0";
        return zipped(names + repeated(n / 8, [](int) { return again(1) + "Ns"; }), {one_float});
      },
      convert);
  grows_with_the_file(
      "modules of _metadata", 200'000, 400,
      [&](int n) {
        auto const state = "}" + text("w") + scalar + "s" + "}" + text("_metadata") + "}";
        auto const made = long_text(n) + keep(1) + "0}" + text("version") + integer(2) + "s" + keep(2) + "0";
        auto const modules = repeated(n / 11, [](int) { return again(1) + again(2) + "s"; });
        return zipped(state + made + modules + "sb", {one_float});
      },
      convert);
  grows_with_the_file(
      "keys of storages in an archive", 150'000, 400,
      [&](int n) {
        auto const storage = "(" + text("storage") + global("torch", "FloatStorage") + long_text(n) +
                             text("cpu") + integer(1) + "t" + keep(1) + "0";
        return zipped("]" + storage + repeated(n / 8, [](int) { return again(1) + "Q0"; }), {one_float});
      },
      convert);
  grows_with_the_file(
      "bytes made of one text", 8'000, 400,
      [&](int n) {
        auto const call = long_text(n) + keep(1) + "0" + text("latin1") + keep(2) + "0" +
                          global("_codecs", "encode") + keep(3) + "0";
        return zipped("]" + call +
                      repeated(n / 20, [](int) { return again(3) + again(1) + again(2) + "\x86R0"; }));
      },
      convert);
}

TEST_CASE("costs: values of a pickle that are made once and used often")
{
  grows_with_the_file(
      "one dictionary as the facts of many modules", 60'000, 400,
      [&](int n) {
        auto const facts = "}(" +
                           repeated(n / 12, [](int i) { return text("m" + std::to_string(i)) + "N"; }) + "u" +
                           keep(1) + "0";
        auto const modules = repeated(n / 12, [](int i) { return text(std::to_string(i)) + again(1) + "s"; });
        return zipped(facts + "}" + text("w") + scalar + "s" + "}" + text("_metadata") + "}" + modules + "sb",
                      {one_float});
      },
      convert);
  grows_with_the_file(
      "one list as the pairs of many dictionaries", 20'000, 400,
      [&](int n) {
        auto const pairs = "](" + repeated(n / 8, [](int) { return std::string{"N\x85N\x86"}; }) + "e" +
                           keep(1) + "0" + global("collections", "OrderedDict") + keep(2) + "0";
        return zipped("]" + pairs + repeated(n / 16, [](int) { return again(2) + again(1) + "\x85R0"; }));
      },
      convert);
  grows_with_the_file(
      "one shape of 64 axes for many tensors", 40'000, 1500,
      [&](int n) {
        auto const shape = test::numbers(std::vector<std::int32_t>(64, 1)) + keep(1) + "0" +
                           test::storage("0", 1) + keep(2) + "0" +
                           global("torch._utils", "_rebuild_tensor_v2") + keep(3) + "0";
        auto const tensors = repeated(n / 32, [](int i) {
          return text(std::to_string(i)) + again(3) + "(" + again(2) + integer(0) + again(1) + again(1) +
                 "tRs";
        });
        return zipped(shape + "}" + tensors, {one_float});
      },
      convert);
  grows_with_the_file(
      "one dictionary under all names of a state_dict", 100'000, 400,
      [&](int n) {
        auto const members = "}(" +
                             repeated(n / 12, [](int i) { return text("m" + std::to_string(i)) + "N"; }) +
                             "u" + keep(1) + "0";
        std::string root;
        for (auto const name : detail::state_dict_names) { root += text(std::string{name}) + again(1) + "s"; }
        return zipped(members + again(1) + root);
      },
      convert);
}

TEST_CASE("costs: one dictionary under many names beside the state_dict")
{
  grows_with_the_file(
      "members", 100'000, 400,
      [&](int n) {
        auto const facts = "}(" +
                           repeated(n / 16, [](int i) { return text("m" + std::to_string(i)) + "N"; }) + "u" +
                           keep(1) + "0";
        auto const beside = repeated(n / 16, [](int i) { return text(std::to_string(i)) + again(1) + "s"; });
        return zipped(facts + "}" + text("model") + "}" + text("w") + scalar + "ss" + beside, {one_float});
      },
      convert);
}

TEST_CASE("costs: a long name that says which library wrote the kernels")
{
  grows_with_the_file(
      "reasons", 30'000, 400,
      [&](int n) {
        auto const kernel = test::tensor(test::storage("0", 1), 0, {1, 1}, {1, 1}) + keep(1) + "0";
        auto const norm = text(std::string(static_cast<std::size_t>(n), 'k') + ".bn.running_mean") +
                          test::tensor(test::storage("0", 1), 0, {1}, {1}) + "s";
        auto const kernels =
            repeated(n / 20, [](int i) { return text(std::to_string(i) + ".kernel") + again(1) + "s"; });
        return zipped(kernel + "}" + norm + kernels, {one_float});
      },
      convert);
}

TEST_CASE("costs: numbers under which a pickle keeps values")
{
  // Among them the numbers of buckets that std::unordered_map has then.
  for (std::uint32_t const step : {1U, 2U, 20753U, 42043U, 85229U}) {
    grows_with_the_file(
        "memo of step " + std::to_string(step), 100'000, 400,
        [&](int n) {
          return zipped(
              "N" + repeated(n / 5, [&](int i) { return keep(static_cast<std::uint32_t>(i + 1) * step); }));
        },
        convert);
  }
}

TEST_CASE("costs: a view with many axes of one element costs as much as one without them")
{
  std::string const storage(std::size_t{1} << 20, '\0');
  auto const file_of = [&](std::size_t ones) {
    std::vector<std::int32_t> shape{8, 1 << 9, 1 << 9};
    std::vector<std::int32_t> strides{0, 1, 1 << 9};
    shape.insert(shape.end(), ones, 1);
    strides.insert(strides.end(), ones, 7);
    return zipped("}" + text("w") + test::tensor(test::storage("0", 1 << 18), 0, shape, strides) + "s",
                  {storage});
  };
  auto const bare = cost_of(file_of(0), 3, convert);
  auto const padded = cost_of(file_of(61), 3, convert);
  CAPTURE(bare.seconds);
  CAPTURE(padded.seconds);
  CHECK(padded.seconds <= 2.5 * bare.seconds + 0.03);
  // And it is the tensor.
  io::TorchCheckpoint const checkpoint{
      zipped("}" + text("w") +
                 test::tensor(test::storage("0", 6), 0, {2, 1, 2, 3, 1, 1}, {0, 5, 1, 2, 9, 9}) + "s",
             {packed(0.0F) + packed(1.0F) + packed(2.0F) + packed(3.0F) + packed(4.0F) + packed(5.0F)}),
      "f"};
  CHECK(to_float(io::find_state_dict(checkpoint).tensors[0].second) ==
        std::vector<float>{0, 2, 4, 1, 3, 5, 0, 2, 4, 1, 3, 5});
}

TEST_CASE("costs: a small file does not become a large tensor")
{
  auto const file =
      zipped("}" + text("w") + test::tensor(test::storage("0", 1), 0, {1 << 22}, {0}) + "s", {one_float});
  CHECK(cost_of(file, 1, convert).bytes < 100'000);
  CHECK(test::has(test::error_of([&] { convert(file); }), "would take more memory than the file"));
}

TEST_CASE("costs: names in state_dicts, however long and alike")
{
  grows_with_the_file(
      "a long beginning that all names have", 60, 60,
      [&](int n) {
        std::string const begin(2000, 'n');
        return zipped(
            "}" + repeated(n, [&](int i) { return text(begin + std::to_string(1000 + i)) + scalar + "s"; }),
            {one_float});
      },
      convert);
  grows_with_the_file(
      "a name of many wrappers", 100'000, 60,
      [&](int n) {
        auto const name = repeated(n / 4, [](int) { return std::string{"net."}; });
        return zipped("}" + text(name + "weight") + scalar + "s", {one_float});
      },
      convert);
  grows_with_the_file(
      "many tensors", 2000, 100,
      [&](int n) {
        return zipped(
            "}" + repeated(n, [&](int i) { return text("a." + std::to_string(10'000 + i)) + scalar + "s"; }),
            {one_float});
      },
      convert);
  grows_with_the_file(
      "names that a module does not find", 2000, 60,
      [&](int n) {
        return safetensors("{" +
                           repeated(n,
                                    [](int i) {
                                      return (i == 0 ? "" : ",") +
                                             ("\"encoder." + std::to_string(10'000 + i)) +
                                             ".w\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}";
                                    }) +
                           "}");
      },
      [](std::vector<std::uint8_t> bytes) {
        Execution<Host> const exec;
        test::Parameters net{exec};
        net.add("decoder.0.w", {1}).add("decoder.1.w", {1}).add("0.w", {2});
        io::load(net, Safetensors{std::move(bytes), "f"}, io::Tessera{}, exec);
      });
}

TEST_CASE("costs: files in archives")
{
  grows_with_the_file(
      "many files", 2000, 60,
      [&](int n) {
        std::vector<test::ZipFile> files{{"c/data.pkl", pickle("N")}};
        for (int i = 0; i < n; ++i) { files.push_back({"c/" + std::to_string(10'000 + i), ""}); }
        return test::bytes_of(test::zip(files));
      },
      convert);
  grows_with_the_file(
      "long names that begin alike", 20, 60,
      [&](int n) {
        std::vector<test::ZipFile> files{{"c/data.pkl", pickle("N")}};
        for (int i = 0; i < n; ++i) {
          files.push_back({std::string(20'000, 'n') + std::to_string(100 + i), ""});
        }
        return test::bytes_of(test::zip(files));
      },
      convert);
}

TEST_CASE("costs: JSON takes less than 30 bytes of memory for a byte of text")
{
  auto const parse = [](std::vector<std::uint8_t> bytes) {
    static_cast<void>(detail::parse_json({reinterpret_cast<char const*>(bytes.data()), bytes.size()},
                                         detail::FileContext{"t", "f"}));
  };
  for (std::string const item :
       {"0", "[]", "[0]", "{}", "\"\"", "\"a\"", "{\"a\":0}", "{\"a\":[]}", "[[[]]]", "1e9"}) {
    grows_with_the_file(
        item, 40'000, 30,
        [&](int n) { return test::bytes_of("[" + repeated(n, [&](int) { return item + ","; }) + "0]"); },
        parse);
  }
  grows_with_the_file(
      "members", 20'000, 30,
      [&](int n) {
        return test::bytes_of(
            "{" + repeated(n, [&](int i) { return "\"" + std::to_string(100'000 + i) + "\":0,"; }) +
            "\"a\":0}");
      },
      parse);
}

TEST_CASE("costs: headers of safetensors keep nothing but what tensors need")
{
  auto const read = [](std::vector<std::uint8_t> bytes) { Safetensors{std::move(bytes), "f"}; };
  auto const zeros = [](int n) { return "[" + repeated(n, [](int) { return std::string{"0,"}; }) + "0]"; };
  auto const tensor = [](std::string const& shape, std::string const& more) {
    return "{\"a\":{\"dtype\":\"U8\",\"shape\":" + shape + ",\"data_offsets\":[0,0]" + more + "}}";
  };
  grows_with_the_file(
      "a shape", 200'000, 0.1, [&](int n) { return safetensors(tensor(zeros(n), "")); }, read);
  grows_with_the_file(
      "a member that nobody knows", 200'000, 0.1,
      [&](int n) { return safetensors(tensor("[0]", ",\"more\":" + zeros(n))); }, read);
  grows_with_the_file(
      "a tensor that is an array", 200'000, 0.1,
      [&](int n) { return safetensors("{\"a\":" + zeros(n) + "}"); }, read);
  grows_with_the_file(
      "metadata", 20'000, 30,
      [&](int n) {
        return safetensors(
            "{\"__metadata__\":{" +
            repeated(n, [](int i) { return "\"" + std::to_string(100'000 + i) + "\":\"\","; }) +
            "\"a\":\"\"}}");
      },
      read);
  grows_with_the_file(
      "tensors", 5'000, 15,
      [&](int n) {
        return safetensors("{" +
                           repeated(n,
                                    [](int i) {
                                      return (i == 0 ? "\"" : ",\"") + std::to_string(100'000 + i) +
                                             "\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}";
                                    }) +
                           "}");
      },
      read);
  // A sentence about a shape is short, however long the shape is.
  auto const sentence = test::error_of([&] { read(safetensors(tensor(zeros(1'000'000), ""))); });
  CHECK(test::has(sentence, "tensor 'a': 'shape' has more than 64 numbers"));
  std::vector<std::int64_t> const shape(100'000, 1);
  CHECK(test::error_of([&] { static_cast<void>(raw_tensor(std::vector<float>{}, shape)); }).size() < 300);
  CHECK(test::error_of([&] {
          static_cast<void>(safetensors_bytes({{"a", {DType::float32, shape, nullptr, 4}}}));
        }).size() < 300);
}
