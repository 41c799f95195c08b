/* fz_lightgbm.c: bytes -> the LightGBM importer.
 *
 * Nothing may crash, hang or take memory out of proportion. A refusal has one
 * message, with the file's name in front. What is accepted must verify, print
 * to text that reads back the same, and evaluate.
 */
#include "frontend/frontend.h"

#include <math.h>
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

static void check_refusal(const struct ir_diag *diag)
{
    CHECK(diag->n_messages == 1);
    CHECK(strncmp(diag->message[0], "fuzz.txt:", 9) == 0);
}

static void check_text(struct ir_module *module, struct ir_diag *diag)
{
    struct ir_text first, second;
    ir_text_init(&first);
    ir_text_init(&second);
    ir_renumber(module);
    ir_print(module, &first);
    struct ir_module *again =
        ir_parse(first.data, first.length, "printed", NULL, 0, diag);
    if (!again)
        ir_diag_print(diag, stderr);
    CHECK(again != NULL);
    ir_renumber(again);
    ir_print(again, &second);
    CHECK(first.length == second.length &&
          memcmp(first.data, second.data, first.length) == 0);
    ir_module_free(again);
    ir_text_release(&second);
    ir_text_release(&first);
}

/* One row of ordinary numbers, one of NaNs. */
static void check_eval(const struct ir_module *module)
{
    const int64_t n = ir_row_elements(module);
    double *row = ir_realloc_array(NULL, (size_t)n, sizeof *row);
    for (int nan = 0; nan < 2; nan++) {
        for (int64_t i = 0; i < n; i++)
            row[i] = nan ? (double)NAN : (double)(i % 7) - 1.5;
        const struct ir_rows rows = {.dtype = IR_F64, .data = row,
                                     .n_rows = 1, .row_stride = n,
                                     .column_stride = 1};
        for (int o = 0; o < module->n_outputs; o++) {
            const struct ir_type *type = &module->outputs[o].value->type;
            void *out = ir_realloc_array(
                NULL, (size_t)ir_type_volume(type),
                ir_dtype_bytes(type->dtype));
            ir_eval(module, o, &rows, out);
            free(out);
        }
    }
    free(row);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ir_diag diag;
    ir_diag_init(&diag);
    struct ir_module *module =
        fe_import_bytes(data, size, "fuzz.txt", &diag);
    if (module) {
        CHECK(diag.n_messages == 0);
        CHECK(ir_verify(module, &diag));
        check_text(module, &diag);
        check_eval(module);
        ir_module_free(module);
    } else {
        check_refusal(&diag);
    }
    ir_diag_release(&diag);
    return 0;
}
