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
  file(READ ${SCRATCH}/${prefix}.png start LIMIT 8 HEX)
  if(NOT start STREQUAL "89504e470d0a1a0a")
    message(FATAL_ERROR "${prefix}.png is no PNG file")
  endif()
endfunction()

function(expect_same first second same)  # whether two files hold the same
  file(SHA256 ${SCRATCH}/${first} one)
  file(SHA256 ${SCRATCH}/${second} two)
  if((one STREQUAL two AND NOT same) OR (same AND NOT one STREQUAL two))
    message(FATAL_ERROR "${first} and ${second} are the same, or are not, against what was expected")
  endif()
endfunction()

set(small --device cpu --width 0.25 --max-voxels 4000)

if(CASE STREQUAL "scene")
  run(0 ${small} --output results/)
  expect("${output}" "built-in scene 1, frame 0" "centerpoint_0_075, 5 channels in, 32 out" "the map means nothing"
         "voxels    4,000 of 0.075" "map       1 x 64 x 180 x 180" "rows along y" "  read " "  upload " "  voxelize "
         "  encode " "  bev " "  write ")
  expect_results(results/bev)
  # The same seed gives the same bits, whatever the threads; another one does not.
  run(0 ${small} --threads 1 --output again)
  run(0 ${small} --seed 2 --output other)
  expect_same(results/bev.npy again.npy 1)
  expect_same(results/bev.npy other.npy 0)
  run(0 ${small} --layout nhwc --output last --repeat 2)
  expect("${output}" "map       1 x 180 x 180 x 64 \\(batch, row, column, channel" "median of 2 runs")
  expect_same(results/bev.png last.png 1)

elseif(CASE STREQUAL "sweeps")
  run(0 ${small} --network bevfusion --sweeps 3 --output three)
  expect("${output}" "frame 0 and 2 more" "map       1 x 64 x 180 x 180" "rows along x")
  expect_results(three)
  run(0 ${small} --network bevfusion --sweeps 3 --sweep-interval 0.1 --output slow)
  expect_same(three.npy slow.npy 0)

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
  run(0 --device cpu ${kitti} --network second_kitti --checkpoint ${golden}/second_kitti.pth --output second)
  expect("${output}" "names behind 'middle_encoder.'" "4 channels in, 64 out" "voxels    40,000" "15,611 encoded")
  expect_results(second)
  run(0 --device cpu ${nuscenes} --network centerpoint_0_075 --checkpoint ${golden}/centerpoint_nuscenes.pth)
  expect("${output}" "5 channels in, 64 out")
  run(0 --device cpu ${nuscenes} --network bevfusion --checkpoint ${golden}/bevfusion_nuscenes.pth)
  expect("${output}" "names behind 'encoders.lidar.backbone.'" "voxels    17,509" "9,204 encoded")

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
    expect("${errors}" "lacks")
    run(1 --device cpu --network det3d_centerpoint --checkpoint ${golden}/second_kitti.pth)
    run(1 --device cpu --network second_kitti --checkpoint ${golden}/second_kitti.pth --prefix backbone.)
    execute_process(COMMAND head -c 100000 ${golden}/second_kitti.pth OUTPUT_FILE ${SCRATCH}/cut.pth
                    COMMAND_ERROR_IS_FATAL ANY)
    run(1 --device cpu --network second_kitti --checkpoint cut.pth)
    expect("${errors}" "cut.pth")
  endif()

elseif(CASE STREQUAL "few_points")
  file(WRITE ${SCRATCH}/none.bin "")
  run(0 ${small} none.bin)
  expect("${output}" "none.bin: 0" "voxels    0 of" "0.0 % of the cells")
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
  expect("${output}" "usage: encode_bev" --scene --frame --sweeps --sweep-interval --format --network --checkpoint
         --prefix --spconv-major --width --seed --max-voxels --device --precision --threads --repeat --layout --output
         second_kitti bevfusion Examples "Exit status")
  run(0 -h)

elseif(CASE STREQUAL "wrong_options")
  foreach(wrong "--colour" "--device;tpu" "--precision=bf16" "--network;yolo" "--width;0" "--width;nan" "--sweeps;0"
          "--max-voxels;0" "--repeat;0" "--threads;1.5" "--scene;-1" "--scene" "--output;" "--help=yes" "a.bin;--scene;2"
          "a.bin;--sweeps;2" "--prefix;model." "--spconv-major;2" "--checkpoint;a.pth;--width;0.5" "-x" "--layout;chw"
          "--repeat;99999999999999999999")
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
  expect("${errors}" "cut.bin.*17 bytes")
  run(1 ${small} --output no/such/prefix)
  expect("${errors}" "there is no folder no/such")
  expect_failure_on_full_disk()
  expect_no_files(bev.*)

elseif(CASE STREQUAL "no_gpu")
  expect_cpu_without_gpu(--width 0.25 --max-voxels 1000)

else()
  message(FATAL_ERROR "there is no case ${CASE}")
endif()
