/* onnx.c: an ONNX model (ModelProto) -> module.
 *
 * What is read: trees and linear models of ai.onnx.ml, and nets, on static dims
 * but for the batch. The bytes are decoded (onnx_wire.c), then the graph is
 * built node by node from the table in onnx_ops.c: each name of the graph
 * becomes a constant or a value of the row, and the outputs become the module's
 * (onnx_io.c).
 *
 * Subgraphs are built where they stand: a branch that is known, the steps of a
 * loop one by one, or a loop that is a recurrent layer as one (onnx_if.c,
 * onnx_loop.c). Functions and sparse tensors are not read.
 */
#include "frontend/onnx_loop.h"

#include <string.h>

/* Elements of a row's values and of ops' tensors that any file may have; a
 * large one may have 16 for each of its bytes. */
#define FREE_ELEMENTS (1 << 20)

static bool check_model(struct fe_onnx *g)
{
    if (!g->model->graph)
        return fe_onnx_error(g, "the model has no graph");
    if (g->model->n_functions)
        return fe_onnx_error(g, "the model has functions of its own (%zu), "
                             "which are not read", g->model->n_functions);
    return true;
}

static void set_facts(struct fe_onnx *g)
{
    const char *producer = g->model->producer_name;
    const char *version = g->model->producer_version;
    ir_set_fact(g->module, "source_format", "onnx");
    if (producer && *producer && strlen(producer) < 200 &&
        (!version || strlen(version) < 200))
        ir_set_fact(g->module, "source_version",
                    ir_sprintf(&g->scratch, "%s%s%s", producer,
                               version && *version ? " " : "",
                               version ? version : ""));
}

static bool start(struct fe_onnx *g)
{
    return check_model(g) && fe_onnx_check_ops(g) && fe_onnx_read_opsets(g) &&
           fe_onnx_sort(g);
}

/* Builds the module with the batch as g->batch says; NULL with messages. What
 * was built before is forgotten. */
static struct ir_module *build(struct fe_onnx *g, const struct ir_file *file)
{
    ir_arena_release(&g->scratch);
    ir_arena_init(&g->scratch);
    g->node = NULL;
    g->within = NULL;
    g->subgraphs_left = FE_ONNX_MAX_SUBGRAPHS;
    g->reads = NULL;
    g->n_reads = g->reads_size = 0;
    g->words = NULL;
    g->n_ensembles = 0;
    g->raw = g->leaf = NULL;
    g->module = ir_module_new(fe_name_of(&g->scratch, file->path));
    g->module_path = ir_strdup(&g->module->arena, file->path);
    g->elements_limit = g->elements_left = g->trials_left = FREE_ELEMENTS;
    fe_onnx_allow_elements(g, file->size);
    for (int i = 0; i < g->n_files; i++)
        fe_onnx_allow_elements(g, g->files[i].file.size);
    g->values_left = IR_MAX_VALUES;
    set_facts(g);
    if (fe_onnx_build(g) && ir_verify(g->module, g->diag))
        return g->module;
    ir_module_free(g->module);
    return NULL;
}

/* Sizes that are given need not be a batch's: then one row is all of it. */
static struct ir_module *build_any(struct fe_onnx *g,
                                   const struct ir_file *file)
{
    struct fe_onnx_trial trial;
    fe_onnx_start_trial(g, &trial);
    struct ir_module *module = build(g, file);
    fe_onnx_end_trial(g, &trial);
    if (g->batch == FE_ONNX_FIRST)
        g->batch = FE_ONNX_WHOLE;
    return module ? module : build(g, file);
}

/* What a fixed number of steps says of the model. */
static void set_steps(struct ir_module *module, int64_t steps)
{
    char text[24];
    snprintf(text, sizeof(text), "%lld", (long long)steps);
    ir_set_fact(module, "time_steps", text);
}

struct ir_module *fe_import_onnx(struct ir_file file, struct ir_diag *diag)
{
    return fe_import_onnx_steps(file, 0, diag);
}

struct ir_module *fe_import_onnx_steps(struct ir_file file, int64_t steps,
                                       struct ir_diag *diag)
{
    struct fe_onnx g = {.diag = diag, .path = file.path,
                        .n_messages = diag->n_messages,
                        .steps = steps < 0 ? -steps : steps,
                        .is_memory = file.borrowed};
    ir_arena_init(&g.scratch);
    ir_arena_init(&g.kept);
    Onnx__ModelProto *model = fe_onnx_decode(&file, diag);
    g.model = model;
    struct ir_module *module =
        model && start(&g) ? build_any(&g, &file) : NULL;
    if (module && g.has_time) {
        set_steps(module, g.steps);
    } else if (module && steps > 0) {
        ir_error(diag, ir_loc_file(file.path), "no input has an open dim of "
                 "time, of which there could be %lld steps", (long long)steps);
        ir_module_free(module);
        module = NULL;
    }
    fe_onnx_discard(model);
    fe_onnx_close_files(&g);
    ir_arena_release(&g.scratch);
    ir_file_close(&file);
    return module;
}
