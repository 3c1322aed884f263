# What scripts that start ranks share: include it, then call need_mpi().
include(${CMAKE_CURRENT_LIST_DIR}/skip.cmake)

# Skips the test without MPI; with it allows what is legal in a test: more ranks than cores, root, and containers without a
# network or shared memory.
macro(need_mpi)
  if(NOT MPIEXEC)
    skip("MPI is not installed; on Debian and Ubuntu: apt-get install libopenmpi-dev openmpi-bin")
  endif()
  set(ENV{OMPI_ALLOW_RUN_AS_ROOT} 1)
  set(ENV{OMPI_ALLOW_RUN_AS_ROOT_CONFIRM} 1)
  set(ENV{OMPI_MCA_rmaps_base_oversubscribe} 1)
  set(ENV{OMPI_MCA_btl_vader_single_copy_mechanism} none)
  set(ENV{LSAN_OPTIONS} "detect_leaks=0:$ENV{LSAN_OPTIONS}")  # MPI does not give back what it holds when it ends,
  set(ENV{TSAN_OPTIONS} "detect_deadlocks=0:$ENV{TSAN_OPTIONS}")  # nor does it take its locks in one order
endmacro()
