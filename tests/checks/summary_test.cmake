# cmake -DAWK=<program> -DSCRATCH=<folder> -P summary_test.cmake
#
# What tests/support/summary.awk makes of what ctest prints.

include(${CMAKE_CURRENT_LIST_DIR}/../support/skip.cmake)
if(NOT AWK)
  skip("awk is not installed")
endif()

file(WRITE ${SCRATCH}/allowed.txt "# a comment | of three | parts
gpu    | .*[Dd]evice.*     | no CUDA device.*
golden | .*                | golden/[^/]* is not in .*
-      | layers            | there is no [a-z]+
")

# expect(<last line> <status> <lines>...) of a log, where `missing` is missing
set(allowed ${SCRATCH}/allowed.txt)
function(expect line status)
  string(JOIN "\n" log ${ARGN} "")
  file(WRITE ${SCRATCH}/log "${log}")
  execute_process(COMMAND ${AWK} -v allowed=${allowed} -v "missing=${missing}"
                          -f ${CMAKE_CURRENT_LIST_DIR}/../support/summary.awk ${SCRATCH}/log
                  OUTPUT_VARIABLE answer RESULT_VARIABLE result)
  if(NOT answer MATCHES "(^|\n)${line}\n$" OR NOT result EQUAL status)
    message(SEND_ERROR "expected ${status} and \"${line}\", got ${result} and\n${answer}\nof\n${log}")
  endif()
endfunction()

set(missing "gpu golden")
set(unit "      Start  1: unit.core" "1: skipped: a<Device>: no CUDA device: none" "1: skipped: b: golden/x is not in /y"
         "1: skipped: b: golden/z is not in /y" "1: 5 passed, 0 failed, 2 skipped")
set(unit_failed "      Start  1: unit.core" "1: skipped: a: it: on the device: no CUDA device" "1: 5 passed, 3 failed, 1 skipped")
set(end "1/2 Test  #1: unit.core ....   Passed    0.01 sec")
set(end_failed "1/2 Test  #1: unit.core ....***Failed    0.01 sec")
set(other "      Start 12: layers" "12: 9 passed, 9 failed, 9 skipped")

expect("5 passed, 0 failed, 2 skipped" 0 ${unit} ${end})
expect("5 passed, 3 failed, 1 skipped" 1 ${unit_failed} ${end_failed})
expect("5 passed, 3 failed, 1 skipped" 1 ${unit_failed} ${end})
expect("5 passed, 1 failed, 2 skipped" 1 ${unit} ${end_failed})  # dies after its last line
expect("0 passed, 1 failed, 0 skipped" 1 "      Start  1: unit.core" "1/2 Test  #1: unit.core ...***Exception: SegFault  1 sec")
expect("0 passed, 1 failed, 0 skipped" 1 "      Start  1: unit.core" ${end})  # ran no case
expect("5 passed, 1 failed, 2 skipped" 1 ${unit} ${end} "      Start  2: unit.conv" "2: [doctest] cut off")
expect("6 passed, 0 failed, 2 skipped" 0 ${unit} ${other} ${end} "2/2 Test #12: layers ...   Passed    0.20 sec")
expect("5 passed, 1 failed, 2 skipped" 1 ${unit} ${other} ${end} "2/2 Test #12: layers ...***Failed    0.20 sec")
expect("5 passed, 1 failed, 2 skipped" 1 ${unit} ${other} ${end} "2/2 Test #12: layers ...***Not Run   0.00 sec")
expect("0 passed, 0 failed, 0 skipped" 1 "No tests were found!!!")

# Skips that the list does not allow: no reason, another reason, or one that is not missing here.
set(skipped "2/2 Test #12: layers ...***Skipped   0.20 sec")
set(why "12: skipped: there is no awk")
expect("5 passed, 0 failed, 3 skipped" 0 ${unit} ${other} ${why} ${end} ${skipped})
expect("0 passed, 0 failed, 1 skipped" 1 ${other} ${why} ${skipped})
expect("5 passed, 1 failed, 2 skipped" 1 ${unit} ${other} ${end} ${skipped})
expect("5 passed, 1 failed, 2 skipped" 1 ${unit} ${other} "12: skipped: I will" ${end} ${skipped})
expect("5 passed, 1 failed, 2 skipped" 1 ${unit} "      Start 12: layer" ${why} ${end} "2/2 Test #12: layer ..***Skipped 1 sec")
expect("5 passed, 1 failed, 0 skipped" 1 "      Start  1: unit.core" "1: 5 passed, 0 failed, 1 skipped" ${end})
expect("5 passed, 1 failed, 0 skipped" 1 "      Start  1: unit.core" "1: skipped: a<Device>: I will"
       "1: 5 passed, 0 failed, 1 skipped" ${end})
expect("5 passed, 1 failed, 1 skipped" 1 "      Start  1: unit.core" "1: skipped: a<Host>: no CUDA device"
       "1: skipped: a<Device>: no CUDA device" "1: 5 passed, 0 failed, 2 skipped" ${end})
expect("5 passed, 1 failed, 1 skipped" 1 "      Start  1: unit.core" "1: skipped: b: golden/x is not in /y"
       "1: skipped: b: golden/z is not in /y" "1: 5 passed, 0 failed, 2 skipped" ${end})
expect("5 passed, 1 failed, 0 skipped" 1 "      Start  1: unit.core" "1: skipped: b: golden/x is not in /y"
       "1: skipped: b: I will" "1: 5 passed, 0 failed, 1 skipped" ${end})
set(missing "gpu")
expect("5 passed, 1 failed, 1 skipped" 1 ${unit} ${end})
set(missing "golden")
expect("5 passed, 1 failed, 1 skipped" 1 ${unit} ${end})

# The list of this tree: cases for the device in a build without nvcc, and in one that finds no GPU.
set(allowed ${CMAKE_CURRENT_LIST_DIR}/../may_skip.txt)
set(of_device "      Start  1: unit.conv" "1: skipped: device convolution of double: many rows: built without CUDA"
              "1: skipped: optimizers on the device: replays: built without CUDA" "1: 5 passed, 0 failed, 2 skipped")
set(missing "gpu nvcc")
expect("5 passed, 0 failed, 2 skipped" 0 ${of_device} ${end})
set(missing "gpu")
expect("5 passed, 2 failed, 0 skipped" 1 ${of_device} ${end})
expect("5 passed, 0 failed, 1 skipped" 0 "      Start  1: unit.conv" "1: skipped: maps<Device>: no CUDA device: none"
       "1: 5 passed, 0 failed, 1 skipped" ${end})
