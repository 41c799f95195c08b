# All of these are Debian packages that tools/install-deps installs.
find_package(PkgConfig REQUIRED)
pkg_check_modules(CJSON REQUIRED IMPORTED_TARGET libcjson)
pkg_check_modules(OPENBLAS REQUIRED openblas)
pkg_check_modules(LIBMD REQUIRED IMPORTED_TARGET libmd)
pkg_check_modules(PROTOBUF_C REQUIRED IMPORTED_TARGET libprotobuf-c)
find_program(PROTOC_C protoc-c REQUIRED)
find_file(ONNX_PROTO onnx/onnx.proto REQUIRED)
find_package(Threads REQUIRED)

# LLVM's own CMake package wants the headers of all that LLVM was built with;
# the C API is one shared library and one folder.
find_program(LLVM_CONFIG llvm-config-22 REQUIRED)
foreach(what includedir libdir bindir)
    execute_process(COMMAND ${LLVM_CONFIG} --${what}
                    OUTPUT_VARIABLE LLVM_${what}
                    OUTPUT_STRIP_TRAILING_WHITESPACE
                    COMMAND_ERROR_IS_FATAL ANY)
endforeach()
find_library(LLVM_LIBRARY LLVM-22 HINTS ${LLVM_libdir} REQUIRED)
