# ccache where there is one. A launcher that the environment names (CMAKE_CXX_COMPILER_LAUNCHER) comes first: CMake
# reads that variable itself.
foreach(language C CXX)
  if(NOT DEFINED CMAKE_${language}_COMPILER_LAUNCHER AND NOT DEFINED ENV{CMAKE_${language}_COMPILER_LAUNCHER})
    find_program(KILN_CCACHE ccache)
    if(KILN_CCACHE)
      set(CMAKE_${language}_COMPILER_LAUNCHER ${KILN_CCACHE})
    endif()
  endif()
endforeach()
