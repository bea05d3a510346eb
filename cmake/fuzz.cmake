# libFuzzer targets: tests/fuzz/<name>.cpp -> fuzz_<name>, with the address and undefined-behaviour sanitizers.
#   cmake --preset fuzz && cmake --build --preset fuzz
#   build/fuzz/bin/fuzz_spec -max_total_time=60 CORPUS-DIRECTORY tests/fuzz/corpus/fuzz_spec
# New inputs go to the first directory; tests/fuzz/corpus holds seeds and is small on purpose.
if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  message(FATAL_ERROR "fuzzing needs clang (cmake --preset fuzz)")
endif()
# Only what the targets need is built: the child program is written for GCC.
foreach(target onggi_sys onggi_image onggi_stack onggi_engine onggi_cli onggi_transfer onggi_runtime onggi_rtcli onggi_network onggi_keeper onggi_child_blob onggi_child)
  if(TARGET ${target})
    get_target_property(kind ${target} TYPE)
    if(NOT kind STREQUAL "INTERFACE_LIBRARY")
      set_target_properties(${target} PROPERTIES EXCLUDE_FROM_ALL ON)
    endif()
  endif()
endforeach()
foreach(module base oci policy)
  target_compile_options(onggi_${module} PRIVATE -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined)
endforeach()
# RapidJSON 1.1 has a template that is never used and that clang 19 rejects on sight; parsed late, it is never looked at. Its empty
# stack is a null pointer that it adds to before it allocates, harmless but reported.
set_source_files_properties(${CMAKE_SOURCE_DIR}/src/base/json.cpp PROPERTIES COMPILE_OPTIONS
                            "-fdelayed-template-parsing;-Wno-delayed-template-parsing-in-cxx20;-fno-sanitize=pointer-overflow")
foreach(name spec process seccomp mount_options)
  add_executable(fuzz_${name} tests/fuzz/${name}.cpp)
  target_compile_options(fuzz_${name} PRIVATE -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined)
  target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer,address,undefined)
  target_link_libraries(fuzz_${name} PRIVATE onggi_policy onggi_oci onggi_base)
endforeach()
# The command line's template engine is a few files of its own; the rest of the engine is not linked.
file(GLOB template_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/cli/template*.cpp)
list(FILTER template_sources EXCLUDE REGEX "_test\\.cpp$")
add_executable(fuzz_template tests/fuzz/template.cpp ${template_sources})
target_compile_options(fuzz_template PRIVATE -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined)
target_link_options(fuzz_template PRIVATE -fsanitize=fuzzer,address,undefined)
target_link_libraries(fuzz_template PRIVATE onggi_base)

# Compose files: the pure half of the module.
set(stack_sources ${CMAKE_SOURCE_DIR}/src/stack)
add_executable(fuzz_compose tests/fuzz/compose.cpp ${stack_sources}/node.cpp ${stack_sources}/yaml.cpp ${stack_sources}/interpolate.cpp
  ${stack_sources}/schema.cpp ${stack_sources}/schema_tables.cpp ${stack_sources}/canonical.cpp ${stack_sources}/merge.cpp
  ${stack_sources}/load.cpp ${stack_sources}/complete.cpp ${stack_sources}/emit.cpp ${stack_sources}/identity.cpp)
target_compile_options(fuzz_compose PRIVATE -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined)
target_link_options(fuzz_compose PRIVATE -fsanitize=fuzzer,address,undefined)
target_link_libraries(fuzz_compose PRIVATE onggi_base ${YAML_STATIC})

# Images: documents and references are pure; a layer's way from bytes to files is five files and the libraries that they use.
add_executable(fuzz_image tests/fuzz/image.cpp ${CMAKE_SOURCE_DIR}/src/image/reference.cpp)
target_link_libraries(fuzz_image PRIVATE onggi_oci onggi_base)
set(layer_sources ${CMAKE_SOURCE_DIR}/src/transfer)
add_executable(fuzz_layer tests/fuzz/layer.cpp ${layer_sources}/unpack.cpp ${layer_sources}/tree_writer.cpp
  ${layer_sources}/plain_tar.cpp ${layer_sources}/decompress.cpp ${layer_sources}/hash.cpp)
target_link_libraries(fuzz_layer PRIVATE onggi_base ${ARCHIVE_LIBRARY} PkgConfig::TRANSFER)
foreach(name image layer)
  target_compile_options(fuzz_${name} PRIVATE -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined)
  target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer,address,undefined)
endforeach()

# The name service: packets and the table that they are answered from; the wire format is ldns's.
add_executable(fuzz_dns tests/fuzz/dns.cpp ${CMAKE_SOURCE_DIR}/src/keeper/dns_message.cpp ${CMAKE_SOURCE_DIR}/src/keeper/name_table.cpp)
target_compile_options(fuzz_dns PRIVATE -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined)
target_link_options(fuzz_dns PRIVATE -fsanitize=fuzzer,address,undefined)
target_link_libraries(fuzz_dns PRIVATE onggi_base ${LDNS_LIBRARY} ${CRYPTO_STATIC})
