/* fz_pass.c: no pass changes an answer.
 *
 * A model out of bytes (gen_model.h) runs through passes in the order that the
 * first bytes say; after each the verifier must agree and every output must
 * keep its bits on probe rows. What comes out must survive printing and
 * parsing, and canonicalise and prune must find nothing more to do.
 *
 *   byte 0    the seed of the rows
 *   byte 1    the strategy forced: 0 none, then branch, walk, select, slice,
 *             oblivious, match16, match32, raw8, raw16
 *   byte 2-5  a pass each: its number in the table, counted from 1; 0 stands
 *             for the table's next
 *   byte 6-7  not used
 *   byte 8-   the model
 */
#include "fuzz/gen_model.h"
#include "passes/passes.h"

#include <stdlib.h>
#include <string.h>

enum { header_bytes = 8, max_passes = 6 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What a pass may say without being wrong. */
static void expect_refusal(const struct ir_diag *diag)
{
    if (diag->n_messages == 1 && strstr(diag->message[0], "cannot be "))
        return;
    ir_diag_print(diag, stderr);
    abort();
}

static void print_module(struct ir_module *module, struct ir_text *text)
{
    ir_text_init(text);
    ir_renumber(module);
    ir_print(module, text);
}

static void expect_same_text(struct ir_module *module,
                             const struct ir_text *text, const char *what)
{
    struct ir_text again;
    print_module(module, &again);
    if (again.length != text->length ||
        memcmp(again.data, text->data, text->length) != 0) {
        fprintf(stderr, "%s changes the text\n%s\n%s\n", what, text->data,
                again.data);
        abort();
    }
    ir_text_release(&again);
}

/* What was printed reads back, and prints the same. */
static void check_text(struct ir_module *module)
{
    struct ir_diag diag;
    struct ir_text text;
    ir_diag_init(&diag);
    print_module(module, &text);
    struct ir_module *read = ir_parse(text.data, text.length, "printed", NULL,
                                      0, &diag);
    if (!read) {
        ir_diag_print(&diag, stderr);
        fputs(text.data, stderr);
        abort();
    }
    expect_same_text(read, &text, "reading");
    ir_module_free(read);
    ir_text_release(&text);
    ir_diag_release(&diag);
}

/* Canonicalise and prune do all they can the first time. */
static void check_repeat(struct ir_module *module, const struct pass *pass,
                         const struct pass_options *options)
{
    if (pass->run != pass_canonicalise && pass->run != pass_prune)
        return;
    struct ir_diag diag;
    struct ir_text text;
    ir_diag_init(&diag);
    print_module(module, &text);
    if (!pass->run(module, options, &diag))
        abort();
    expect_same_text(module, &text, pass->name);
    ir_text_release(&text);
    ir_diag_release(&diag);
}

static int choose_passes(const uint8_t *data, const struct pass *passes[])
{
    int next = 0;
    for (int i = 0; i < 4; i++) {
        const int number = data[2 + i] % (pass_count + 1);
        const int chosen = number ? number - 1 : next;
        passes[i] = &pass_table[chosen];
        next = (chosen + 1) % pass_count;
    }
    return 4;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const strategies[] = {NULL, "branch", "walk",
                                             "select", "slice",
                                             "oblivious", "match16",
                                             "match32", "raw8", "raw16"};
    if (size < header_bytes)
        return 0;
    const struct pass_options options = {
        .verify_each = true,
        .diff_each = true,
        .diff_rows = 24,
        .seed = data[0],
        .strategy = strategies[data[1] % 10],
    };
    const struct pass *passes[max_passes];
    const int n = choose_passes(data, passes);
    struct ir_module *module = gen_model(data + header_bytes,
                                         size - header_bytes);
    struct ir_diag diag;
    ir_diag_init(&diag);
    if (pass_run(module, n, passes, &options, &diag)) {
        check_repeat(module, passes[n - 1], &options);
        check_text(module);
    } else {
        expect_refusal(&diag);
    }
    ir_diag_release(&diag);
    ir_module_free(module);
    return 0;
}
