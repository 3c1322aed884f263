# For the test.cmake of a program: starts with an empty folder SCRATCH, takes the recorded data from TESSERA_TEST_DATA
# if that is set, and has run(), expect(), skip() and need().

include(${CMAKE_CURRENT_LIST_DIR}/../../tests/support/skip.cmake)

file(REMOVE_RECURSE ${SCRATCH})
file(MAKE_DIRECTORY ${SCRATCH})
if(DEFINED ENV{TESSERA_TEST_DATA})
  set(DATA $ENV{TESSERA_TEST_DATA})
endif()
get_filename_component(program_name ${PROGRAM} NAME_WE)

# run(<status> <arguments>...): runs the program, which must end with <status>; sets `output` and `errors`. A failure
# says why in one line and prints nothing else.
macro(run status)
  execute_process(COMMAND ${PROGRAM} ${ARGN} WORKING_DIRECTORY ${SCRATCH}
                  RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE errors)
  string(REPLACE ";" " " command "${program_name} ${ARGN}")
  message("$ ${command}\n${output}${errors}")
  if(NOT result STREQUAL "${status}")
    message(FATAL_ERROR "the exit status is ${result}, not ${status}")
  endif()
  if(NOT result EQUAL 0 AND NOT errors MATCHES "^${program_name}: [^\n]+\n$")
    message(FATAL_ERROR "a failure is told in one line")
  endif()
  if(NOT result EQUAL 0 AND NOT output STREQUAL "")
    message(FATAL_ERROR "a failure prints no results")
  endif()
endmacro()

function(expect text)  # expect(<text> <regular expression>...)
  foreach(pattern IN LISTS ARGN)
    if(NOT text MATCHES "${pattern}")
      message(FATAL_ERROR "no \"${pattern}\" in the above")
    endif()
  endforeach()
endfunction()

# Results that cannot be printed are a failure.
function(expect_failure_on_full_disk)
  if(EXISTS /dev/full)
    execute_process(COMMAND ${PROGRAM} --help OUTPUT_FILE /dev/full RESULT_VARIABLE result ERROR_VARIABLE errors)
    if(NOT result EQUAL 1)
      message(FATAL_ERROR "results that could not be printed end with ${result}: ${errors}")
    endif()
  endif()
endfunction()

function(expect_no_files pattern)  # expect_no_files(<glob in the scratch folder>)
  file(GLOB left RELATIVE ${SCRATCH} ${SCRATCH}/${pattern})
  if(left)
    message(FATAL_ERROR "left behind: ${left}")
  endif()
endfunction()

# Where there is no GPU, or none is seen, it must be named as the reason; <arguments> are those of a quick run, which
# takes the CPU.
macro(expect_cpu_without_gpu)  # expect_cpu_without_gpu(<arguments>...)
  run(1 --device cpu --precision fp16)
  expect("${errors}" "fp16 needs a GPU")
  set(ENV{CUDA_VISIBLE_DEVICES} "")  # hides GPUs from the CUDA runtime
  run(1 --device cuda)
  expect("${errors}" "--device cuda: (there is no GPU|this program was built without CUDA)")
  run(0 ${ARGN})
  expect("${output}" "device    CPU")
endmacro()
