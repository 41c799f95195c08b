/* fuzz.h: what fuzz targets check a module for. */
#ifndef TREENAIL_FUZZ_H
#define TREENAIL_FUZZ_H

#include "ir/ir.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                      \
    do {                                                                      \
        if (!(condition)) {                                                   \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__,        \
                    #condition);                                              \
            abort();                                                          \
        }                                                                     \
    } while (0)

/* One message, which starts with the file's name. */
void fuzz_check_refusal(const struct ir_diag *diag, const char *file);
/* It prints to text that reads back and prints the same. */
void fuzz_check_text(const struct ir_module *module);
/* It evaluates: a derived row, a drawn one and one of NaNs. Large models are
 * left alone. */
void fuzz_check_eval(const struct ir_module *module);
/* The whole of an importer's target: bytes are imported as `file`; either
 * there is a refusal, or a module that verifies and that all of the above
 * holds for. */
void fuzz_check_import(const uint8_t *data, size_t size, const char *file);

#endif
