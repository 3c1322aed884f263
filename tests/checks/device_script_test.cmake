# cmake -DSCRATCH=<folder> -P device_script_test.cmake
#
# tests/device.sh, with a program in the place of a test binary and one in that of each tool.

file(REMOVE_RECURSE ${SCRATCH})
function(program name text)
  file(WRITE ${SCRATCH}/${name} "#!/bin/sh\n${text}")
  file(CHMOD ${SCRATCH}/${name} PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE)
endfunction()
program(bin/test_a "case \"$*\" in
*-ltc*) printf '[doctest] listing\\n===\\nfirst: one, two<Device>\\nsecond: fails on the device\\nthird: slow on the device\\nfourth: no call of a device\\n' ;;
*fourth*) echo '1 passed, 0 failed, 0 skipped' ;;
*fails*) exit 1 ;;
*slow*) sleep 60 ;;
esac\n")
program(bin/test_b "exit 1\n")  # which has no case of the device: never run
program(tools/nvidia-smi "echo 'GPU 0: a GPU'\n")
program(tools/compute-sanitizer "while [ $# -gt 2 ]; do shift; done\necho \"small $TESSERA_TEST_SMALL\"
case \"$*\" in *fourth*) \"$@\"; echo 'Error: Target application terminated before first instrumented API call'; exit 255 ;; esac
exec \"$@\"\n")
set(ENV{PATH} "${SCRATCH}/tools:$ENV{PATH}")

function(expect last)
  execute_process(COMMAND ${CMAKE_CURRENT_LIST_DIR}/../device.sh --bin ${SCRATCH}/bin --log ${SCRATCH}/log --seconds 1 ${ARGN}
                  OUTPUT_VARIABLE answer ERROR_VARIABLE answer)
  if(NOT answer MATCHES "\n${last}\n$")
    message(SEND_ERROR "${ARGN}: not \"${last}\" at the end of\n${answer}")
  endif()
endfunction()

expect("1 passed, 0 failed, 0 skipped" suite)
expect("3 passed, 1 failed, 1 skipped" --continue memcheck)  # one calls nothing of CUDA
expect("3 passed, 1 failed, 1 skipped" --continue suite memcheck)  # nothing is left to do
expect("1 passed, 0 failed, 0 skipped" --cases "first*" racecheck)
file(GLOB logs ${SCRATCH}/log/racecheck.test_a.*.log)
file(READ ${logs} text)
if(NOT text MATCHES "small 2")
  message(SEND_ERROR "racecheck does not take the smallest sets: ${text}")
endif()
program(tools/nvidia-smi "exit 1\n")
expect("0 passed, 0 failed, 1 skipped" suite)
