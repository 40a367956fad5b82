# Compiler and linker flags of every target. Optimisation and debug information are the preset's.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_CXX_SCAN_FOR_MODULES OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)

# __FILE__ says src/…, in every checkout: logs stay short and ccache serves all work trees.
add_compile_options(-ffile-prefix-map=${CMAKE_SOURCE_DIR}/=)

# kiln_warnings: for our own code, not for what protoc generates.
add_library(kiln_warnings INTERFACE)
target_compile_options(kiln_warnings INTERFACE
  -Wall -Wextra -Werror -Wnon-virtual-dtor -Wvla -Wcast-qual -Wextra-semi -Wundef -Woverloaded-virtual
  # Designated initialisers leave members out on purpose.
  -Wno-missing-field-initializers)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # gcc 12 guesses these from the optimised flow and is often wrong on std::string, optional and variant (gcc bugs
  # 105651, 105562, 105329). The sanitizers look for the real thing.
  target_compile_options(kiln_warnings INTERFACE
    -Wno-restrict -Wno-maybe-uninitialized -Wno-stringop-overflow -Wno-stringop-overread -Wno-array-bounds
    -Wno-dangling-pointer -Wno-free-nonheap-object)
else()
  # libstdc++ 12 lets clang see the deprecated get_temporary_buffer inside stable_sort; gcc reports what we use ourselves.
  target_compile_options(kiln_warnings INTERFACE
    -Wthread-safety -Wunreachable-code-return -Wno-deprecated-declarations)
endif()

if(KILN_SANITIZE STREQUAL "asan")
  add_compile_options(-fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=all
    -fno-sanitize=vptr)  # libraries come without RTTI of their own
  add_link_options(-fsanitize=address,undefined,fuzzer-no-link)
elseif(KILN_SANITIZE STREQUAL "tsan")
  add_compile_options(-fsanitize=thread)
  add_link_options(-fsanitize=thread)
elseif(KILN_SANITIZE STREQUAL "coverage")
  add_compile_options(-fprofile-instr-generate -fcoverage-mapping)
  add_link_options(-fprofile-instr-generate)
elseif(KILN_SANITIZE)
  message(FATAL_ERROR "KILN_SANITIZE is asan, tsan, coverage or empty, not '${KILN_SANITIZE}'")
else()
  # A daemon that reads hostile bytes: cheap hardening. Sections, so that the linker drops what nobody calls.
  add_compile_options(-D_FORTIFY_SOURCE=2 -D_GLIBCXX_ASSERTIONS -fstack-protector-strong
    -ffunction-sections -fdata-sections)
  add_link_options(-Wl,--gc-sections -Wl,-z,relro,-z,now)
endif()

find_program(KILN_MOLD mold)
if(KILN_MOLD)
  add_link_options(-fuse-ld=mold)
endif()
