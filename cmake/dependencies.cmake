# Every outside library as an imported target that names its archive, so that kiln can be a static program. Debian's own
# CMake targets for gRPC and protobuf name shared objects and are not used.
# Targets: kiln::{grpc protobuf sqlite archive zstd isal curl crypto ssl seccomp cap yaml z re2 threads}, and the header-only
# kiln::{fmt spdlog json toml cli11 expected}.
set(KILN_DEPS_DIR "" CACHE PATH "folder with include/ and lib/ of packaging/build-deps; empty: run it")
set(kiln_deps_dir ${KILN_DEPS_DIR})
if(NOT kiln_deps_dir)
  execute_process(COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/packaging/build-deps
    OUTPUT_VARIABLE kiln_deps_dir OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
endif()

find_package(Threads REQUIRED)
add_library(kiln::threads ALIAS Threads::Threads)

set(kiln_archive_dirs /usr/lib/${CMAKE_CXX_LIBRARY_ARCHITECTURE} /usr/lib)

# kiln_find_archive(VARIABLE NAME [DIR…]): the path of libNAME.a.
function(kiln_find_archive variable name)
  find_file(found lib${name}.a PATHS ${ARGN} ${kiln_archive_dirs} NO_DEFAULT_PATH NO_CACHE)
  if(NOT found)
    message(FATAL_ERROR "lib${name}.a is missing: run packaging/install-deps build")
  endif()
  set(${variable} ${found} PARENT_SCOPE)
endfunction()

# kiln_archive(NAME ARCHIVE [DIRS dir…] [INCLUDE dir] [NEEDS target…]): kiln::NAME is libARCHIVE.a.
function(kiln_archive name archive)
  cmake_parse_arguments(arg "" "" "DIRS;INCLUDE;NEEDS" ${ARGN})
  kiln_find_archive(file ${archive} ${arg_DIRS})
  add_library(kiln::${name} STATIC IMPORTED GLOBAL)
  set_target_properties(kiln::${name} PROPERTIES IMPORTED_LOCATION ${file})
  target_link_libraries(kiln::${name} INTERFACE ${arg_NEEDS})
  if(arg_INCLUDE)
    target_include_directories(kiln::${name} SYSTEM INTERFACE ${arg_INCLUDE})
  endif()
endfunction()

kiln_archive(z z)
kiln_archive(crypto crypto NEEDS Threads::Threads ${CMAKE_DL_LIBS})
kiln_archive(ssl ssl NEEDS kiln::crypto)
kiln_archive(re2 re2 NEEDS Threads::Threads)
kiln_archive(zstd zstd)
kiln_archive(sqlite sqlite3 NEEDS Threads::Threads ${CMAKE_DL_LIBS} m)
kiln_archive(seccomp seccomp)
kiln_archive(cap cap)
kiln_archive(yaml yaml)
kiln_archive(protobuf protobuf NEEDS kiln::z Threads::Threads)
kiln_archive(isal isal DIRS ${kiln_deps_dir}/lib INCLUDE ${kiln_deps_dir}/include)
kiln_archive(curl curl DIRS ${kiln_deps_dir}/lib INCLUDE ${kiln_deps_dir}/include
  NEEDS kiln::ssl kiln::z Threads::Threads)
target_compile_definitions(kiln::curl INTERFACE CURL_STATICLIB)

# What Debian's libarchive.a was configured with. Only nettle's and libxml2's parts that tar needs get linked.
foreach(part IN ITEMS nettle acl attr lzma lz4 bz2 xml2 icuuc icudata)
  kiln_archive(${part} ${part})
endforeach()
target_link_libraries(kiln::icuuc INTERFACE kiln::icudata ${CMAKE_DL_LIBS})
target_link_libraries(kiln::xml2 INTERFACE kiln::icuuc kiln::lzma kiln::z m)
target_link_libraries(kiln::acl INTERFACE kiln::attr)
kiln_archive(archive archive
  NEEDS kiln::nettle kiln::acl kiln::lzma kiln::lz4 kiln::bz2 kiln::xml2 kiln::zstd kiln::z kiln::crypto)

if(KILN_WITH_GRPC)
  kiln_archive(cares cares NEEDS Threads::Threads)
  # gRPC and Abseil refer to each other's parts in many directions: one group, searched until nothing is missing. The
  # group's members are targets, so that CMake puts what they need behind them.
  set(group)
  foreach(part IN ITEMS grpc++ grpc gpr address_sorting upb)
    kiln_archive(grpc_group_${part} ${part} NEEDS kiln::cares kiln::re2 kiln::protobuf kiln::ssl kiln::z)
    list(APPEND group kiln::grpc_group_${part})
  endforeach()
  file(GLOB absl_archives /usr/lib/${CMAKE_CXX_LIBRARY_ARCHITECTURE}/libabsl_*.a)
  list(JOIN group "," group)
  list(JOIN absl_archives "," absl_archives)
  add_library(kiln_grpc INTERFACE)
  target_link_libraries(kiln_grpc INTERFACE "$<LINK_GROUP:RESCAN,${group},${absl_archives}>")
  add_library(kiln::grpc ALIAS kiln_grpc)
endif()

# Header-only.
foreach(name IN ITEMS fmt spdlog json toml cli11 expected)
  add_library(kiln_${name}_headers INTERFACE)
  add_library(kiln::${name} ALIAS kiln_${name}_headers)
endforeach()
target_compile_definitions(kiln_spdlog_headers INTERFACE SPDLOG_FMT_EXTERNAL=1)
target_link_libraries(kiln_spdlog_headers INTERFACE kiln::fmt Threads::Threads)
# toml++ would throw; its parse_result then carries the error.
target_compile_definitions(kiln_toml_headers INTERFACE TOML_EXCEPTIONS=0)

# Tests, benchmarks and generators are optional: `make run` installs none of their packages.
find_package(GTest CONFIG QUIET)
find_package(benchmark CONFIG QUIET)
find_library(KILN_RAPIDCHECK NAMES librapidcheck.a)
if(KILN_RAPIDCHECK)
  add_library(kiln::rapidcheck STATIC IMPORTED GLOBAL)
  set_target_properties(kiln::rapidcheck PROPERTIES IMPORTED_LOCATION ${KILN_RAPIDCHECK})
endif()
