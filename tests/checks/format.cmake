# cmake -DROOT=<source tree> -DCLANG_FORMAT=<program> -P format.cmake
#
# Every file is as clang-format 14 writes it; other versions write some lines differently, so they do not decide.

include(${CMAKE_CURRENT_LIST_DIR}/../support/skip.cmake)
if(NOT CLANG_FORMAT)
  skip("clang-format 14 is not installed")
endif()
execute_process(COMMAND ${CLANG_FORMAT} --version OUTPUT_VARIABLE version)
if(NOT version MATCHES "version 14\\.")
  skip("formatting is decided by clang-format 14, this is ${version}")
endif()

file(GLOB_RECURSE files RELATIVE ${ROOT} ${ROOT}/include/*.?pp ${ROOT}/include/*.cu*
     ${ROOT}/tests/*.?pp ${ROOT}/tests/*.cu* ${ROOT}/examples/*.?pp ${ROOT}/examples/*.cu*
     ${ROOT}/benchmarks/*.?pp ${ROOT}/benchmarks/*.cu*)
execute_process(COMMAND ${CLANG_FORMAT} --dry-run -Werror --ferror-limit=3 ${files}
                WORKING_DIRECTORY ${ROOT} RESULT_VARIABLE status)
list(LENGTH files count)
if(NOT status EQUAL 0 OR count EQUAL 0)
  message(FATAL_ERROR "format: run clang-format 14 with -i over the files named above")
endif()
message("format: ${count} files read")
