# The child program: freestanding, static, no libc, a few kilobytes; embedded into onggi-runtime as bytes (child_blob.S).
set(CHILD_ELF ${CMAKE_BINARY_DIR}/onggi-child)
file(GLOB CHILD_SOURCES CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/runtime/child.cpp ${CMAKE_SOURCE_DIR}/src/runtime/child_*.cpp)
set(CHILD_OBJECT ${CMAKE_BINARY_DIR}/child.o)
set(CHILD_FLAGS -std=gnu++23 -Os -g0 -Wall -Wextra -Werror -Wno-missing-field-initializers -ffreestanding -fno-exceptions -fno-rtti
    -fno-stack-protector -fno-asynchronous-unwind-tables -fno-threadsafe-statics -fcf-protection=none
    -fno-pic -fno-pie -mno-sse -mno-avx -fno-tree-loop-distribute-patterns -D_GNU_SOURCE -I${CMAKE_SOURCE_DIR}/src)
if(NOT CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|amd64")
  list(REMOVE_ITEM CHILD_FLAGS -mno-sse -mno-avx -fcf-protection=none)
  list(APPEND CHILD_FLAGS -mgeneral-regs-only)
endif()
# One translation unit: each source is included by child_all.inc, so that the compiler sees everything and emits one object.
set(CHILD_UNITY ${CMAKE_BINARY_DIR}/child_unity.cpp)
set(unity_text "")
foreach(source ${CHILD_SOURCES})
  string(APPEND unity_text "#include \"${source}\"\n")
endforeach()
file(GENERATE OUTPUT ${CHILD_UNITY} CONTENT "${unity_text}")
file(GLOB CHILD_HEADERS CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/runtime/child*.h)
add_custom_command(OUTPUT ${CHILD_OBJECT}
  COMMAND ${CMAKE_CXX_COMPILER} ${CHILD_FLAGS} -c ${CHILD_UNITY} -o ${CHILD_OBJECT}
  DEPENDS ${CHILD_SOURCES} ${CHILD_HEADERS} ${CHILD_UNITY} ${CMAKE_SOURCE_DIR}/src/runtime/plan.h VERBATIM)
add_custom_command(OUTPUT ${CHILD_ELF}
  COMMAND ${CMAKE_CXX_COMPILER} -nostdlib -static -no-pie -Wl,--build-id=none,-z,noexecstack,-z,noseparate-code,-z,max-page-size=4096,-e,onggi_child_start
          ${CHILD_OBJECT} -o ${CHILD_ELF}
  COMMAND ${CMAKE_STRIP} --strip-all ${CHILD_ELF}
  DEPENDS ${CHILD_OBJECT} VERBATIM)
set_source_files_properties(${CMAKE_SOURCE_DIR}/src/runtime/child_blob.S PROPERTIES
  OBJECT_DEPENDS ${CHILD_ELF} COMPILE_DEFINITIONS "CHILD_ELF=\"${CHILD_ELF}\"")
add_library(onggi_child_blob STATIC ${CMAKE_SOURCE_DIR}/src/runtime/child_blob.S)
