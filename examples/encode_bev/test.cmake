# cmake -DPROGRAM=<encode_bev> -DCASE=<case> -DSCRATCH=<folder> -DDATA=<recorded data> -P test.cmake
#
# One case of what the program must do.

cmake_minimum_required(VERSION 3.22)
include(${CMAKE_CURRENT_LIST_DIR}/../support/program.cmake)

function(expect_results prefix)
  file(READ ${SCRATCH}/${prefix}.npy start LIMIT 6 HEX)
  if(NOT start STREQUAL "934e554d5059")
    message(FATAL_ERROR "${prefix}.npy is no numpy file")
  endif()
  expect_picture(${prefix} 640)  # cells of 4 pixels or more
endfunction()

set(small --device cpu --width 0.25 --max-voxels 4000)

if(CASE STREQUAL "scene")
  run(0 ${small} --output results/)
  expect("${output}" "built-in scene 1, frame 0" "centerpoint_0_075, 5 channels in, 32 out" "the map means nothing"
         "voxels    4,000 of 0.075" "output    [0-9,]+ sites, the voxels that have features after the last layer" "map       1 x 64 x 180 x 180" "rows along y" "  read " "  upload " "  voxelize "
         "  encode " "  bev " "  write ")
  expect_results(results/bev)
  # The same seed gives the same bits, whatever the threads; another one does not.
  run(0 ${small} --threads 1 --output again)
  run(0 ${small} --seed 2 --output other)
  same_files(results/bev.npy again.npy 1)
  same_files(results/bev.npy other.npy 0)
  run(0 ${small} --layout nhwc --output last --repeat 2)
  expect("${output}" "map       1 x 180 x 180 x 64 \\(batch, row, column, channel" "median of 2 runs")
  same_files(results/bev.png last.png 1)

elseif(CASE STREQUAL "sweeps")
  run(0 ${small} --network bevfusion --sweeps 3 --output three)
  expect("${output}" "frame 0 and 2 more" "map       1 x 64 x 180 x 180" "rows along x")
  expect_results(three)
  run(0 ${small} --network bevfusion --sweeps 3 --sweep-interval 0.1 --output slow)
  same_files(three.npy slow.npy 0)

elseif(CASE STREQUAL "scan_file")
  set(scan ${DATA}/data/semkitti_000000.bin)
  need(data/semkitti_000000.bin)
  foreach(network second_kitti second_waymo centerpoint_0_1 det3d_centerpoint)
    run(0 ${small} ${scan} --network ${network} --output ${network})
    expect("${output}" "123,389" "network   ${network}" "voxels    4,000")
    expect_results(${network})
  endforeach()
  run(0 ${small} ${scan} ${scan} --output twice)
  expect("${output}" "and 1 more: 246,778")

