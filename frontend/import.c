/* import.c: finds a file's format by its content and calls that importer.
 *
 * The table below is the only list of formats: a new one is a line here and a
 * file beside this one. What formats are refused by name is in foreign.c.
 */
#include "frontend/internal.h"

#include <string.h>

const struct fe_importer fe_importers[] = {
    {"tn", "treenail's model file (.tn)", fe_detect_tn, fe_import_tn},
    {"tnir", "treenail's text form (.tnir)", fe_detect_tnir, fe_import_tnir},
    {"lightgbm", "LightGBM text model, v2 to v4 (Booster.save_model)",
     fe_detect_lightgbm, fe_import_lightgbm},
    {"lightgbm-json", "LightGBM's Booster.dump_model(), written as JSON",
     fe_detect_lightgbm_json, fe_import_lightgbm_json},
    {"xgboost", "XGBoost model, JSON or UBJSON, 1.x to 3.x (save_model)",
     fe_detect_xgboost, fe_import_xgboost},
    {"catboost", "CatBoost JSON model (save_model(format=\"json\", pool=pool))",
     fe_detect_catboost, fe_import_catboost},
    {"onnx", "ONNX model: trees, linear models and what is around them",
     fe_detect_onnx, fe_import_onnx},
};
const int fe_importer_count = sizeof fe_importers / sizeof *fe_importers;

/* ------------------------------------------------------------- refusal -- */

/* Says what is known of a file that no importer takes. */
static void refuse(const struct ir_file *file, struct ir_diag *diag)
{
    const struct ir_loc loc = ir_loc_file(file->path);
    const char *foreign = fe_foreign_format(file);
    if (file->size == 0) {
        ir_error(diag, loc, "the file is empty");
        return;
    }
    if (foreign) {
        ir_error(diag, loc, "%s", foreign);
        return;
    }
    struct ir_text known;
    ir_text_init(&known);
    for (int i = 0; i < fe_importer_count; i++)
        ir_text_printf(&known, "%s%s", i ? ", " : "", fe_importers[i].name);
    ir_error(diag, loc, "the format is not known (%s are)", known.data);
    ir_text_release(&known);
}

/* -------------------------------------------------------------- import -- */

static const struct fe_importer *find_importer(const struct ir_file *file)
{
    for (int i = 0; i < fe_importer_count; i++)
        if (fe_importers[i].detect(file->data, file->size))
            return &fe_importers[i];
    return NULL;
}

char *fe_name_of(struct ir_arena *arena, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path;
    const char *dot = strrchr(base, '.');
    size_t n = dot ? (size_t)(dot - base) : strlen(base);
    if (n > IR_MAX_NAME)
        n = IR_MAX_NAME;
    return n ? ir_strndup(arena, base, n) : ir_strdup(arena, "model");
}

/* Takes over `file`. */
static struct ir_module *import_file(struct ir_file file, int64_t steps,
                                     struct ir_diag *diag)
{
    const struct fe_importer *importer = find_importer(&file);
    if (!importer) {
        refuse(&file, diag);
        ir_file_close(&file);
        return NULL;
    }
    char sha256[65];
    ir_sha256(file.data, file.size, sha256);
    struct ir_diag said;
    ir_diag_init(&said);
    const char *path = file.path;
    struct ir_module *module = NULL;
    if (importer->import == fe_import_onnx) {
        module = fe_import_onnx_steps(file, steps, &said);
    } else if (steps > 0) {
        ir_error(&said, ir_loc_file(path), "a model of %s has no open dim of "
                 "time", importer->name);
        ir_file_close(&file);
    } else {
        module = importer->import(file, &said);
    }
    ir_diag_add(diag, &said, path);
    ir_diag_release(&said);
    if (!module)
        return NULL;
    if (!ir_get_fact(module, "source_format"))
        ir_set_fact(module, "source_format", importer->name);
    if (!ir_get_fact(module, "source_sha256"))
        ir_set_fact(module, "source_sha256", sha256);
    return module;
}

struct ir_module *fe_import(const char *path, struct ir_diag *diag)
{
    return fe_import_steps(path, 0, diag);
}

struct ir_module *fe_import_steps(const char *path, int64_t steps,
                                  struct ir_diag *diag)
{
    struct ir_file file;
    return ir_file_open(&file, path, diag) ? import_file(file, steps, diag)
                                           : NULL;
}

struct ir_module *fe_import_bytes(const uint8_t *data, size_t size,
                                  const char *name, struct ir_diag *diag)
{
    return import_file((struct ir_file){.path = name, .data = data,
                                        .size = size, .borrowed = true},
                       0, diag);
}
