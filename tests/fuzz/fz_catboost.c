/* fz_catboost.c: bytes -> the CatBoost importer.
 *
 * Nothing may crash, hang or take memory out of proportion; fuzz.h says what
 * else is checked.
 */
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_check_import(data, size, "fuzz.json");
    return 0;
}
