#!/usr/bin/env bash
# install_works.sh BUILD: installs to a new folder, moves that folder, follows
# the links in its documents, and builds a product from there, by CMake's
# find_package and by pkg-config.
set -euo pipefail
build=$1
here=$(cd "$(dirname "$0")" && pwd)
model=$here/../conformance/lightgbm/binary_sigmoid_1.txt
command -v pkg-config >/dev/null || { echo "skipped: no pkg-config"; exit 77; }

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cmake --install "$build" --prefix "$tmp/first" >"$tmp/log"
mv "$tmp/first" "$tmp/pre fix"
prefix="$tmp/pre fix"

echo "links in the documents"
"$here/../structure/doc_links.py" "$(dirname \
    "$(find "$prefix" -path '*/doc/*' -name LICENSE)")"

echo "by find_package"
cmake -S "$here/consumer" -B "$tmp/by-cmake" -G Ninja -DMODEL="$model" \
    -DCMAKE_PREFIX_PATH="$prefix" >"$tmp/log" || { cat "$tmp/log"; exit 1; }
cmake --build "$tmp/by-cmake" >"$tmp/log" || { cat "$tmp/log"; exit 1; }
"$tmp/by-cmake/consumer" "$tmp/by-cmake/shared_loan.treenail/shared_loan.so"
cmake --build "$tmp/by-cmake" | grep -q "no work to do"

echo "by pkg-config"
PKG_CONFIG_PATH=$(find "$prefix" -name pkgconfig)
export PKG_CONFIG_PATH
mkdir "$tmp/by-pkg"
cd "$tmp/by-pkg"
# pkg-config writes for a shell: a blank comes with a backslash.
eval "treenail=$(pkg-config --variable=treenail treenail)"
"$treenail" compile "$model" -o loan.a --name loan
"$treenail" compile "$model" -o shared_loan.so --name other
eval "${CC:-cc} -std=c11 -I. \"$here/consumer/consumer.c\" loan.a" \
    "./shared_loan.so $(pkg-config --cflags --libs treenail)" \
    "-Wl,-rpath,. -o consumer"
./consumer ./shared_loan.so
