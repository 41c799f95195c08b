/* frontend.h: bytes -> module, one importer a format.
 *
 * An importer is one file and one line in the table of import.c. It reads the
 * whole format or refuses with the reason; it turns each quirk of its
 * framework into an attribute, so that nobody later asks where a model came
 * from. Bytes may be hostile: see docs/formats.md.
 */
#ifndef TREENAIL_FRONTEND_H
#define TREENAIL_FRONTEND_H

#include "ir/ir.h"

struct fe_importer {
    const char *name;    /* "lightgbm" */
    const char *summary; /* one line for --help */
    /* Whether the content looks like this format; reads at most the first
     * few KB, never trusts the file's name. */
    bool (*detect)(const uint8_t *data, size_t size);
    /* Builds a verified module, or returns NULL with messages. Takes over
     * `file` (also on failure): it is closed, or kept in module->file. */
    struct ir_module *(*import)(struct ir_file file, struct ir_diag *diag);
};

/* ------------------------------------------------------------- import.c -- */

extern const struct fe_importer fe_importers[];
extern const int fe_importer_count;

/* Opens `path`, finds its format by content and imports it. Sets the facts
 * source_format and source_sha256 where the importer did not. A module whose
 * format gives it no name has the file's. */
struct ir_module *fe_import(const char *path, struct ir_diag *diag);
/* The same for a model with an open dim of time, which has `steps` steps, 1 to
 * IR_MAX_ELEMENTS; below 0: -steps, if there is such a dim. 0: there is
 * none. */
struct ir_module *fe_import_steps(const char *path, int64_t steps,
                                  struct ir_diag *diag);
/* The same for bytes in memory, which must outlive the module; `name` stands
 * for the path in messages. For fuzzers and bindings. */
struct ir_module *fe_import_bytes(const uint8_t *data, size_t size,
                                  const char *name, struct ir_diag *diag);

/* --------------------------- tn.c, tnir.c, lightgbm.c, xgboost.c -- */

bool fe_detect_tn(const uint8_t *data, size_t size);
struct ir_module *fe_import_tn(struct ir_file file, struct ir_diag *diag);
bool fe_detect_tnir(const uint8_t *data, size_t size);
struct ir_module *fe_import_tnir(struct ir_file file, struct ir_diag *diag);
bool fe_detect_lightgbm(const uint8_t *data, size_t size);
struct ir_module *fe_import_lightgbm(struct ir_file file,
                                     struct ir_diag *diag);
bool fe_detect_lightgbm_json(const uint8_t *data, size_t size);
struct ir_module *fe_import_lightgbm_json(struct ir_file file,
                                          struct ir_diag *diag);
bool fe_detect_catboost(const uint8_t *data, size_t size);
struct ir_module *fe_import_catboost(struct ir_file file,
                                     struct ir_diag *diag);
bool fe_detect_xgboost(const uint8_t *data, size_t size);
struct ir_module *fe_import_xgboost(struct ir_file file, struct ir_diag *diag);
bool fe_detect_onnx(const uint8_t *data, size_t size);
struct ir_module *fe_import_onnx(struct ir_file file, struct ir_diag *diag);
struct ir_module *fe_import_onnx_steps(struct ir_file file, int64_t steps,
                                       struct ir_diag *diag);

#endif
