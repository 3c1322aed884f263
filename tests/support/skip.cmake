# skip(<reason>): ends a script that run_script.sh runs; the test counts as skipped. Not inside a function.
macro(skip reason)
  message("skipped: ${reason}")
  file(WRITE "${SKIP_MARK}" "${reason}\n")
  return()
endmacro()

# need(<file>...): skips where a file of the recorded data, DATA, is absent. Not inside a function.
macro(need)
  foreach(file ${ARGN})
    if(NOT EXISTS ${DATA}/${file})
      skip("${file} is not in ${DATA}")
    endif()
  endforeach()
endmacro()
