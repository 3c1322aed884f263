# cmake -DPROGRAM=<label_scans> -DCASE=<case> -DSIMULATE=<simulate_scans> -DPARTS=<label_scans_parts>
#       -DSEGMENT=<segment_scan> -DSCRATCH=<folder> -DDATA=<recorded data> -P test.cmake
#
# One case of what the program must do.

cmake_minimum_required(VERSION 3.22)
include(${CMAKE_CURRENT_LIST_DIR}/../support/program.cmake)

# The shards of other processes of this machine are none of ours.
foreach(variable SLURM_ARRAY_TASK_ID SLURM_PROCID OMPI_COMM_WORLD_RANK OMPI_COMM_WORLD_SIZE PMI_RANK PMI_SIZE RANK WORLD_SIZE)
  unset(ENV{${variable}})
endforeach()

set(small --device cpu --width 0.04 --voxel-size 0.8 --threads 1)

# simulate(<number> <beams> <rays>): writes scans to data/.
function(simulate)
  execute_process(COMMAND ${SIMULATE} data ${ARGN} WORKING_DIRECTORY ${SCRATCH} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

# expect_results(<folder> <number> <glob>): so many results, and no file that was begun.
function(expect_results folder number pattern)
  file(GLOB_RECURSE results ${SCRATCH}/${folder}/${pattern})
  list(LENGTH results count)
  file(GLOB_RECURSE begun ${SCRATCH}/${folder}/*.tmp)
  if(NOT count EQUAL number OR begun)
    message(FATAL_ERROR "${folder} has ${count} results, not ${number}; begun: ${begun}")
  endif()
endfunction()

# expect_once(<folder> <number>): the manifests say of so many scans that they are done, of each once.
function(expect_once folder number)
  file(GLOB manifests ${SCRATCH}/${folder}/manifest/*.jsonl)
  set(names "")
  foreach(manifest IN LISTS manifests)
    file(STRINGS ${manifest} lines REGEX "\"status\": \"done\"")
    foreach(line IN LISTS lines)
      string(REGEX REPLACE ".*\"name\": \"([^\"]+)\".*" "\\1" name "${line}")
      list(APPEND names ${name})
    endforeach()
  endforeach()
  list(LENGTH names count)
  list(REMOVE_DUPLICATES names)
  list(LENGTH names different)
  if(NOT count EQUAL number OR NOT different EQUAL number)
    message(FATAL_ERROR "${folder}: ${count} lines of ${different} scans that are done, not ${number}")
  endif()
endfunction()

# same_results(<folder> <folder>): the same files with the same bytes.
function(same_results one two)
  execute_process(COMMAND diff -rq --exclude=manifest ${one} ${two} WORKING_DIRECTORY ${SCRATCH}
                  RESULT_VARIABLE differ OUTPUT_VARIABLE told)
  if(NOT differ EQUAL 0)
    string(SUBSTRING "${told}" 0 500 told)
    message(FATAL_ERROR "${one} and ${two} differ:\n${told}")
  endif()
endfunction()

# expect_efficiency(<output>): what the summary says of the network's time is a part of it.
function(expect_efficiency output)
  if(NOT output MATCHES "\"efficiency\": (0(\\.[0-9]+)?|1|[0-9.]+e-[0-9]+),")
    message(FATAL_ERROR "an efficiency that is no part of 1")
  endif()
endfunction()

if(CASE STREQUAL "scans")
  simulate(12 8 128)
  run(0 data ${small} --output labels)
  expect_efficiency("${output}")
  expect("${output}" "^scans +12 in data \\(semantickitti\\)\n" "the labels mean nothing" "19 classes" "to do +12 of 12 scans; 0 there"
         "done +12 scans in" "waiting +the network" "the slowest is (reading|computing|writing)"
         "\n{\"shard\": \"0/1\", \"scans\": 12, \"there\": 0, \"done\": 12, \"failed\": 0, [^\n]*\"scans_per_second\": [0-9.]+,[^\n]*}\n$")
  expect_results(labels 12 sequences/00/predictions/*.label)
  expect_once(labels 12)
  file(SIZE ${SCRATCH}/data/sequences/00/velodyne/000003.bin points)
  file(SIZE ${SCRATCH}/labels/sequences/00/predictions/000003.label size)
  math(EXPR points "${points} / 4")
  if(NOT size EQUAL points)
    message(FATAL_ERROR "${size} bytes of labels for ${points} bytes of coordinates")
  endif()
  # A number of SemanticKITTI's for each point.
  file(READ ${SCRATCH}/labels/sequences/00/predictions/000003.label labels HEX)
  if(NOT labels MATCHES "^((00|0a|0b|0f|12|14|1e|1f|20|28|2c|30|31|32|33|46|47|48|50|51)000000)+$")
    message(FATAL_ERROR "labels that are no classes of SemanticKITTI")
  endif()
  string(REGEX MATCHALL "........" labels "${labels}")
  list(REMOVE_DUPLICATES labels)
  list(LENGTH labels classes)
  if(classes LESS 3)
    message(FATAL_ERROR "${classes} classes: labels that anything could be equal to")
  endif()
  # Again there is nothing to do; what is missing is done again, to the bit, whatever the threads.
  run(0 data ${small} --output labels)
  expect("${output}" "to do +0 of 12 scans; 12 there" "\"done\": 0,")
  file(COPY ${SCRATCH}/labels/ DESTINATION ${SCRATCH}/before)
  file(REMOVE ${SCRATCH}/labels/sequences/00/predictions/000005.label)
  run(0 data ${small} --output labels --readers 3 --writers 1 --threads 2 --no-sync)
  expect("${output}" "to do +1 of 12 scans; 11 there")
  same_results(labels before)
  # Results that the manifest does not know, since a process was killed before it could note them, are noted.
  file(STRINGS ${SCRATCH}/labels/manifest/shard-0-of-1.jsonl lines)
  list(GET lines 0 begun)
  list(GET lines 3 noted)
  file(WRITE ${SCRATCH}/labels/manifest/shard-0-of-1.jsonl "${begun}\n${noted}\n{\"name\": \"seq")
  run(0 data ${small} --output labels)
  expect_once(labels 12)
  # Files of known columns go a shorter way than those that are detected.
  run(0 data ${small} --output detected --layout folder)
  same_files(labels/sequences/00/predictions/000007.label detected/sequences/00/velodyne/000007.label 1)
  run(0 data ${small} --output scaled --intensity-scale 0.5)
  run(0 data ${small} --output scaled_too --intensity-scale 0.5 --layout folder)
  same_files(scaled/sequences/00/predictions/000007.label scaled_too/sequences/00/velodyne/000007.label 1)
  same_files(labels/sequences/00/predictions/000007.label scaled/sequences/00/predictions/000007.label 0)
  # Results of other settings do not belong there.
  run(1 data ${small} --seed 2 --output labels)
  expect("${errors}" "labels has results of other settings .*--mixed")
  run(1 data ${small} --format xyz --output labels)
  expect("${errors}" "labels has results of other settings .*format kitti.*format xyz")
  run(1 data ${small} --format x,y,z,_,intensity --output labels)
  run(1 data ${small} --origin 1,2,3 --output labels)
  run(0 data ${small} --seed 2 --output labels --mixed)
  expect("${output}" "to do +0 of 12 scans")
  # Who begins at the same time cannot see their results yet, but what they have said.
  file(REMOVE_RECURSE ${SCRATCH}/said)
  run(0 data ${small} --output said --shard 0/6)
  file(REMOVE ${SCRATCH}/said/manifest/shard-0-of-6.jsonl)
  run(1 data ${small} --seed 2 --output said --shard 1/6)
  expect("${errors}" "said has results of other settings .*seed 1.*seed 2")
  # Arrays beside the scans would be the next run's scans.
  file(COPY ${SCRATCH}/data/ DESTINATION ${SCRATCH}/beside)
  run(1 beside ${small} --layout folder --write npy --output ./beside)
  expect("${errors}" "beside is the folder of the scans.*another --output")
  expect_results(beside 0 *.npy)
  run(0 beside ${small} --layout folder --output beside)
  run(0 beside ${small} --layout folder --output beside)
  expect("${output}" "to do +0 of 12 scans; 12 there")
  # A folder where a result should be is none.
  file(REMOVE ${SCRATCH}/labels/sequences/00/predictions/000005.label)
  file(MAKE_DIRECTORY ${SCRATCH}/labels/sequences/00/predictions/000005.label)
  run(1 data ${small} --seed 2 --output labels)
  expect("${output}" "to do +1 of 12 scans; 11 there")
  expect("${errors}" "000005.label: cannot be written: Is a directory")
  # Other results.
  run(0 data ${small} --classes 5 --write npy --output arrays)
  expect_results(arrays 12 sequences/00/predictions/*.npy)
  run(0 data ${small} --classes 2 --label-ids 7,9 --output table)
  file(READ ${SCRATCH}/table/sequences/00/predictions/000003.label labels HEX)
  if(NOT labels MATCHES "^((00|07|09)000000)+$" OR NOT labels MATCHES "07|09")
    message(FATAL_ERROR "labels that are not of the table")
  endif()
  run(2 data ${small} --classes 2 --label-ids 7 --output table)
  run(0 data --device cpu --network centerpoint_0_1 --width 0.0625 --max-voxels 500 --shard 0/6 --output maps)
  expect("${output}" "centerpoint_0_1, 5 channels in, maps of \\(1, [0-9]+, [0-9]+, [0-9]+\\)")
  expect_results(maps 2 sequences/00/predictions/*.npy)

elseif(CASE STREQUAL "lists")
  simulate(3 8 64)
  file(WRITE ${SCRATCH}/scans.txt "data/sequences/00/velodyne/000000.bin\ndata/sequences/00/velodyne/000002.bin\tnight/two\n")
  run(0 scans.txt ${small} --format kitti --output listed)
  expect_results(listed 2 *.label)
  if(NOT EXISTS ${SCRATCH}/listed/000000.label OR NOT EXISTS ${SCRATCH}/listed/night/two.label)
    message(FATAL_ERROR "results are not named as the list says")
  endif()
  # A name of the most bytes there are is one as any other; of results that would be called longer, the scan fails alone.
  string(REPEAT "n" 249 long)
  file(MAKE_DIRECTORY ${SCRATCH}/long)
  file(COPY_FILE ${SCRATCH}/data/sequences/00/velodyne/000000.bin ${SCRATCH}/long/${long}.bin)
  file(COPY_FILE ${SCRATCH}/data/sequences/00/velodyne/000000.bin ${SCRATCH}/long/${long}nn.bin)
  run(1 long ${small} --format kitti --output named)
  expect("${output}" "\"done\": 1, \"failed\": 1,")
  expect("${errors}" "1 of 2 scans failed")
  expect_results(named 1 *.label)
  file(READ ${SCRATCH}/named/manifest/shard-0-of-1.jsonl manifest)
  expect("${manifest}" "nnn\", \"status\": \"failed\", [^\n]*File name too long")
  file(MAKE_DIRECTORY ${SCRATCH}/drive/samples/LIDAR_TOP)
  string(REPEAT "@@@@" 50 points)  # ten points of five columns, 3.0 each
  file(WRITE ${SCRATCH}/drive/samples/LIDAR_TOP/one.pcd.bin "${points}")
  run(0 drive ${small} --output nuscenes)
  expect("${output}" "\\(nuscenes\\)")
  expect_results(nuscenes 1 samples/LIDAR_TOP/one.label)

elseif(CASE STREQUAL "recorded")
  # The labels are those of segment_scan.
  need(golden/minkunet_semkitti.safetensors data/semkitti_000000.bin golden/spconv/second_kitti.pth)
  set(checkpoint ${DATA}/golden/minkunet_semkitti.safetensors)
  file(MAKE_DIRECTORY ${SCRATCH}/scans)
  file(COPY ${DATA}/data/semkitti_000000.bin DESTINATION ${SCRATCH}/scans)
  set(how --device cpu --voxel-size 0.4 --checkpoint ${checkpoint})
  run(0 scans ${how} --write npy --output labels)
  expect("${output}" "SPVNAS's MinkUNet, names behind 'param.'")
  execute_process(COMMAND ${SEGMENT} scans/semkitti_000000.bin ${how} --output segmented WORKING_DIRECTORY ${SCRATCH}
                  OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
  execute_process(COMMAND ${PARTS} segmented.ply labels/semkitti_000000.npy WORKING_DIRECTORY ${SCRATCH}
                  COMMAND_ERROR_IS_FATAL ANY)
  run(0 scans --device cpu --checkpoint ${DATA}/golden/spconv/second_kitti.pth --max-voxels 2000 --output maps)
  expect("${output}" "second_kitti, 4 channels in, maps of")
  expect_results(maps 1 *.npy)
  run(1 scans ${how} --network second_kitti --output other)
  expect("${errors}" "not --network second_kitti")

elseif(CASE STREQUAL "killed")
  # Killed at random three times and started again: every scan is labelled once, and the bytes are those of a run that
  # nobody killed.
  set(number 2000)
  if(DEFINED ENV{TESSERA_TEST_SMALL})
    set(number 200)
  endif()
  simulate(${number} 8 128)
  run(0 data ${small} --output whole --no-sync)
  execute_process(COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/kill_test.sh ${number} 1 ${PROGRAM} data ${small}
                  WORKING_DIRECTORY ${SCRATCH} COMMAND_ERROR_IS_FATAL ANY)
  run(0 data ${small} --output killed)
  expect("${output}" "to do +[0-9,]+ of [0-9,]+ scans; [0-9,]+ there")
  expect_results(killed ${number} sequences/00/predictions/*.label)
  expect_once(killed ${number})
  same_results(whole killed)

elseif(CASE STREQUAL "processes")
  # Four processes: no scan twice, none left out; with the variables of a launcher.
  simulate(102 8 64)
  run(0 data ${small} --output whole --no-sync)
  foreach(launcher "RANK;WORLD_SIZE" "OMPI_COMM_WORLD_RANK;OMPI_COMM_WORLD_SIZE")
    list(GET launcher 0 rank)
    list(GET launcher 1 size)
    string(CONCAT script "for process in 0 1 2 3; do ${rank}=$process ${size}=4 \"$@\" --output ${rank} >&2 & workers+=($!); done\n"
                         "for worker in \${workers[@]}; do wait $worker || exit 1; done\n")
    execute_process(COMMAND bash -c "${script}" all ${PROGRAM} data ${small} WORKING_DIRECTORY ${SCRATCH}
                    COMMAND_ERROR_IS_FATAL ANY)
    expect_results(${rank} 102 sequences/00/predictions/*.label)
    expect_once(${rank} 102)
    same_results(whole ${rank})
  endforeach()
  # Another number of processes goes on with what is there.
  file(REMOVE ${SCRATCH}/RANK/sequences/00/predictions/000050.label)
  run(0 data ${small} --output RANK --shard 1/3)
  expect("${output}" "to do +0 of 34 scans")
  run(0 data ${small} --output RANK --shard 2/3)
  expect("${output}" "shard +2/3, by --shard" "to do +1 of 34 scans; 33 there")
  same_results(whole RANK)

elseif(CASE STREQUAL "slurm")
  # A stand-in for Slurm, which sets its variables.
  simulate(30 8 64)
  run(0 data ${small} --output whole --no-sync)
  foreach(task 10 12 14 16)
    execute_process(COMMAND ${CMAKE_COMMAND} -E env SLURM_ARRAY_JOB_ID=7 SLURM_ARRAY_TASK_ID=${task} SLURM_ARRAY_TASK_MIN=10
                            SLURM_ARRAY_TASK_MAX=16 SLURM_ARRAY_TASK_STEP=2 SLURM_ARRAY_TASK_COUNT=4
                            bash ${CMAKE_CURRENT_LIST_DIR}/slurm.sh ${PROGRAM} data ${small} --output array
                    WORKING_DIRECTORY ${SCRATCH} OUTPUT_VARIABLE output COMMAND_ERROR_IS_FATAL ANY)
    expect("${output}" "by SLURM_ARRAY_TASK_ID" "to do +[78] of [78] scans; 0 there")
  endforeach()
  same_results(whole array)
  expect_once(array 30)
  # srun: two tasks in each of two tasks of an array.
  foreach(task 0 1)
    foreach(process 0 1)
      set(ENV{SLURM_ARRAY_TASK_ID} ${task})
      set(ENV{SLURM_ARRAY_TASK_COUNT} 2)
      set(ENV{SLURM_PROCID} ${process})
      set(ENV{SLURM_NTASKS} 2)
      run(0 data ${small} --output steps)
      expect("${output}" "shard +[0-3]/4, by SLURM_ARRAY_TASK_ID and SLURM_PROCID")
    endforeach()
  endforeach()
  same_results(whole steps)
  unset(ENV{SLURM_NTASKS})
  run(2 data ${small} --output steps)
  expect("${errors}" "SLURM_PROCID is set, but not SLURM_NTASKS")
  foreach(variable SLURM_ARRAY_TASK_ID SLURM_ARRAY_TASK_COUNT SLURM_PROCID)
    unset(ENV{${variable}})
  endforeach()
  # A task whose time ends finishes its scans in hand and is queued again.
  file(WRITE ${SCRATCH}/bin/scontrol "#!/bin/sh\necho \"$@\" >> queued\n")
  file(CHMOD ${SCRATCH}/bin/scontrol PERMISSIONS OWNER_READ OWNER_EXECUTE)
  string(CONCAT script "export PATH=$PWD/bin:$PATH SLURM_ARRAY_JOB_ID=7 SLURM_ARRAY_TASK_ID=0 SLURM_ARRAY_TASK_COUNT=1\n"
                       "bash \"$1\" \"$2\" data --device cpu --threads 1 --width 0.5 --voxel-size 0.1 --output late & task=$!\n"
                       "until [ -e late/sequences/00/predictions/000000.label ]; do sleep 0.02; done\n"
                       "kill -TERM $task; wait $task; echo \"ended with $?\"\n")
  file(WRITE ${SCRATCH}/late.sh "${script}")
  execute_process(COMMAND bash late.sh ${CMAKE_CURRENT_LIST_DIR}/slurm.sh ${PROGRAM} WORKING_DIRECTORY ${SCRATCH}
                  OUTPUT_VARIABLE output ERROR_VARIABLE errors COMMAND_ERROR_IS_FATAL ANY)
  message("${output}${errors}")
  expect("${output}" "ended with 143")
  file(READ ${SCRATCH}/queued queued)
  expect("${queued}" "^requeue 7_0\n$")
  # The task ends as its worker does, however soon after the signal, and is queued again for the signal alone.
  file(REMOVE ${SCRATCH}/queued)
  string(CONCAT worker "trap 'exit 5' TERM; touch ready; sleep 5 >/dev/null & wait $!\n")
  file(WRITE ${SCRATCH}/worker.sh "${worker}")
  string(CONCAT script "export PATH=$PWD/bin:$PATH SLURM_ARRAY_JOB_ID=7 SLURM_ARRAY_TASK_ID=0\n"
                       "for round in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do\n"
                       "  rm -f ready; bash \"$1\" bash worker.sh & task=$!\n"
                       "  until [ -e ready ]; do sleep 0.01; done\n"
                       "  kill -TERM $task; wait $task; echo \"ended with $?\"\n"
                       "done\n"
                       "for delay in 0.001 0.002 0.003 0.004 0.005 0.006 0.008 0.01; do\n"  # before it has a worker
                       "  bash \"$1\" sh -c 'sleep 1; echo left >>left' & task=$!\n"
                       "  sleep $delay; kill -TERM $task; wait $task\n"
                       "done; sleep 1.5\n")
  file(WRITE ${SCRATCH}/ends.sh "${script}")
  execute_process(COMMAND bash ends.sh ${CMAKE_CURRENT_LIST_DIR}/slurm.sh WORKING_DIRECTORY ${SCRATCH}
                  OUTPUT_VARIABLE output ERROR_QUIET)
  if(NOT output MATCHES "^(ended with 5\n)+$")
    message(FATAL_ERROR "a worker ends with 5, its task:\n${output}")
  endif()
  if(EXISTS ${SCRATCH}/left)
    message(FATAL_ERROR "a worker outlives its task")
  endif()

elseif(CASE STREQUAL "bad_files")
  simulate(6 8 64)
  set(folder ${SCRATCH}/data/sequences/00/velodyne)
  file(WRITE ${folder}/000100.bin "")
  execute_process(COMMAND head -c 1000 ${folder}/000000.bin OUTPUT_FILE ${folder}/000101.bin COMMAND_ERROR_IS_FATAL ANY)
  execute_process(COMMAND ${SIMULATE} large 1 64 256 WORKING_DIRECTORY ${SCRATCH} COMMAND_ERROR_IS_FATAL ANY)
  file(COPY_FILE ${SCRATCH}/large/sequences/00/velodyne/000000.bin ${folder}/000102.bin)
  file(MAKE_DIRECTORY ${folder}/000103.bin)
  file(CREATE_LINK nowhere ${folder}/000104.bin SYMBOLIC)
  # Points of 3.0; NaN for x, for all of x, y and z, for the intensity.
  string(ASCII 255 255 255 255 nan)
  string(REPEAT "@@@@" 4 point)
  file(WRITE ${folder}/000105.bin "${point}${nan}@@@@@@@@@@@@${point}")
  file(WRITE ${folder}/000106.bin "${nan}${nan}${nan}@@@@${nan}${nan}${nan}@@@@")
  file(WRITE ${folder}/000107.bin "${point}@@@@@@@@@@@@${nan}")
  file(WRITE ${folder}/000108.bin "~~~~@@@@@@@@@@@@")  # 8e37 m away
  # A pipe that nobody writes to.
  execute_process(COMMAND mkfifo ${folder}/000109.bin COMMAND_ERROR_IS_FATAL ANY)
  set(how data ${small} --max-points 5000 --output labels)
  run(1 ${how})
  expect("${output}" "\"done\": 7, \"failed\": 9,")
  expect_efficiency("${output}")
  expect("${errors}" "9 of 16 scans failed; labels/manifest/shard-0-of-1.jsonl says why")
  expect_results(labels 7 sequences/00/predictions/*.label)
  file(READ ${SCRATCH}/labels/manifest/shard-0-of-1.jsonl manifest)
  message("${manifest}")
  foreach(reason "000100\", \"status\": \"failed\", [^\n]*the scan has no points" "000101\", \"status\": \"failed\", [^\n]*whole number|000101[^\n]*bytes"
          "000102\", \"status\": \"failed\", [^\n]*[0-9]+ points are more than the 5000 of --max-points"
          "000103\", \"status\": \"failed\", [^\n]*is a directory" "000104\", \"status\": \"failed\", [^\n]*No such file"
          "000105\", \"status\": \"done\", [^\n]*\"points\": 3, \"not_finite\": 1,"
          "000106\", \"status\": \"failed\", [^\n]*no point has a position that is finite"
          "000107\", \"status\": \"failed\", [^\n]*1 point has a feature that is no finite number"
          "000108\", \"status\": \"failed\", [^\n]*beyond 2\\^30" "000109\", \"status\": \"failed\", [^\n]*is not a regular file")
    expect("${manifest}" "${reason}")
  endforeach()
  # A point without a place has no class.
  file(READ ${SCRATCH}/labels/sequences/00/predictions/000105.label labels HEX)
  if(NOT labels MATCHES "^..000000" OR NOT labels MATCHES "^........00000000" OR labels MATCHES "^00")
    message(FATAL_ERROR "labels ${labels}")
  endif()
  # Those that failed are tried again, or left out; either way the exit status says that they are missing.
  run(1 ${how} --skip-failed)
  expect("${output}" "to do +0 of 16 scans; 7 there, 9 failed before" "\"failed_before\": 9")
  file(REMOVE ${folder}/000104.bin)
  file(COPY_FILE ${folder}/000001.bin ${folder}/000104.bin)
  run(1 ${how})
  expect("${output}" "to do +9 of 16 scans; 7 there" "\"done\": 1, \"failed\": 8,")
  run(1 ${how} --skip-failed)
  expect("${output}" "to do +0 of 16 scans; 8 there, 8 failed before")
  # What a header tells is refused without reading the rest: sparse files of 64 GB, for which there is no memory.
  file(MAKE_DIRECTORY ${SCRATCH}/huge)
  file(WRITE ${SCRATCH}/huge/ply.ply "ply\nformat binary_little_endian 1.0\nelement vertex 4000000000\nproperty float x\n"
       "property float y\nproperty float z\nproperty float intensity\nend_header\n")
  file(WRITE ${SCRATCH}/huge/pcd.pcd "VERSION .7\nFIELDS x y z intensity\nSIZE 4 4 4 4\nTYPE F F F F\nCOUNT 1 1 1 1\n"
       "WIDTH 4000000000\nHEIGHT 1\nPOINTS 4000000000\nDATA binary\n")
  execute_process(COMMAND printf "\\223NUMPY\\001\\000\\166\\000%-117s\\n"
                          "{'descr': '<f4', 'fortran_order': False, 'shape': (4000000000, 4), }"
                  OUTPUT_FILE ${SCRATCH}/huge/npy.npy COMMAND_ERROR_IS_FATAL ANY)
  foreach(file ply.ply pcd.pcd npy.npy)
    execute_process(COMMAND truncate -s +64000000000 ${SCRATCH}/huge/${file} COMMAND_ERROR_IS_FATAL ANY)
  endforeach()
  run(1 huge ${small} --max-points 5000 --output refused)
  file(READ ${SCRATCH}/refused/manifest/shard-0-of-1.jsonl manifest)
  foreach(name ply pcd npy)
    expect("${manifest}" "\"${name}\", \"status\": \"failed\", [^\n]*has 4000000000 points, which are more than the 5000")
  endforeach()
  file(REMOVE_RECURSE ${SCRATCH}/huge)
  # A disk that is full is no fault of the scans.
  if(EXISTS /dev/full)
    file(MAKE_DIRECTORY ${SCRATCH}/full/sequences/00/predictions)
    foreach(writer 0 1)
      file(CREATE_LINK /dev/full ${SCRATCH}/full/sequences/00/predictions/shard-0-of-1.${writer}.tmp SYMBOLIC)
    endforeach()
    run(1 data ${small} --output full)
    expect("${errors}" "cannot be written: No space left on device")
  endif()

elseif(CASE STREQUAL "interruption")
  find_program(TIMEOUT_PROGRAM timeout)
  simulate(400 16 256)
  set(how data --device cpu --threads 1 --width 0.25 --voxel-size 0.1 --output labels)
  foreach(seconds 1 3 9 27 81)  # a busy machine, or a sanitizer, has done nothing after the first
    file(REMOVE_RECURSE ${SCRATCH}/labels)
    interrupt(${seconds} ${how})
    if(NOT result EQUAL 130 OR NOT errors MATCHES "(^|\n)label_scans: interrupted\n$")
      message(FATAL_ERROR "an interrupted run ends with ${result}")
    endif()
    if(output MATCHES "\"done\": ([1-9][0-9]*), \"failed\": 0")
      break()
    endif()
  endforeach()
  if(NOT output MATCHES "\"done\": ([0-9]+), \"failed\": 0")
    message(FATAL_ERROR "no summary")
  endif()
  set(done ${CMAKE_MATCH_1})
  if(done EQUAL 0 OR done GREATER 399)
    message(FATAL_ERROR "${done} scans in ${seconds} s")
  endif()
  expect_results(labels ${done} sequences/00/predictions/*.label)
  expect_once(labels ${done})

elseif(CASE STREQUAL "worker")
  simulate(5 8 64)
  run(0 data ${small} --output whole)
  file(WRITE ${SCRATCH}/requests "data/sequences/00/velodyne/000000.bin\tsequences/00/predictions/000000\n"
                                 "data/sequences/00/velodyne/000001.bin\tsequences/00/predictions/000001\n"
                                 "missing.bin\n" "missing.bin\t../name\n" "\n"
                                 "data/sequences/00/velodyne/000002.bin\n")
  execute_process(COMMAND ${PROGRAM} --worker ${small} --format kitti --output worked INPUT_FILE requests
                  WORKING_DIRECTORY ${SCRATCH} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE errors)
  message("${output}${errors}")
  if(NOT result EQUAL 0 OR errors)
    message(FATAL_ERROR "a worker ends with ${result}")
  endif()
  string(REGEX MATCHALL "\n" lines "${output}")
  list(LENGTH lines lines)
  if(NOT lines EQUAL 6)
    message(FATAL_ERROR "${lines} lines, not one when it is ready and one for each request")
  endif()
  expect("${output}" "^{\"status\": \"ready\", [^\n]*\"extension\": \".label\"}\n"
         "{\"name\": \"sequences/00/predictions/000001\", \"status\": \"done\", \"scan\": \"data/sequences/00/velodyne/000001.bin\", \"result\": \"worked/sequences/00/predictions/000001.label\""
         "{\"name\": \"missing\", \"status\": \"failed\", [^\n]*No such file" "no name below the output folder"
         "\"name\": \"data/sequences/00/velodyne/000002\", \"status\": \"done\"")
  same_files(whole/sequences/00/predictions/000001.label worked/sequences/00/predictions/000001.label 1)
  execute_process(COMMAND ${PROGRAM} --worker ${small} --format kitti --output worked INPUT_FILE requests
                  WORKING_DIRECTORY ${SCRATCH} OUTPUT_VARIABLE output COMMAND_ERROR_IS_FATAL ANY)
  expect("${output}" "\"result\": \"worked/sequences/00/predictions/000001.label\", \"found\": true}")
  # Workers of two containers have one process number, and write to one folder all the same.
  execute_process(COMMAND unshare -rfp true RESULT_VARIABLE alone OUTPUT_QUIET ERROR_QUIET)
  if(alone EQUAL 0)
    simulate(60 8 64)
    string(CONCAT script "for worker in 0 1; do\n"
                         "  for scan in data/sequences/00/velodyne/*.bin; do name=\${scan##*/}; printf '%s\\t%s\\n' $scan s/$worker-\${name%.bin}; done |\n"
                         "    unshare -rfp \"$@\" --output contained >&2 & workers+=($!)\n"
                         "done\n"
                         "for worker in \${workers[@]}; do wait $worker || exit 1; done\n"
                         "for scan in data/sequences/00/velodyne/*.bin; do name=\${scan##*/}\n"
                         "  cmp contained/s/0-\${name%.bin}.label contained/s/1-\${name%.bin}.label || exit 1\n"
                         "done\n")
    execute_process(COMMAND bash -c "${script}" all ${PROGRAM} --worker ${small} --format kitti WORKING_DIRECTORY ${SCRATCH}
                    COMMAND_ERROR_IS_FATAL ANY)
    expect_results(contained 120 s/*.label)
  endif()
  run(2 data --worker --output worked)
  run(2 --worker --shard 0/2 --output worked)

elseif(CASE STREQUAL "on_device")
  expect_gpu(--output labels)
  # Large and small scans by turns outgrow plans. One process for each scan does it without a plan.
  simulate(4 16 256)
  execute_process(COMMAND ${SIMULATE} large 2 64 1024 WORKING_DIRECTORY ${SCRATCH} COMMAND_ERROR_IS_FATAL ANY)
  file(COPY_FILE ${SCRATCH}/large/sequences/00/velodyne/000000.bin ${SCRATCH}/data/sequences/00/velodyne/000010.bin)
  file(COPY_FILE ${SCRATCH}/large/sequences/00/velodyne/000001.bin ${SCRATCH}/data/sequences/00/velodyne/000011.bin)
  foreach(network "minkunet;--width;0.25;--precision;fp16" "minkunet;--width;0.25;--precision;bf16" "minkunet;--width;0.25;--precision;fp32"
          "centerpoint_0_1;--width;0.25;--precision;fp16" "second_kitti;--width;0.25;--precision;fp32")
    string(REPLACE ";" "_" name "${network}")
    set(how data --device cuda --network ${network} --readers 1)
    run(0 ${how} --output planned_${name})
    expect("${output}" "plan +one CUDA graph for [0-9]+ scans?, [0-9.]+ MB, made [0-9]+ times?" "\"planned\": [1-5],")
    foreach(scan RANGE 5)
      run(0 ${how} --output alone_${name} --shard ${scan}/6)
      expect("${output}" "\"planned\": 0,")
    endforeach()
    same_results(planned_${name} alone_${name})
  endforeach()

elseif(CASE STREQUAL "help")
  run(0 --help)
  expect("${output}" "usage: label_scans" --layout --sweeps --format --origin --intensity-scale --max-points --shard --skip-failed --mixed
         --network --checkpoint --prefix --width --classes --voxel-size --rounding --max-voxels --device --precision --threads --gpu
         --readers --writers --no-sync --output --write --label-ids --worker SLURM_ARRAY_TASK_ID Examples "Exit status" "130")

elseif(CASE STREQUAL "wrong_options")
  file(MAKE_DIRECTORY ${SCRATCH}/data)
  foreach(wrong "data" "--output;o" "data;more;--output;o" "data;--output;o;--colour" "data;--output;o;--shard;4/4" "data;--output;o;--shard;1"
          "data;--output;o;--network;yolo" "data;--output;o;--prefix;model." "data;--output;o;--readers;0" "data;--output;o;--max-points;0"
          "data;--output;o;--checkpoint;a.pth;--width;0.5" "data;--output;o;--layout;waymo" "data;--output;o;--write;png")
    run(2 ${wrong})
  endforeach()
  run(1 missing --output o)
  expect("${errors}" "missing: there is no such file or folder")
  run(1 data --output o --layout semantickitti)
  expect("${errors}" "sequences: cannot be listed")
  run(1 data --output o --device cpu --network second_kitti --precision bf16)
  run(1 data --output o --device cpu --checkpoint missing.pth)
  run(0 data ${small} --output o)
  expect("${output}" "^scans +0 in data \\(folder\\)\n" "\"scans\": 0,")
  expect_failure_on_full_disk()

elseif(CASE STREQUAL "no_gpu")
  simulate(1 8 64)
  expect_cpu_without_gpu(data --width 0.04 --voxel-size 0.8 --output labels)

else()
  message(FATAL_ERROR "there is no case ${CASE}")
endif()
