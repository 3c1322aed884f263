# cmake -DPROGRAM=<reporting_sample> -DEMULATOR=<what runs it, or nothing> -P reporting_test.cmake
#
# The sample, whose cases pass, fail and are skipped, fails, says why it skipped, and counts right.

separate_arguments(emulator UNIX_COMMAND "${EMULATOR}")
execute_process(COMMAND ${emulator} ${PROGRAM} RESULT_VARIABLE status OUTPUT_VARIABLE output)
if(NOT status EQUAL 1 OR NOT output MATCHES "skipped: skips itself: on purpose.*\n1 passed, 3 failed, 4 skipped\n$")
  message(FATAL_ERROR "it ended with ${status} and said\n${output}")
endif()
