# cmake -DROOT=<source tree> -DCLANG_TIDY=<program> -DSOURCE=<file that includes every .hpp> -P clang_tidy.cmake

include(${CMAKE_CURRENT_LIST_DIR}/../support/skip.cmake)
if(NOT CLANG_TIDY)
  skip("clang-tidy is not installed")
endif()
execute_process(COMMAND ${CLANG_TIDY} --quiet --config-file=${ROOT}/.clang-tidy --header-filter=${ROOT}/include/.*
                        ${SOURCE} -- -std=c++17 -I${ROOT}/include
                RESULT_VARIABLE status)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "clang-tidy: see above")
endif()
