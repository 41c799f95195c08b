/* fz_container.c: bytes -> the .tn reader.
 *
 * The checker of JSON and offsets is what is looked for here; fz_ir_text goes
 * through the text within. What is refused has a message with the file's name
 * in front. What is accepted writes to bytes that read to the same module and
 * write the same again, and it evaluates.
 *
 * A mutation of the bytes seldom keeps the header's length right, so an input
 * that starts with '{' is a header without it; a line feed and what follows
 * are the data.
 */
#include "fuzz/fuzz.h"

static struct ir_module *read_bytes(const struct ir_text *bytes,
                                    struct ir_diag *diag)
{
    const struct ir_file file = {.path = "fuzz.tn", .borrowed = true,
                                 .data = (const uint8_t *)bytes->data,
                                 .size = bytes->length};
    ir_container_detect(file.data, file.size);
    return ir_container_read(file, diag);
}

/* The file that the input stands for. */
static void make_file(const uint8_t *data, size_t size, struct ir_text *file)
{
    const char pad[] = "        ";
    if (size == 0 || data[0] != '{') {
        ir_text_append(file, data, size);
        return;
    }
    const uint8_t *stop = memchr(data, '\n', size);
    const size_t header = stop ? (size_t)(stop - data) : size;
    const size_t padded = (header + 7) / 8 * 8;
    for (int i = 0; i < 8; i++) {
        const uint8_t byte = (uint8_t)((uint64_t)padded >> (8 * i));
        ir_text_append(file, &byte, 1);
    }
    ir_text_append(file, data, header);
    ir_text_append(file, pad, padded - header);
    if (stop)
        ir_text_append(file, stop + 1, size - header - 1);
}

static void check_accepted(const struct ir_module *module,
                           struct ir_diag *diag)
{
    struct ir_text first, second;
    ir_text_init(&first);
    ir_text_init(&second);
    CHECK(diag->n_messages == 0);
    ir_container_encode(module, &first);
    struct ir_module *again = read_bytes(&first, diag);
    CHECK(again != NULL);
    ir_container_encode(again, &second);
    CHECK(first.length == second.length &&
          memcmp(first.data, second.data, first.length) == 0);
    fuzz_check_eval(again);
    ir_module_free(again);
    ir_text_release(&second);
    ir_text_release(&first);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ir_diag diag;
    struct ir_text file;
    ir_diag_init(&diag);
    ir_text_init(&file);
    make_file(data, size, &file);
    struct ir_module *module = read_bytes(&file, &diag);
    if (module) {
        check_accepted(module, &diag);
        ir_module_free(module);
    } else {
        fuzz_check_refusal(&diag, "fuzz.tn");
    }
    ir_text_release(&file);
    ir_diag_release(&diag);
    return 0;
}
