/* fuzz.c: see fuzz.h. */
#include "fuzz/fuzz.h"

#include "frontend/frontend.h"

#include <math.h>

void fuzz_check_refusal(const struct ir_diag *diag, const char *file)
{
    const bool good = diag->n_messages == 1 && diag->n_dropped == 0;
    if (!good)
        ir_diag_print(diag, stderr);
    CHECK(good);
    CHECK(strncmp(diag->message[0], file, strlen(file)) == 0);
}

void fuzz_check_text(const struct ir_module *module)
{
    struct ir_text first, second;
    struct ir_diag diag;
    ir_diag_init(&diag);
    ir_text_init(&first);
    ir_text_init(&second);
    ir_print(module, &first);
    struct ir_module *again =
        ir_parse(first.data, first.length, "printed", NULL, 0, &diag);
    ir_diag_print(&diag, stderr);
    CHECK(again != NULL);
    ir_print(again, &second);
    CHECK(first.length == second.length &&
          memcmp(first.data, second.data, first.length) == 0);
    ir_module_free(again);
    ir_text_release(&second);
    ir_text_release(&first);
    ir_diag_release(&diag);
}

static void eval_row(const struct ir_module *module, const double *row)
{
    const struct ir_rows rows = {.dtype = IR_F64, .data = row, .n_rows = 1,
                                 .row_stride = ir_row_elements(module),
                                 .column_stride = 1};
    for (int o = 0; o < module->n_outputs; o++) {
        const struct ir_type *type = &module->outputs[o].value->type;
        void *out = ir_realloc_array(NULL, (size_t)ir_type_volume(type),
                                     ir_dtype_bytes(type->dtype));
        ir_eval(module, o, &rows, out);
        free(out);
    }
}

void fuzz_check_eval(const struct ir_module *module)
{
    const int64_t n = ir_row_elements(module);
    int64_t work = n;
    for (int i = 0; i < module->n_ops && work <= 100000; i++) {
        for (int r = 0; r < module->ops[i]->n_results; r++)
            work += ir_type_volume(&module->ops[i]->result[r].type);
        work += ir_op_work(module->ops[i]) / 16; /* below 2^60 */
    }
    if (work > 100000)
        return;
    struct ir_probe *probe = ir_probe_new(module, 1);
    double *row = ir_realloc_array(NULL, (size_t)n + 1, sizeof(*row));
    ir_probe_row(probe, 0, row);
    eval_row(module, row);
    ir_probe_row(probe, ir_probe_count(probe), row);
    eval_row(module, row);
    for (int64_t i = 0; i < n; i++)
        row[i] = NAN;
    eval_row(module, row);
    free(row);
    ir_probe_free(probe);
}

void fuzz_check_import(const uint8_t *data, size_t size, const char *file)
{
    struct ir_diag diag;
    ir_diag_init(&diag);
    struct ir_module *module = fe_import_bytes(data, size, file, &diag);
    if (module) {
        CHECK(diag.n_messages == 0);
        CHECK(ir_verify(module, &diag));
        fuzz_check_text(module);
        fuzz_check_eval(module);
        ir_module_free(module);
    } else {
        fuzz_check_refusal(&diag, file);
    }
    ir_diag_release(&diag);
}
