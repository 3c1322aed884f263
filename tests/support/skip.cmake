# skip(<reason>): ends a script that run_script.sh runs; the test counts as skipped. Not inside a function.
macro(skip reason)
  message("skipped: ${reason}")
  file(WRITE "${SKIP_MARK}" "${reason}\n")
  return()
endmacro()
