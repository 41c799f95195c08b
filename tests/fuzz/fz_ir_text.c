/* fz_ir_text.c: bytes -> the text parser.
 *
 * What is refused has a message with the file's name in front. What is
 * accepted prints to text that reads back and prints the same; so does its
 * clone; the container gives it back; and it evaluates.
 */
#include "fuzz/fuzz.h"

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
    fuzz_check_eval(module);
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
        fuzz_check_refusal(&diag, "fuzz.tnir");
    }
    ir_diag_release(&diag);
    return 0;
}
