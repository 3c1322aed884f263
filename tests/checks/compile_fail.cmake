# cmake -DSOURCE=<file> -DCOMMAND=<compiler and options> -P compile_fail.cmake
#
# SOURCE must be refused, with a first error that matches the regular expression of its line `// expect: <regex>`. As a
# control the same file must compile with -DTESSERA_ACCEPTED, which takes the fault out of it.

file(STRINGS ${SOURCE} expected REGEX "^// expect: " LIMIT_COUNT 1)
string(REGEX REPLACE "^// expect: +" "" expected "${expected}")
if(NOT expected)
  message(FATAL_ERROR "${SOURCE} has no line `// expect: <regex>`")
endif()

separate_arguments(COMMAND UNIX_COMMAND "${COMMAND}")
execute_process(COMMAND ${COMMAND} ${SOURCE} RESULT_VARIABLE status OUTPUT_VARIABLE answer ERROR_VARIABLE answer)
if(status EQUAL 0)
  message(FATAL_ERROR "compiles, but should be refused with: ${expected}")
endif()
string(REGEX MATCH "[^\n]*error[^\n]*" error "${answer}")  # not the lines of source that a compiler quotes
if(NOT "${error}" MATCHES "${expected}")
  message(FATAL_ERROR "is refused, but not first with: ${expected}\n${answer}")
endif()

execute_process(COMMAND ${COMMAND} -DTESSERA_ACCEPTED ${SOURCE}
                RESULT_VARIABLE status OUTPUT_VARIABLE answer ERROR_VARIABLE answer)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "does not compile with -DTESSERA_ACCEPTED either:\n${answer}")
endif()
message("refused as expected: ${expected}")
