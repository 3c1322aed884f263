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
#include <vector>

using namespace tessera;
using namespace torch_files;
using io::ValueKind;
using test::call;
using test::global;
using test::integer;
using test::pickle;
using test::text;

TEST_CASE("state_dict: it is found under the names that projects use, or what is there instead is named")
{
  auto const state = "}" + text("a.weight") + test::tensor(test::storage("0", 1), 0, {}, {}) + "s";
  auto const found = [&](std::string const& body, std::string const& key = {}) {
    auto const file = read(body, {floats({1})});
    return io::find_state_dict(file, key).where;
  };
  auto const fault = [&](std::string const& body, std::string const& key = {}) {
    auto const sentence = test::error_of([&] { static_cast<void>(found(body, key)); });
    return sentence.substr(std::min(sentence.size(), std::string{"find_state_dict: f: "}.size()));
  };
  CHECK(found(state).empty());
  for (std::string const name :
       {"state_dict", "model_state", "model_state_dict", "model", "network", "net", "module"}) {
    CHECK(found("}" + text(name) + state + "s") == name);
  }
  auto const two =
      read("}" + text("ema") + state + "s" + text("state_dict") + state + "s" + text("optimizer") + "}s",
           {floats({1})});
  CHECK(io::find_state_dict(two).where == "state_dict");
  CHECK(io::find_state_dict(two).beside == std::vector<std::string>{"ema"});
  CHECK(found("}" + text("model") + "}" + text("state_dict") + state + "ss") == "model.state_dict");
  CHECK(found("}" + text("ema") + state + "s", "ema") == "ema");
  CHECK(fault("}" + text("ema") + state + "s") ==
        "holds no state_dict: its root has 'ema'; there are tensors in 'ema': give its name if it is that "
        "(ConvertOptions::key, --key)");
  CHECK(found("}" + text("copies") + "}" + text("ema") + state + "ss", "copies.ema") == "copies.ema");
  CHECK(fault("}" + text("copies") + "}" + text("ema") + state + "ss", "copies.mean") ==
        "holds no dictionary 'mean' but 'ema'");
  CHECK(fault("}" + text("ema") + state + "s", "teacher") == "holds no dictionary 'teacher' but 'ema'");
  CHECK(fault("}" + text("model") + global("net", "Detector") + ")\x81s") ==
        "holds an object of the class 'Detector' under 'model'; save its state_dict() instead");
  CHECK(fault(global("net", "Detector") + ")\x81") ==
        "holds an object of the class 'Detector'; save its state_dict() instead");
  CHECK(fault("N") == "holds no state_dict: its root has no dictionary");
  CHECK(fault("}") == "holds no state_dict: its root has nothing");
  auto const scalar = test::tensor(test::storage("0", 1), 0, {}, {});
  CHECK(fault("}" + text("a") + scalar + "s" + text("a") + scalar + "s") == "holds two tensors 'a'");
  // What training counts may be a tensor too.
  CHECK(found("}" + text("best_acc1") + scalar + "s" + text("state_dict") + state + "s") == "state_dict");
  CHECK(found("}" + text("best_acc1") + scalar + "s" + text("model") + "}" + text("state_dict") + state +
              "ss") == "model.state_dict");
  CHECK(found("}" + text("state_dict") + "}s" + text("model") + state + "s") == "model");
  CHECK(found("}" + text("a.weight") + scalar + "s" + text("model") + "}" + text("name") + "Nss").empty());
  // A dictionary that holds itself is no trap.
  CHECK(fault("}q\x01" + text("model") + "h\x01s") ==
        "holds no state_dict: 'model.model.model.model' has 'model'");
}

TEST_CASE("state_dict: a small file does not become a large one by sharing memory")
{
  // 4 MiB, and names of it: eight are tied weights, a thousand are an attack.
  std::string const storage(std::size_t{1} << 22, '\0');
  auto const shared = test::tensor(test::storage("0", 1 << 20), 0, {1 << 20}, {1});
  auto const names = [&](int count) {
    std::string body = "}" + shared + "q\x01" + "0";
    for (int i = 0; i < count; ++i) { body += text("w" + std::to_string(i)) + "h\x01s"; }
    return read(body, {storage});
  };
  auto const tied = names(8);
  CHECK(io::find_state_dict(tied).tensors.size() == 8);
  auto const many = names(1000);
  CHECK(test::has(test::error_of([&] { static_cast<void>(io::find_state_dict(many)); }),
                  "holds 1000 entries that share memory"));
}

TEST_CASE("torch checkpoint: every recorded checkpoint is read")
{
  for (auto const& path : test::data_files("golden/spconv", ".pth")) {
    CAPTURE(path);
    auto const file = io::read_torch_checkpoint(path);
    auto const state = io::find_state_dict(file);
    CHECK(state.tensors.size() > 10);
    CHECK(file.root().find("meta").has_value());
  }
}
