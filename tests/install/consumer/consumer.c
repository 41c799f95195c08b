/* consumer.c: exits with 0 when a linked model, a shared one and a loaded one
 * answer the same. Its argument is the library to load. */
#include "loan.h"
#include "shared_loan.h"

#include "runtime/runtime.h"

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    struct rt_library library;
    double rows[64 * LOAN_ELEMENTS], linked[64], shared[64], loaded[64];
    if (argc != 2 || !rt_library_open(&library, argv[1])) {
        fprintf(stderr, "%s\n", argc == 2 ? library.error : "which library?");
        return 1;
    }
    for (int i = 0; i < 64 * LOAN_ELEMENTS; i++)
        rows[i] = (i * 37 % 101) / 50.0 - 1;
    loan_predict_f64(LOAN_OUTPUT_VALUE, rows, 64, LOAN_ELEMENTS, 1, linked,
                     NULL);
    other_predict_f64(OTHER_OUTPUT_VALUE, rows, 64, LOAN_ELEMENTS, 1, shared,
                      NULL);
    if (rt_predict(library.model, 0, TN_F64, rows, 64, LOAN_ELEMENTS, 1,
                   loaded, 2) != TN_OK)
        return 1;
    const int same = !memcmp(linked, shared, sizeof(linked)) &&
                     !memcmp(linked, loaded, sizeof(linked)) &&
                     rt_selftest(&library);
    printf("%s: %.17g\n", library.model->compiler, linked[0]);
    rt_library_close(&library);
    return !same;
}
