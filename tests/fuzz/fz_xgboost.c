/* fz_xgboost.c: bytes -> the XGBoost importer, JSON and UBJSON.
 *
 * Nothing may crash, hang or take memory out of proportion; fuzz.h says what
 * else is checked. What no importer knows is no input: fz_lightgbm has those.
 */
#include "frontend/frontend.h"
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (fe_detect_xgboost(data, size))
        fuzz_check_import(data, size, "fuzz.json");
    return 0;
}
