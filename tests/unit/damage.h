/* damage.h: what tests of importers share: a sample read, and bytes that may be
 * damaged imported. */
#ifndef TREENAIL_TESTS_UNIT_DAMAGE_H
#define TREENAIL_TESTS_UNIT_DAMAGE_H

#include "frontend/frontend.h"

#include <stdlib.h>
#include <string.h>

/* Imports a copy that ends where malloc's block ends, so that a sanitizer sees
 * a read past it. A refusal must say where. */
static inline bool import_copy(const char *bytes, size_t n)
{
    struct ir_diag diag;
    ir_diag_init(&diag);
    uint8_t *copy = ir_realloc_array(NULL, n + !n, 1);
    memcpy(copy, bytes, n);
    struct ir_module *module = fe_import_bytes(copy, n, "m.txt", &diag);
    if (module) {
        assert_int_equal(diag.n_messages, 0);
        assert_true(ir_verify(module, &diag));
    } else {
        assert_int_equal(diag.n_messages, 1);
        assert_int_equal(strncmp(diag.message[0], "m.txt:", 6), 0);
    }
    const bool accepted = module != NULL;
    ir_module_free(module);
    ir_diag_release(&diag);
    free(copy);
    return accepted;
}

/* The file `name` of `folder`. */
static inline void read_case(const char *folder, const char *name,
                             struct ir_text *text)
{
    struct ir_diag diag;
    struct ir_file file;
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    ir_diag_init(&diag);
    assert_true(ir_file_open(&file, path, &diag));
    ir_text_init(text);
    ir_text_append(text, file.data, file.size);
    ir_file_close(&file);
    ir_diag_release(&diag);
}

#endif
