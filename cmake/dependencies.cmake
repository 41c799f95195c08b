# All of these are Debian packages that tools/install-deps installs.
find_package(PkgConfig REQUIRED)
pkg_check_modules(CJSON REQUIRED IMPORTED_TARGET libcjson)
pkg_check_modules(LIBMD REQUIRED IMPORTED_TARGET libmd)
find_package(LLVM 22 REQUIRED CONFIG HINTS /usr/lib/llvm-22/lib/cmake/llvm)
find_package(Threads REQUIRED)
