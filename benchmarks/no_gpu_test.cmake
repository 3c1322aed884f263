# cmake -DPROGRAM=<benchmark> -P no_gpu_test.cmake
#
# Where there is no GPU a benchmark says so in one line and fails.

include(${CMAKE_CURRENT_LIST_DIR}/../tests/support/hide_gpus.cmake)

hide_gpus()
execute_process(COMMAND ${PROGRAM} RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE error)
if(NOT status EQUAL 1 OR NOT output STREQUAL "" OR NOT error MATCHES "^bench_[a-z]+: there is no GPU[^\n]*\n$")
  message(FATAL_ERROR "${PROGRAM} without a GPU ended with ${status}:\n${output}${error}")
endif()