elseif(CASE STREQUAL "checkpoints")
  set(golden ${DATA}/golden/spconv)
  need(golden/spconv/second_kitti.pth golden/spconv/centerpoint_nuscenes.pth golden/spconv/bevfusion_nuscenes.pth
       data/semkitti_000000.bin data/nuscenes_lidar_top.bin)
  set(kitti ${DATA}/data/semkitti_000000.bin)
  set(nuscenes ${DATA}/data/nuscenes_lidar_top.bin)
  run(0 --device cpu ${kitti} --checkpoint ${golden}/second_kitti.pth --output second)
  expect("${output}" "names behind 'middle_encoder.'" "network   second_kitti, [0-9]+ channels in, [0-9]+ out" "voxels    40,000"
         "note      there may be 40,000 voxels: [0-9,]+ more are left out" "[0-9,]+ sites")
  expect_results(second)
  execute_process(COMMAND ${CONVERT} ${golden}/second_kitti.pth converted.safetensors WORKING_DIRECTORY ${SCRATCH}
                  OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
  run(0 --device cpu ${kitti} --network second_kitti --checkpoint converted.safetensors --output converted)
  same_files(second.npy converted.npy 1)
  run(0 --device cpu ${nuscenes} --checkpoint ${golden}/centerpoint_nuscenes.pth)
  expect("${output}" "[0-9]+ channels in, [0-9]+ out" "network   centerpoint_0_075"
         "note      the checkpoint fits centerpoint_0_1 and centerpoint_0_075, which differ in voxels and grid")
  run(0 --device cpu ${nuscenes} --checkpoint ${golden}/bevfusion_nuscenes.pth)
  expect("${output}" "names behind 'encoders.lidar.backbone.'" "network   bevfusion" "[0-9,]+ sites")
  if(output MATCHES "note +the checkpoint fits")
    message(FATAL_ERROR "a checkpoint that fits one network is called ambiguous")
  endif()
  # Part-A2: the encoder's map, and the decoder's features of all voxels.
  run(0 --device cpu ${kitti} --checkpoint ${golden}/parta2_kitti.pth --voxel-features voxels.safetensors)
  expect("${output}" "network   parta2_kitti, [0-9]+ channels in, [0-9]+ out" "[0-9,]+ sites" "voxels.safetensors\n")
  file(SIZE ${SCRATCH}/voxels.safetensors size)
  if(size LESS 640000)  # 40,000 rows of 4 integers, and floats
    message(FATAL_ERROR "voxels.safetensors has ${size} bytes")
  endif()
  run(1 --device cpu ${kitti} --checkpoint ${golden}/second_kitti.pth --voxel-features voxels.safetensors)
  expect("${errors}" "only parta2_kitti makes features of voxels, not second_kitti")

elseif(CASE STREQUAL "wrong_checkpoints")
  file(WRITE ${SCRATCH}/text.pth "no checkpoint")
  run(1 --device cpu --checkpoint text.pth)
  expect("${errors}" "text.pth")
  run(1 --device cpu --checkpoint missing.pth)
  expect("${errors}" "missing.pth.*No such file")
  file(WRITE ${SCRATCH}/cut.safetensors "abc")
  run(1 --device cpu --checkpoint cut.safetensors)
  expect("${errors}" "cut.safetensors")
  set(golden ${DATA}/golden/spconv)
  if(EXISTS ${golden}/second_kitti.pth AND EXISTS ${golden}/centerpoint_nuscenes.pth)
    run(1 --device cpu --network second_kitti --checkpoint ${golden}/centerpoint_nuscenes.pth)
    expect("${errors}" "does not fit --network second_kitti; it fits centerpoint_0_1 or centerpoint_0_075")
    run(1 --device cpu --network centerpoint_0_1 --checkpoint ${golden}/bevfusion_nuscenes.pth)
    expect("${errors}" "does not fit --network centerpoint_0_1; it fits bevfusion")
    run(1 --device cpu --network det3d_centerpoint --checkpoint ${golden}/second_kitti.pth)
    expect("${errors}" "it fits second_kitti")
    run(1 --device cpu --checkpoint ${golden}/minkunet_mmdet3d.pth)
    expect("${errors}" "which makes no bird's-eye view; segment_scan runs it")
    run(1 --device cpu --network second_kitti --checkpoint ${golden}/second_kitti.pth --prefix backbone.)
    execute_process(COMMAND head -c 100000 ${golden}/second_kitti.pth OUTPUT_FILE ${SCRATCH}/cut.pth
                    COMMAND_ERROR_IS_FATAL ANY)
    run(1 --device cpu --network second_kitti --checkpoint cut.pth)
    expect("${errors}" "cut.pth")
  endif()

elseif(CASE STREQUAL "left_out")
  # 12 points in one voxel, 1 in each of two others, 2 outside of the grid, 1 that is nowhere.
  set(points "")
  foreach(i RANGE 1 12)
    string(APPEND points "10.01 10.0${i} 0.01 5\n")
  endforeach()
  string(APPEND points "20 20 1 0\n-20 20 1 0\n70 0 0 0\n0 0 30 0\nnan 0 0 0\n")
  file(WRITE ${SCRATCH}/points.ply "ply\nformat ascii 1.0\nelement vertex 17\nproperty float x\nproperty float y\n"
                                   "property float z\nproperty float intensity\nend_header\n${points}")
  string(REPLACE "--max-voxels;4000" "" free "${small}")
  run(0 ${free} points.ply)
  expect("${output}" "voxels    4 of" "3 points are outside of the grid, -54 to 54, -54 to 54, -5 to 3 m")
  if(output MATCHES "there may be|left out")
    message(FATAL_ERROR "caps are told that do not bind")
  endif()
  run(0 ${free} points.ply --network second_kitti)
  expect("${output}" "4 points are outside of the grid, 0 to 70.4, -40 to 40, -3 to 1 m")
  run(0 ${free} points.ply --max-voxels 3)
  expect("${output}" "voxels    3 of" "note      there may be 3 voxels: 1 more is left out, with 1 point; --max-voxels")

elseif(CASE STREQUAL "notes")
  string(CONCAT header "ply\nformat ascii 1.0\nelement vertex 2\nproperty float x\nproperty float y\n"
                       "property float z\nproperty float intensity\nend_header\n")
  file(WRITE ${SCRATCH}/bytes.ply "${header}1 2 0 0\n2 3 0 255\n")
  file(WRITE ${SCRATCH}/fractions.ply "${header}1 2 0 0\n2 3 0 0.99\n")
  run(0 ${small} bytes.ply --network second_kitti)
  expect("${output}" "note      intensities are 0 to 255, but this network takes 0 to 1; --intensity-scale 0.00392")
  run(0 ${small} fractions.ply --network bevfusion)
  expect("${output}" "note      intensities are 0 to 0.99, but this network takes 0 to 255; --intensity-scale 255")
  run(0 ${small} bytes.ply --network second_waymo)
  expect("${output}" "note      the points have no channel 'elongation'")
  foreach(right "bytes.ply;--network;bevfusion" "fractions.ply;--network;second_kitti"
          "fractions.ply;--network;centerpoint_0_1;--intensity-scale;255")
    run(0 ${small} ${right})
    if(output MATCHES "note")
      message(FATAL_ERROR "intensities within the range are told")
    endif()
  endforeach()

elseif(CASE STREQUAL "interruption")
  expect_interruption(--device cpu --threads 1)

elseif(CASE STREQUAL "few_points")
  file(WRITE ${SCRATCH}/none.bin "")
  run(0 ${small} none.bin)
  expect("${output}" "none.bin: 0" "voxels    0 of" "0.0 % of the map.s cells")
  expect_results(bev)
  string(CONCAT header "ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float y\n"
                       "property float z\nend_header\n")
  file(WRITE ${SCRATCH}/one.ply "${header}1 2 0\n")
  run(0 ${small} one.ply)
  expect("${output}" "voxels    1 of")
  file(WRITE ${SCRATCH}/lost.ply "${header}nan 2 3\n")
  run(0 ${small} lost.ply)
  expect("${output}" "voxels    0 of")

elseif(CASE STREQUAL "help")
  run(0 --help)
  expect("${output}" "usage: encode_bev" --scene --frame --sweeps --sweep-interval --format --origin --network --checkpoint
         --prefix --spconv-major --width --seed --max-voxels --device --precision --threads --repeat --stages --intensity-scale --voxel-features --layout --output
         second_kitti bevfusion parta2_kitti Examples "Exit status")
  run(0 -h)

elseif(CASE STREQUAL "wrong_options")
  foreach(wrong "--colour" "--device;tpu" "--precision=bf16" "--network;yolo" "--width;0" "--width;nan" "--sweeps;0"
          "--max-voxels;0" "--repeat;0" "--threads;1.5" "--scene;-1" "--scene" "--output;" "--help=yes" "a.bin;--scene;2"
          "a.bin;--sweeps;2" "--prefix;model." "--spconv-major;2" "--checkpoint;a.pth;--width;0.5" "-x" "--layout;chw"
          "--voxel-features;" "--intensity-scale;0" "--repeat;99999999999999999999")
    run(2 ${wrong})
  endforeach()
  run(2 --network yolo)
  expect("${errors}" "--network: 'yolo' is none of second_kitti, ")

elseif(CASE STREQUAL "unreadable_files")
  run(1 --device cpu missing.bin)
  expect("${errors}" "missing.bin.*No such file")
  run(1 --device cpu .)
  expect("${errors}" "is a directory")
  file(WRITE ${SCRATCH}/cut.bin "12345678901234567")
  run(1 --device cpu cut.bin)
  expect("${errors}" "cut.bin.*neither KITTI")
  run(1 ${small} --output no/such/prefix)
  expect("${errors}" "there is no folder no/such")
  expect_failure_on_full_disk()
  expect_no_files(bev.*)

elseif(CASE STREQUAL "no_gpu")
  expect_cpu_without_gpu(--width 0.25 --max-voxels 1000)

else()
  message(FATAL_ERROR "there is no case ${CASE}")
endif()
