// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/files.hpp"

#include <tessera/io/detail/json.hpp>

#include <doctest/doctest.h>

#include <string>

using namespace tessera;
using detail::Json;

namespace {

Json parse(std::string const& text, detail::JsonLimits limits = {})
{
  return detail::parse_json(text, detail::FileContext{"reader", "file"}, limits);
}

/// What is said behind the common beginning.
std::string error(std::string const& text, detail::JsonLimits limits = {})
{
  auto const sentence = test::error_of([&] { static_cast<void>(parse(text, limits)); });
  std::string const beginning = "reader: file: not valid JSON at byte ";
  return sentence.substr(0, beginning.size()) == beginning ? sentence.substr(beginning.size()) : sentence;
}

std::string string_of(std::string const& text)
{
  auto const value = parse(text);
  REQUIRE(value.get<std::string>() != nullptr);
  return *value.get<std::string>();
}

}  // namespace

TEST_CASE("json: every kind of value is read, with space around it")
{
  auto const value = parse(" {\t\"a\" : [1, -2.5e1,true ,false,null,\"\"],\r\n\"b\":{}, \"c\":[] } ");
  auto const* const a = value.find("a");
  REQUIRE(a != nullptr);
  auto const* const items = a->get<Json::Array>();
  REQUIRE(items != nullptr);
  REQUIRE(items->size() == 6);
  CHECK(*(*items)[0].get<std::int64_t>() == 1);
  CHECK(*(*items)[1].get<double>() == -25.0);
  CHECK(*(*items)[2].get<bool>());
  CHECK_FALSE(*(*items)[3].get<bool>());
  CHECK((*items)[4].is_null());
  CHECK((*items)[5].get<std::string>()->empty());
  CHECK(value.find("b")->get<Json::Object>()->keys.empty());
  CHECK(value.find("c")->get<Json::Array>()->empty());
  CHECK(value.find("d") == nullptr);
  CHECK(a->find("a") == nullptr);
  CHECK(value.get<Json::Object>()->keys == std::vector<std::string>{"a", "b", "c"});
  CHECK(value.get<std::string>() == nullptr);
}

TEST_CASE("json: whole numbers are exact where 64 bits hold them, else doubles")
{
  CHECK(*parse("9223372036854775807").get<std::int64_t>() == 9223372036854775807);
  CHECK(*parse("-9223372036854775808").get<std::int64_t>() == -9223372036854775807 - 1);
  CHECK(*parse("9223372036854775808").get<double>() == 9223372036854775808.0);
  CHECK(*parse("1e2").get<double>() == 100.0);
  CHECK(*parse("0.5E-1").get<double>() == 0.05);
  CHECK(*parse("-0").get<std::int64_t>() == 0);
}

TEST_CASE("json: escapes and UTF-8 in strings")
{
  CHECK(string_of(R"("\"\\\/\b\f\n\r\t")") == "\"\\/\b\f\n\r\t");
  CHECK(string_of(R"("\u0041\u00df\u8857\ud83d\ude97")") == "A\xc3\x9f\xe8\xa1\x97\xf0\x9f\x9a\x97");
  CHECK(string_of("\"\xc3\x9f\xe8\xa1\x97\xf0\x9f\x9a\x97\"") == "\xc3\x9f\xe8\xa1\x97\xf0\x9f\x9a\x97");
  CHECK(string_of(R"("\u0000")") == std::string(1, '\0'));
  CHECK(string_of("\"\xf4\x8f\xbf\xbf\xef\xbf\xbf\"").size() == 7);
}

TEST_CASE("json: a written string is read back")
{
  std::string every;
  for (char c = 0; c < 0x7f; ++c) { every += c; }
  every += "\xc3\x9f";
  CHECK(string_of(detail::json_quoted(every)) == every);
}

TEST_CASE("json: what is not JSON is refused with the byte and the reason")
{
  CHECK(error("") == "0: the text ends where a value should stand");
  CHECK(error("[1,") == "3: the text ends where a value should stand");
  CHECK(error("1 2") == "2: text after the end of the value");
  CHECK(error("[1 2]") == "3: expected ',' or ']'");
  CHECK(error("[1,]") == "3: expected a value");
  CHECK(error("{\"a\":1,}") == "7: expected the name of a member");
  CHECK(error("{a:1}") == "1: expected the name of a member");
  CHECK(error("{\"a\" 1}") == "5: expected ':'");
  CHECK(error("{\"a\":1 \"b\":2}") == "7: expected ',' or '}'");
  CHECK(error("{\"a\":1,\"b\":2,\"a\":3}") == "19: the member 'a' appears twice");
  CHECK(error("{\"a\":1,\"\\u0061\":3}") == "18: the member 'a' appears twice");
  CHECK(error("tru") == "0: an unknown word");
  CHECK(error("nulL") == "0: an unknown word");
  CHECK(error("NaN") == "0: expected a value");
  CHECK(error("-") == "1: expected a value");
  CHECK(error("+1") == "0: expected a value");
  CHECK(error("01") == "2: a number with a leading zero");
  CHECK(error("1.") == "2: a number without digits after its point");
  CHECK(error(".5") == "0: expected a value");
  CHECK(error("1e") == "2: a number without digits in its exponent");
  CHECK(error("1e999") == "5: a number that no double can hold");
  CHECK(error("\"a") == "2: a string without its end");
  CHECK(error("\"a\nb\"") == "2: a control character in a string");
  CHECK(error("\"\\x\"") == "3: an unknown escape in a string");
  CHECK(error("\"\\") == "3: an unknown escape in a string");
  CHECK(error("\"\\u12g4\"") == "3: \\u without four hexadecimal digits");
  CHECK(error("\"\\u+123\"") == "3: \\u without four hexadecimal digits");
  CHECK(error("\"\\u12") == "3: \\u without four hexadecimal digits");
  CHECK(error("\"\\ud83d\"") == "7: half of a surrogate pair");
  CHECK(error("\"\\ude97\"") == "7: half of a surrogate pair");
  CHECK(error("\"\\ud83d\\u0041\"") == "13: half of a surrogate pair");
  CHECK(error("\"\\ud83d\\ue000\"") == "13: half of a surrogate pair");
  CHECK(error("/* */1") == "0: expected a value");
  CHECK(error("'a'") == "0: expected a value");
  CHECK(error("\xef\xbb\xbf{}") == "0: expected a value");  // a byte order mark
}

TEST_CASE("json: bytes that are not UTF-8 are refused")
{
  for (std::string const bad : {"\x80", "\xc3", "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80",
                                "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "\xe8\xa1"}) {
    CAPTURE(bad.size());
    CHECK(error("\"" + bad + "\"") == "1: bytes that are not UTF-8");
    CHECK(error("\"" + bad) == "1: bytes that are not UTF-8");
  }
}

TEST_CASE("json: nesting and the number of values are bounded")
{
  auto const nested = [](int depth) {
    return std::string(static_cast<std::size_t>(depth), '[') + "1" +
           std::string(static_cast<std::size_t>(depth), ']');
  };
  CHECK(error(nested(32)).empty());
  CHECK(error(nested(33)) == "33: nested deeper than 32 levels");
  CHECK(error(std::string(1'000'000, '[')) == "33: nested deeper than 32 levels");
  CHECK(error("[1,2,3]", {32, 4}).empty());
  CHECK(error("[1,2,3]", {32, 3}) == "5: more than 3 values");
}
