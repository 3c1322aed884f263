# Test sources several to a translation unit: what nvcc reads before it comes to a test, the library and its layers, costs
# more than most tests do, and is read once for all of a unit.

# tessera_group_sources(<variable> <name> <size> <sources>...): puts the sources that stand for these into <variable>: for
# each <size> of them one that includes these in turn, and by itself what cannot be among others. So that a source needs
# to know nothing of its neighbours, each is included in a namespace of its own, after the headers of all; they are found
# there as in the global namespace, and their guards make a second inclusion nothing.
function(tessera_group_sources variable name size)
  set(results "")
  set(group "")
  foreach(source IN LISTS ARGN)
    get_filename_component(path ${source} ABSOLUTE)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${path})  # which may include other things later
    file(READ ${path} text)
    # A macro would reach the next source, a namespace with a name would not be what headers mean by it, and a definition
    # of the source alone (a property) would reach all. SKIP_UNITY_BUILD_INCLUSION says the same of CMake's own groups.
    get_source_file_property(definitions ${source} COMPILE_DEFINITIONS)
    get_source_file_property(alone ${source} SKIP_UNITY_BUILD_INCLUSION)
    if(alone OR text MATCHES "\n *#(define|error)|\n *#[^\n]*\\\\\n|\nnamespace [a-z_:]+\n? *{|\n(struct|class) tessera::"
       OR (definitions AND NOT definitions STREQUAL "TESSERA_COMPILED"))
      list(APPEND results ${source})
    else()
      list(APPEND group ${path})
    endif()
  endforeach()

  list(LENGTH group left)
  if(left EQUAL 1)
    list(APPEND results ${group})
    set(left 0)
  endif()
  set(first 0)
  while(left GREATER 0)
    # even sizes: five sources in units of four are three and two
    math(EXPR units "(${left} + ${size} - 1) / ${size}")
    math(EXPR count "(${left} + ${units} - 1) / ${units}")
    list(SUBLIST group ${first} ${count} members)
    set(headers "")
    set(bodies "")
    foreach(path IN LISTS members)
      get_filename_component(folder ${path} DIRECTORY)
      get_filename_component(stem ${path} NAME_WE)
      file(STRINGS ${path} lines REGEX "^ *#(include|if|ifdef|ifndef|elif|else|endif)")
      foreach(line IN LISTS lines)
        string(REGEX REPLACE "#include \"([^\"]+)\"" "#include \"${folder}/\\1\"" line "${line}")
        string(APPEND headers "${line}\n")
      endforeach()
      string(APPEND bodies "namespace of_${stem} {\n#include \"${path}\"\n}\n")
    endforeach()
    list(GET members 0 path)
    get_filename_component(stem ${path} NAME_WE)
    file(CONFIGURE OUTPUT groups/${name}/${stem}_and_more.cpp CONTENT "${headers}\n${bodies}" @ONLY)
    list(APPEND results ${CMAKE_CURRENT_BINARY_DIR}/groups/${name}/${stem}_and_more.cpp)
    math(EXPR first "${first} + ${count}")
    math(EXPR left "${left} - ${count}")
  endwhile()
  set(${variable} ${results} PARENT_SCOPE)
endfunction()

# tessera_join_sources(<variable> <name> <sources>...): one source that includes these, which know of each other, into
# <variable>. A definition of a source alone would reach all: such are given to the target.
function(tessera_join_sources variable name)
  set(${variable} ${ARGN} PARENT_SCOPE)
  list(LENGTH ARGN count)
  if(count GREATER 1)
    set(includes "")
    foreach(source IN LISTS ARGN)
      get_filename_component(path ${source} ABSOLUTE)
      string(APPEND includes "#include \"${path}\"\n")
    endforeach()
    file(CONFIGURE OUTPUT groups/${name}.cu CONTENT "${includes}" @ONLY)
    set(${variable} ${CMAKE_CURRENT_BINARY_DIR}/groups/${name}.cu PARENT_SCOPE)
  endif()
endfunction()
