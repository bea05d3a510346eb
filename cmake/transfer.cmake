# The workers for images: dynamic, because TLS cannot be linked wholly static. libarchive is linked from its archive, so that only its
# tar reader comes along and not the ten libraries that the shared one loads.
find_package(PkgConfig REQUIRED)
pkg_check_modules(TRANSFER REQUIRED IMPORTED_TARGET libcurl libisal libzstd libcrypto)
find_library(ARCHIVE_LIBRARY NAMES libarchive.a REQUIRED)
find_package(Threads REQUIRED)
onggi_module(transfer onggi_image onggi_oci onggi_sys onggi_base ${ARCHIVE_LIBRARY} PkgConfig::TRANSFER Threads::Threads)
target_link_options(onggi_transfer PUBLIC -Wl,--as-needed)

if(NOT ONGGI_FUZZ)
  foreach(worker onggi-unpack onggi-transfer)
    if(EXISTS ${CMAKE_SOURCE_DIR}/bin/${worker}.cpp)
      add_executable(${worker} ${CMAKE_SOURCE_DIR}/bin/${worker}.cpp)
      target_link_libraries(${worker} PRIVATE onggi_transfer)
      set_target_properties(${worker} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/libexec/onggi)
    endif()
  endforeach()
endif()
