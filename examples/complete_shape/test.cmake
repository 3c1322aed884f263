# cmake -DPROGRAM=<complete_shape> -DCASE=<case> -DSCRATCH=<folder> -P test.cmake
#
# One case of what the program must do.

cmake_minimum_required(VERSION 3.22)
include(${CMAKE_CURRENT_LIST_DIR}/../support/program.cmake)

# expect_completed(<thousandths>): the mean IoU of the completed shapes is above that of the partial ones by so much.
function(expect_completed above)
  if(NOT output MATCHES "\n  all +[0-9]+ +([01])[.]([0-9][0-9][0-9]) +([01])[.]([0-9][0-9][0-9])\n")
    message(FATAL_ERROR "no mean IoU")
  endif()
  set(partial 1${CMAKE_MATCH_2})  # a number may not begin with 0
  set(completed 1${CMAKE_MATCH_4})
  math(EXPR gain "${completed} - ${partial}")
  if(CMAKE_MATCH_1 OR CMAKE_MATCH_3 OR gain LESS above)
    message(FATAL_ERROR "the completed shapes are better by ${gain} thousandths, not by ${above}")
  endif()
endfunction()

function(expect_ply name)
  file(READ ${SCRATCH}/${name}.ply start LIMIT 4)
  if(NOT start STREQUAL "ply\n")
    message(FATAL_ERROR "${name}.ply is no PLY file")
  endif()
endfunction()

set(quick --device cpu --grid 16)
set(training ${quick} --train --steps 8 --batch 2 --shapes 4)

if(CASE STREQUAL "trained")
  # The weights that come along complete shapes that no training has seen.
  run(0 --device cpu --output results/)
  expect("${output}" "^device +CPU" "network +[0-9,]+ parameters, for 32.3 voxels" "weights +[^\n]*trained.safetensors"
         "voxels +partial +grown +pruned +kept +truth\n  stride 16 " "  stride 1 +[0-9,]+ +[0-9,]+ +[0-9,]+ +[0-9,]+ +[0-9,]+\n"
         "IoU +shapes +partial +completed\n  sphere +8 " "  combination +8 " "32 held-out shapes completed in [0-9]+ ms")
  expect_completed(80)
  expect_ply(results/completion)
  expect_picture(results/completion 400 5c94e8 58c676 e25444 cacad0)
  run(0 --device cpu --shapes 12 --shapes-seed 99 --threads 1 --output other)
  expect_completed(80)
  same_files(results/completion.ply other.ply 0)
  run(0 --device cpu --shapes 4 --threads 1 --output again)  # of which the first four are shown
  same_files(results/completion.ply again.ply 1)

elseif(CASE STREQUAL "training")
  # A short training teaches something, and the same seed gives the same bytes, whatever the threads.
  run(0 ${training} --output first)
  expect("${output}" "weights +8 steps of 2 shapes: loss [0-9.]+, was [0-9.]+; [0-9.]+ s" "first.safetensors\n$")
  run(0 ${training} --threads 1 --output again)
  run(0 ${training} --seed 2 --output other)
  same_files(first.safetensors again.safetensors 1)
  same_files(first.ply again.ply 1)
  same_files(first.safetensors other.safetensors 0)
  run(0 ${quick} --shapes 4 --weights first.safetensors --output read)
  same_files(first.ply read.ply 1)

elseif(CASE STREQUAL "learning")
  run(0 ${quick} --train --steps 250 --batch 4 --rate 0.02)
  expect_completed(50)

elseif(CASE STREQUAL "on_device")
  execute_process(COMMAND ${PROGRAM} --device cuda --weights missing WORKING_DIRECTORY ${SCRATCH} ERROR_VARIABLE errors
                  OUTPUT_QUIET)
  if(errors MATCHES "--device cuda: ")
    skip("no CUDA device")
  endif()
  run(0 --device cuda --output device)
  expect_completed(80)
  run(0 --device cuda --grid 16 --train --steps 8 --batch 2 --output first)
  run(0 --device cuda --grid 16 --train --steps 8 --batch 2 --output again)
  same_files(first.safetensors again.safetensors 1)

elseif(CASE STREQUAL "interruption")
  expect_interruption(--device cpu --threads 1 --train --steps 100000)

elseif(CASE STREQUAL "few_shapes")
  run(0 --device cpu --shapes 1 --show 16)
  expect("${output}" "  sphere +1 " "1 held-out shape completed")
  if(output MATCHES "torus")
    message(FATAL_ERROR "kinds are told that there are none of")
  endif()
  expect_ply(completion)

elseif(CASE STREQUAL "help")
  run(0 --help)
  expect("${output}" "usage: complete_shape" --shapes --show --shapes-seed --weights --train --steps --batch --rate --seed --grid --device
         --precision --threads --output Examples "Exit status")
  run(0 -h)

elseif(CASE STREQUAL "wrong_options")
  foreach(wrong "--colour" "--device;tpu" "--precision=fp16" "--shapes;0" "--show;0" "--show;17" "--grid;20" "--grid;128" "--grid;0"
          "--train;--steps;1" "--train;--batch;0" "--train;--rate;0" "--train;--rate;nan" "--train;--seed;-1" "--threads;1.5"
          "--output;" "--weights;" "--train=yes" "shape.ply" "--help=yes" "-x" "--shapes;99999999999999999999")
    run(2 ${wrong})
  endforeach()
  run(2 --train --weights some.safetensors)
  expect("${errors}" "--weights is read, but --train makes new ones")
  foreach(option --steps --batch --rate --seed)
    run(2 ${option} 2)
    expect("${errors}" "${option} is about --train, which is not given")
  endforeach()

elseif(CASE STREQUAL "unreadable_files")
  run(1 --device cpu --weights missing.safetensors)
  expect("${errors}" "missing.safetensors.*No such file")
  file(WRITE ${SCRATCH}/cut.safetensors "abc")
  run(1 --device cpu --weights cut.safetensors)
  expect("${errors}" "cut.safetensors")
  run(1 --device cpu --output no/such/prefix)
  expect("${errors}" "there is no folder no/such")
  expect_failure_on_full_disk()
  expect_no_files(completion.*)

elseif(CASE STREQUAL "no_gpu")
  hide_gpus()
  run(1 --device cuda --shapes 1)
  expect("${errors}" "--device cuda: (there is no GPU|this program was built without CUDA)")
  run(0 --shapes 1)
  expect("${output}" "device    CPU")

else()
  message(FATAL_ERROR "there is no case ${CASE}")
endif()
