# cmake -DSCRATCH=<folder> -P run_script_test.cmake
#
# When a CMake script counts as skipped: tests/support/run_script.sh and skip.cmake.

set(support ${CMAKE_CURRENT_LIST_DIR}/../support)

function(expect status script)
  file(WRITE ${SCRATCH}/script.cmake "include(${support}/skip.cmake)\n${script}")
  execute_process(COMMAND ${support}/run_script.sh ${CMAKE_COMMAND} -P ${SCRATCH}/script.cmake
                  RESULT_VARIABLE result OUTPUT_VARIABLE answer ERROR_VARIABLE answer)
  if(NOT result STREQUAL status)
    message(SEND_ERROR "expected ${status}, got ${result} and\n${answer}\nof\n${script}")
  endif()
endfunction()

expect(0 "message(\"ok\")")
expect(77 "skip(\"there is no compiler\")\nmessage(FATAL_ERROR \"goes on\")")
expect(77 "if(1)\n  foreach(i 1 2)\n    skip(\"in a loop\")\n  endforeach()\nendif()\nmessage(FATAL_ERROR \"goes on\")")
expect(0 "message(\"skipped: only said\")")
expect(1 "message(\"skipped: only said\")\nmessage(FATAL_ERROR \"and failed\")")
expect(1 "message(SEND_ERROR \"failed before\")\nskip(\"and then skipped\")")

# A program of another status, or that a signal ends, is a failure whatever it prints.
foreach(end "exit 77" "exit 3" "kill -SEGV $$" "kill -KILL $$")
  file(WRITE ${SCRATCH}/program.sh "echo 'skipped: said the program'\n${end}\n")
  # In the place of cmake, which is given -DSKIP_MARK=... first.
  file(WRITE ${SCRATCH}/cmake.sh "#!/bin/sh\nshift\nexec sh \"$@\"\n")
  file(CHMOD ${SCRATCH}/cmake.sh PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE)
  execute_process(COMMAND ${support}/run_script.sh ${SCRATCH}/cmake.sh ${SCRATCH}/program.sh
                  RESULT_VARIABLE result OUTPUT_VARIABLE answer ERROR_QUIET)
  if(result STREQUAL "0" OR result STREQUAL "77" OR NOT answer MATCHES "said the program")
    message(SEND_ERROR "${end}: ${result}, ${answer}")
  endif()
endforeach()
