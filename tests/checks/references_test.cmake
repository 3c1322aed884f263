set(check references)
include(${CMAKE_CURRENT_LIST_DIR}/fault_test.cmake)

set(header "# a\n\n| what | test |\n|---|---|\n")
set(test "TEST_CASE(\"map: holds [every] \"\n          \"pair; once\")\n")

expect(PASS docs/a.md "[here](a.md#part) [there](https://example.org/x.md) `core/good.hpp` `build/x/` `a + b`\n")
expect(PASS README.md "[a](docs/a.md) `tessera/core/good.hpp` `include/tessera/core`\n" docs/a.md "a\n")
expect("link to b.md leads nowhere" docs/a.md "[b](b.md)\n")
expect("there is no core/bad.hpp" docs/a.md "`core/bad.hpp`\n")
expect(PASS docs/a.md "`b/c.hpp`\n" include/tessera/core/detail/b/c.hpp "\n")
expect("there is no tests/a_test.cpp" docs/a.md "`tests/a_test.cpp`: \"map\"\n")
expect(PASS docs/compatibility.md "${header}| b | `tests/a_test.cpp`: \"map: holds [every] pair; once\" |\n"
       tests/a_test.cpp "${test}")
expect(PASS docs/compatibility.md "${header}| b | `tests/a_test.cpp`: \"map: holds\" |\n" tests/a_test.cpp "${test}")
expect("has no test \"map: keeps\"" docs/compatibility.md "${header}| b | `tests/a_test.cpp`: \"map: keeps\" |\n"
       tests/a_test.cpp "${test}")
expect("has no test \"holds\"" docs/a.md "`tests/a_test.cpp`: \"holds\"\n" tests/a_test.cpp "${test}")
expect(PASS docs/compatibility.md "${header}| b | `examples/a.cpp` |\n" examples/a.cpp "int main() {}\n")
expect("no test in the row" docs/compatibility.md "${header}| b | `tests/a_test.cpp` |\n" tests/a_test.cpp "${test}")

# The number of faults that are planted.
set(mutants "a.hpp\n- x\n+ y\n= a_test.cpp\n\na.hpp\n- y\n+\n= a_test.cpp\n")
expect(PASS tests/mutants/mutants.txt "${mutants}" docs/reliability.md "# a\n\n- 2 faults are listed\n")
expect("lists 2 faults" tests/mutants/mutants.txt "${mutants}" docs/reliability.md "# a\n\n- 3 faults are listed\n")

# Commands that run some tests.
expect(PASS docs/a.md "`build/bin/test_kmap -tc='map: holds*'`\n" tests/kmap/a_test.cpp "${test}")
expect(PASS docs/a.md "`build/bin/test_kmap -tc='*every] pair*'`\n" tests/kmap/a_test.cpp "${test}")
expect("finds no test in tests/kmap" docs/a.md "`build/bin/test_kmap -tc='holds*'`\n" tests/kmap/a_test.cpp "${test}")
expect("finds no test in tests/conv" docs/a.md "`bin/test_conv -tc='map*'`\n" tests/kmap/a_test.cpp "${test}")
