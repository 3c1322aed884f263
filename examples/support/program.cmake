# For the test.cmake of a program: starts with an empty folder SCRATCH, takes the recorded data from TESSERA_TEST_DATA
# if that is set, and has run(), expect(), skip() and need().

include(${CMAKE_CURRENT_LIST_DIR}/../../tests/support/hide_gpus.cmake)
include(${CMAKE_CURRENT_LIST_DIR}/../../tests/support/skip.cmake)

file(REMOVE_RECURSE ${SCRATCH})
file(MAKE_DIRECTORY ${SCRATCH})
if(DEFINED ENV{TESSERA_TEST_DATA})
  set(DATA $ENV{TESSERA_TEST_DATA})
endif()
get_filename_component(program_name ${PROGRAM} NAME_WE)

# run(<status> <arguments>...): runs the program, which must end with <status>; sets `output` and `errors`. A failure
# says why in one line, after lines of progress if it took long, and prints no results.
macro(run status)
  execute_process(COMMAND ${PROGRAM} ${ARGN} WORKING_DIRECTORY ${SCRATCH}
                  RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE errors)
  string(REPLACE ";" " " command "${program_name} ${ARGN}")
  message("$ ${command}\n${output}${errors}")
  if(NOT result STREQUAL "${status}")
    message(FATAL_ERROR "the exit status is ${result}, not ${status}")
  endif()
  string(REGEX REPLACE "(^|\n)  [^\n]*" "" told "${errors}")
  string(STRIP "${told}" told)
  if(NOT result EQUAL 0 AND NOT told MATCHES "^${program_name}: [^\n]+$")
    message(FATAL_ERROR "a failure is told in one line")
  endif()
  if(NOT result EQUAL 0 AND output MATCHES "written|milliseconds")
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

# same_files(<first> <second> <whether they must hold the same>)
function(same_files first second same)
  file(SHA256 ${SCRATCH}/${first} one)
  file(SHA256 ${SCRATCH}/${second} two)
  if((one STREQUAL two AND NOT same) OR (same AND NOT one STREQUAL two))
    message(FATAL_ERROR "${first} and ${second} hold the same, or do not, against what was expected")
  endif()
endfunction()

# expect_picture(<name without .png> <smallest side in pixels> <rrggbb>...): the picture can be read, its sides are not
# smaller, and it has 300 pixels or more of each colour: as many as a patch of the legend.
function(expect_picture name smallest)
  set(path ${SCRATCH}/${name}.png)
  if(NOT EXISTS ${path})
    set(path ${SCRATCH}/${name}.ppm)  # without libpng
  endif()
  execute_process(COMMAND ${PICTURE} ${path} ${ARGN} OUTPUT_VARIABLE described COMMAND_ERROR_IS_FATAL ANY)
  message("${name}: ${described}")
  if(NOT described MATCHES "^([0-9]+) x ([0-9]+)\n" OR CMAKE_MATCH_1 LESS smallest OR CMAKE_MATCH_2 LESS smallest)
    message(FATAL_ERROR "${name}: a side of less than ${smallest} pixels")
  endif()
  foreach(color ${ARGN})
    if(NOT described MATCHES "\n${color} ([0-9]+)\n" OR CMAKE_MATCH_1 LESS 300)
      message(FATAL_ERROR "${name}: fewer than 300 pixels have the colour ${color}")
    endif()
  endforeach()
endfunction()

# Runs the program and sends it SIGINT after <seconds>; sets `result`, `output` and `errors`. Needs TIMEOUT_PROGRAM.
macro(interrupt seconds)  # interrupt(<seconds> <arguments>...)
  # (in the foreground it signals the program alone; else its group too, and the second signal ends it at once)
  execute_process(COMMAND ${TIMEOUT_PROGRAM} --foreground --preserve-status -s INT ${seconds} ${PROGRAM} ${ARGN}
                  WORKING_DIRECTORY ${SCRATCH} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE errors)
  message("${output}${errors}")
endmacro()

# Ctrl-C after a second of a run that takes longer: the shell's 128 + 2, one line, and no file is left.
macro(expect_interruption)  # expect_interruption(<arguments>...)
  find_program(TIMEOUT_PROGRAM timeout)
  if(TIMEOUT_PROGRAM)
    foreach(seconds 1 3)  # a busy machine may need more than one to start it
      interrupt(${seconds} ${ARGN} --output interrupted/)
      if(errors MATCHES "(^|\n)${program_name}: interrupted\n$")
        break()
      endif()
    endforeach()
    if(NOT result EQUAL 130 OR NOT errors MATCHES "(^|\n)${program_name}: interrupted\n$")
      message(FATAL_ERROR "an interrupted run ends with ${result}")
    endif()
    expect_no_files(interrupted/*)
  endif()
endmacro()

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

# Skips where the program has no GPU; <arguments> are those that it cannot do without. Not inside a function.
macro(expect_gpu)  # expect_gpu(<arguments>...)
  execute_process(COMMAND ${PROGRAM} --device cuda missing.bin ${ARGN} WORKING_DIRECTORY ${SCRATCH} ERROR_VARIABLE errors
                  OUTPUT_QUIET)
  if(errors MATCHES "--device cuda: ")
    skip("no CUDA device")
  endif()
endmacro()

# Where there is no GPU, or none is seen, it must be named as the reason; <arguments> are those of a quick run, which
# takes the CPU.
macro(expect_cpu_without_gpu)  # expect_cpu_without_gpu(<arguments>...)
  run(1 --device cpu --precision fp16 ${ARGN})
  expect("${errors}" "fp16 needs a GPU")
  hide_gpus()
  run(1 --device cuda ${ARGN})
  expect("${errors}" "--device cuda: (there is no GPU|this program was built without CUDA)")
  run(0 ${ARGN})
  expect("${output}" "device    CPU")
endmacro()
