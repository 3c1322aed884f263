# cmake -DPYTHON=<python3> -DROOT=<source tree> -P cluster_test.cmake
#
# benchmarks/cluster.py against what can be said without a simulation.

include(${CMAKE_CURRENT_LIST_DIR}/../support/skip.cmake)
if(NOT PYTHON)
  skip("there is no python3")
endif()
execute_process(COMMAND ${PYTHON} ${ROOT}/benchmarks/cluster.py --test COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${PYTHON} ${ROOT}/benchmarks/cluster.py --workers 1000 OUTPUT_VARIABLE output COMMAND_ERROR_IS_FATAL ANY)
message("${output}")
if(NOT output MATCHES "\n  1,000 \\| +[0-9.]+ \\|[^\n]*shared reading")
  message(FATAL_ERROR "no row for 1,000 workers")
endif()
