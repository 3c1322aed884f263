# cmake -DCASE=ranks|gpus -DMPIEXEC=<mpirun> -DNUMPROC_FLAG=<-n> -D<case>=<program> -P test.cmake
cmake_minimum_required(VERSION 3.22)
include(${CMAKE_CURRENT_LIST_DIR}/../../tests/support/mpi.cmake)

need_mpi()
if(NOT ${CASE})
  skip("built without NCCL")
endif()
set(count 2)
if(CASE STREQUAL "gpus")
  set(count 1)  # a GPU is enough; more ranks are tests/train/ranks' business
endif()
execute_process(COMMAND ${MPIEXEC} ${NUMPROC_FLAG} ${count} ${${CASE}} RESULT_VARIABLE status OUTPUT_VARIABLE answer
                ERROR_VARIABLE answer TIMEOUT 300)
if(answer MATCHES "no CUDA device")
  skip("no CUDA device")
endif()
if(NOT status EQUAL 0 OR NOT answer MATCHES "step 7 of ${count} ranks: loss")
  message(FATAL_ERROR "${count} ranks: ${status}\n${answer}")
endif()
