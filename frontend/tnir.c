/* tnir.c: the text form of a module, as --emit ir and --print-after write it.
 * What is in it is ir/parse.c's business; here it only joins the table of
 * importers.
 */
#include "frontend/frontend.h"

#include <string.h>

/* Whether the first word is treenail-ir. Comments may come before it. */
bool fe_detect_tnir(const uint8_t *data, size_t size)
{
    static const char word[] = "treenail-ir";
    const size_t n = sizeof word - 1;
    size_t i = 0;
    while (i < size && i < 4096) {
        if (data[i] == '#') {
            while (i < size && data[i] != '\n')
                i++;
        } else if (strchr(" \t\r\n", data[i]) && data[i]) {
            i++;
        } else {
            return size - i >= n && memcmp(data + i, word, n) == 0;
        }
    }
    return false;
}

struct ir_module *fe_import_tnir(struct ir_file file, struct ir_diag *diag)
{
    const char *text = file.size ? (const char *)file.data : "";
    struct ir_module *module =
        ir_parse(text, file.size, file.path, NULL, 0, diag);
    ir_file_close(&file);
    return module;
}
