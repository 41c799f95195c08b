/* fz_ir_text.c: bytes -> the text parser.
 *
 * What is refused has a message with the file's name in front. What is
 * accepted prints to text that reads back and prints the same; so does its
 * clone; the container gives it back; and it evaluates.
 */
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

static bool same(const struct ir_text *a, const struct ir_text *b)
{
    return a->length == b->length && memcmp(a->data, b->data, a->length) == 0;
}

/* Takes over `module`. */
static void check_print(struct ir_module *module, const struct ir_text *first)
{
    struct ir_text text;
    ir_text_init(&text);
    CHECK(module != NULL);
    ir_print(module, &text);
    CHECK(same(&text, first));
    ir_text_release(&text);
    ir_module_free(module);
}

/* The text form has one NaN, so the container is compared as text, too. */
static struct ir_module *through_container(const struct ir_module *module,
                                           struct ir_text *bytes,
                                           struct ir_diag *diag)
{
    ir_container_encode(module, bytes);
    const struct ir_file file = {.path = "fuzz.tn", .borrowed = true,
                                 .data = (const uint8_t *)bytes->data,
                                 .size = bytes->length};
    CHECK(ir_container_detect(file.data, file.size));
    return ir_container_read(file, diag);
}

/* One derived row and one drawn row; large models are left alone. */
static void check_eval(const struct ir_module *module)
{
    const int64_t n = ir_row_elements(module);
    int64_t work = n;
    for (int i = 0; i < module->n_ops; i++)
        for (int r = 0; r < module->ops[i]->n_results; r++)
            work += ir_type_volume(&module->ops[i]->result[r].type);
    if (work > 100000)
        return;
    struct ir_probe *probe = ir_probe_new(module, 1);
    double *row = ir_realloc_array(NULL, (size_t)n + 1, sizeof(*row));
    for (int which = 0; which < 2; which++) {
        ir_probe_row(probe, which * ir_probe_count(probe), row);
        const struct ir_rows rows = {.dtype = IR_F64, .data = row,
                                     .n_rows = 1, .row_stride = n,
                                     .column_stride = 1};
        for (int o = 0; o < module->n_outputs; o++) {
            const struct ir_type *type = &module->outputs[o].value->type;
            void *out = ir_realloc_array(NULL, (size_t)ir_type_volume(type),
                                         ir_dtype_bytes(type->dtype));
            ir_eval(module, o, &rows, out);
            free(out);
        }
    }
    free(row);
    ir_probe_free(probe);
}

static void check_accepted(struct ir_module *module, struct ir_diag *diag)
{
    struct ir_text text, bytes;
    ir_text_init(&text);
    ir_text_init(&bytes);
    CHECK(diag->n_messages == 0);
    ir_print(module, &text);
    check_print(ir_parse(text.data, text.length, "printed", NULL, 0, diag),
                &text);
    check_print(ir_module_clone(module), &text);
    check_print(through_container(module, &bytes, diag), &text);
    check_eval(module);
    ir_text_release(&bytes);
    ir_text_release(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ir_diag diag;
    ir_diag_init(&diag);
    struct ir_module *module = ir_parse((const char *)data, size, "fuzz.tnir",
                                        NULL, 0, &diag);
    if (module) {
        check_accepted(module, &diag);
        ir_module_free(module);
    } else {
        CHECK(diag.n_messages == 1);
        CHECK(strncmp(diag.message[0], "fuzz.tnir:", 10) == 0);
    }
    ir_diag_release(&diag);
    return 0;
}
