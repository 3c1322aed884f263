# Hides GPUs from the programs that a test runs. (An empty value would remove the variable instead.)
function(hide_gpus)
  set(ENV{CUDA_VISIBLE_DEVICES} -1)
endfunction()
