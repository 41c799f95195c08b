/* fz_lightgbm_json.c: bytes -> the importer of LightGBM's JSON dump. */
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_check_import(data, size, "fuzz.json");
    return 0;
}
