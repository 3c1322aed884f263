// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// doctest's implementation and the entry point of every test binary, compiled once, by the host compiler.
#define DOCTEST_CONFIG_IMPLEMENT
#include "data.hpp"
#include "skip.hpp"
#include "tally.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

namespace {

test::Tally tally;

/// Tells the tally which case runs and how it ended; prints nothing itself.
struct TallyListener : doctest::IReporter {
  explicit TallyListener(doctest::ContextOptions const& /*options*/) {}

  void test_case_start(doctest::TestCaseData const& test_case) override { tally.start(test_case.m_name); }
  void test_case_end(doctest::CurrentTestCaseStats const& stats) override
  {
    tally.end(!stats.testCaseSuccess);
  }
  void test_case_skipped(doctest::TestCaseData const& test_case) override
  {
    if (test_case.m_skip) { tally.left_out(); }  // the others are those a filter left out
  }

  void report_query(doctest::QueryData const& /*data*/) override {}
  void test_run_start() override {}
  void test_run_end(doctest::TestRunStats const& /*stats*/) override {}
  void test_case_reenter(doctest::TestCaseData const& /*test_case*/) override {}
  void test_case_exception(doctest::TestCaseException const& /*exception*/) override {}
  void subcase_start(doctest::SubcaseSignature const& /*signature*/) override {}
  void subcase_end() override {}
  void log_assert(doctest::AssertData const& /*data*/) override {}
  void log_message(doctest::MessageData const& /*data*/) override {}
};

REGISTER_LISTENER("tally", 0, TallyListener);

}  // namespace

void test::skip(std::string const& reason)
{
  std::cout << tally.skip(reason) << std::endl;
}

std::string test::data_root()
{
  char const* const chosen = std::getenv("TESSERA_TEST_DATA");
  return chosen != nullptr ? chosen : TESSERA_TEST_DEFAULT_DATA;
}

std::optional<std::string> test::data_file(std::string const& relative)
{
  auto path = find_data(relative);
  if (!path) { skip(relative + " is not in " + data_root() + " (set TESSERA_TEST_DATA)"); }
  return path;
}

std::vector<std::string> test::data_files(std::string const& folder, std::string const& extension)
{
  namespace fs = std::filesystem;
  std::vector<std::string> paths;
  if (auto const found = find_data(folder)) {
    for (auto const& item : fs::recursive_directory_iterator{*found}) {
      if (item.path().extension() == extension) { paths.push_back(item.path().string()); }
    }
  }
  std::sort(paths.begin(), paths.end());
  if (paths.empty()) {
    skip(folder + "/*" + extension + " is not in " + data_root() + " (set TESSERA_TEST_DATA)");
  }
  return paths;
}

int main(int argc, char** argv)
{
  doctest::Context context{argc, argv};
  int const status = context.run();
  if (!context.shouldExit()) { std::cout << tally.line() << std::endl; }
  return status;
}
