/* source.c: one face for the two things that can predict, a model that is
 * interpreted and a compiled library.
 */
#include "cli/cli.h"

#include "frontend/frontend.h"

#include <stdio.h>
#include <string.h>

bool cli_is_library(const char *path, bool *is_library, struct ir_diag *diag)
{
    struct ir_file file;
    if (!ir_file_open(&file, path, diag))
        return false;
    *is_library = file.size >= 4 && memcmp(file.data, "\177ELF", 4) == 0;
    ir_file_close(&file);
    return true;
}

static bool ends_with(const char *s, const char *end)
{
    const size_t n = strlen(s), m = strlen(end);
    return n > m && !strcmp(s + n - m, end);
}

bool cli_is_model_name(const char *path)
{
    return ends_with(path, ".tn") || ends_with(path, ".tnir");
}

bool cli_write_model(struct ir_module *module, const char *path,
                     struct ir_diag *diag)
{
    const bool is_text = ends_with(path, ".tnir");
    struct ir_text bytes;
    struct cli_signals signals;
    ir_text_init(&bytes);
    ir_renumber(module);
    if (is_text)
        ir_print(module, &bytes);
    else
        ir_container_encode(module, &bytes);
    path = cli_resolve(&diag->arena, path);
    cli_signals_hold(&signals);
    const bool good = ir_file_write(path, bytes.data, bytes.length, diag);
    cli_signals_release(&signals);
    ir_text_release(&bytes);
    return good;
}

void cli_source_of_module(struct cli_source *source,
                          struct ir_module *module)
{
    *source = (struct cli_source){
        .module = module, .n_columns = module->n_columns,
        .columns = module->columns, .n_elements = ir_row_elements(module),
        .n_results = module->n_outputs};
    ir_arena_init(&source->arena);
    source->results = ir_alloc_array(&source->arena,
                                     (size_t)module->n_outputs,
                                     sizeof(*source->results));
    for (int i = 0; i < module->n_outputs; i++) {
        const struct ir_output *o = &module->outputs[i];
        source->results[i] = (struct cli_result){
            o->name, o->value->type.dtype, ir_type_volume(&o->value->type),
            o->n_labels, (const char *const *)o->labels};
    }
}

static struct ir_column *library_columns(struct ir_arena *arena,
                                         const struct tn_model *model)
{
    struct ir_column *columns =
        ir_alloc_array(arena, model->n_columns, sizeof(*columns));
    for (uint32_t i = 0; i < model->n_columns; i++) {
        const struct tn_column *c = &model->columns[i];
        const char **names = NULL;
        if (c->categories) {
            names = ir_alloc_array(arena, c->n_categories, sizeof(*names));
            for (uint32_t k = 0; k < c->n_categories; k++)
                names[k] = c->categories[k];
        }
        columns[i] = (struct ir_column){
            .name = c->name,
            .kind = c->kind == TN_NUMBER ? IR_NUMBER
                  : c->kind == TN_CATEGORY ? IR_CATEGORY : IR_TENSOR_COLUMN,
            .n_elements = c->n_elements,
            .n_categories = names ? (int)c->n_categories : 0,
            .categories = names};
    }
    return columns;
}

void cli_source_of_library(struct cli_source *source,
                           struct rt_library library)
{
    const struct tn_model *model = library.model;
    *source = (struct cli_source){
        .library = library, .n_columns = (int)model->n_columns,
        .n_elements = model->n_elements, .n_results = (int)model->n_outputs};
    ir_arena_init(&source->arena);
    source->columns = library_columns(&source->arena, model);
    source->results = ir_alloc_array(&source->arena, model->n_outputs,
                                     sizeof(*source->results));
    for (uint32_t i = 0; i < model->n_outputs; i++) {
        const struct tn_output *o = &model->outputs[i];
        source->results[i] = (struct cli_result){
            o->name, o->dtype == TN_F32 ? IR_F32
                   : o->dtype == TN_F64 ? IR_F64 : IR_I32,
            o->n_elements, (int)o->n_labels, o->labels};
    }
}

static bool is_contribution(const char *name)
{
    return name && !strcmp(name, "contribution");
}

static bool parse_early_stop(const char *text, int64_t *every, double *margin)
{
    const char *colon = strchr(text, ':');
    return colon && ir_parse_int(text, colon, every) && *every >= 1 &&
           *every <= IR_MAX_ELEMENTS &&
           ir_parse_double(colon + 1, colon + strlen(colon), margin) &&
           *margin >= 0;
}

bool cli_early_stop_fits(const struct cli_command *command, const char *text)
{
    int64_t every;
    double margin;
    if (!text || parse_early_stop(text, &every, &margin))
        return true;
    cli_usage_error(command, "option --early-stop: \"%s\" is no N:MARGIN, "
                    "with N from 1 to %d and a margin of at least 0", text,
                    IR_MAX_ELEMENTS);
    return false;
}

bool cli_stop_early(struct ir_module *module, const char *text,
                    struct ir_diag *diag)
{
    int64_t every;
    double margin;
    if (!text)
        return true;
    if (!parse_early_stop(text, &every, &margin))
        ir_bug("--early-stop %s was not looked at", text);
    const unsigned before = diag->n_messages;
    if (ir_stop_early(module, every, margin, diag))
        return true;
    cli_blame_option(diag, before, "early-stop");
    return false;
}

bool cli_keep_outputs(struct ir_module *module, const char *list,
                      struct ir_diag *diag)
{
    int n = 0;
    const char **name = list ? cli_split(&module->arena, list, &n) : NULL;
    const unsigned before = diag->n_messages;
    bool good = true;
    for (int i = 0; good && i < n; i++)
        good = !is_contribution(name[i]) || ir_add_contributions(module, diag);
    good = good && (!list || ir_keep_outputs(module, n, name, diag));
    if (!good)
        cli_blame_option(diag, before, "outputs");
    return good;
}

static int open_library(struct cli_source *source, const char *path,
                        struct ir_diag *diag)
{
    struct rt_library library;
    if (!rt_library_open(&library, path)) {
        ir_error(diag, ir_loc_file(NULL), "%s", library.error);
        return CLI_BAD_INPUT;
    }
    cli_source_of_library(source, library);
    return CLI_OK;
}

static int open_model(struct cli_source *source, const char *path,
                      const char *output, const char *early_stop,
                      int64_t time, const struct cli_build *build,
                      struct ir_diag *diag)
{
    struct ir_module *module;
    int code = cli_read_model(&module, path, time, diag);
    const unsigned before = diag->n_messages;
    if (code != CLI_OK)
        return code;
    if (is_contribution(output) && !ir_add_contributions(module, diag))
        code = cli_blame_option(diag, before, "output");
    else if (!cli_stop_early(module, early_stop, diag))
        code = CLI_BAD_USAGE;
    else if (build)
        code = cli_check_strategies(module, build, diag);
    if (code == CLI_OK)
        cli_source_of_module(source, module);
    else
        ir_module_free(module);
    return code;
}

int cli_source_open(struct cli_source *source, const char *path,
                    const char *output, const char *early_stop, int64_t time,
                    const struct cli_build *build, struct ir_diag *diag)
{
    bool is_library;
    if (!cli_is_library(path, &is_library, diag))
        return CLI_BAD_INPUT;
    if (!is_library)
        return open_model(source, path, output, early_stop, time, build, diag);
    const int code = cli_refuse_compiled(path, early_stop, time, build, diag);
    return code == CLI_OK ? open_library(source, path, diag) : code;
}

void cli_source_close(struct cli_source *source)
{
    ir_arena_release(&source->arena);
    if (source->module)
        ir_module_free(source->module);
    rt_library_close(&source->library);
}

int cli_source_find(const struct cli_source *source, const char *name,
                    struct ir_diag *diag)
{
    struct ir_text known;
    ir_text_init(&known);
    for (int i = 0; i < source->n_results; i++) {
        if (!name || !strcmp(source->results[i].name, name)) {
            ir_text_release(&known);
            return i;
        }
        ir_text_printf(&known, "%s%s", i ? ", " : "",
                       source->results[i].name);
    }
    ir_error(diag, ir_loc_file(NULL),
             "option --output: there is no output named \"%s\" (there are: "
             "%s)", name ? name : "", known.length ? known.data : "none");
    ir_text_release(&known);
    return -1;
}

static const char *status_text(int status)
{
    switch (status) {
    case TN_BAD_OUTPUT: return "no such output";
    case TN_BAD_SCRATCH: return "no scratch memory";
    case TN_BAD_CPU: return "this CPU runs none of its ISA levels";
    default: return "out of memory or threads";
    }
}

bool cli_source_predict(const struct cli_source *source, int result,
                        const double *rows, int64_t n, void *out,
                        int n_threads, struct ir_diag *diag)
{
    if (source->module) {
        const struct ir_rows batch = {IR_F64, rows, n, source->n_elements, 1};
        ir_eval(source->module, result, &batch, out);
        return true;
    }
    const int status = rt_predict(source->library.model, (uint32_t)result,
                                  TN_F64, rows, (uint64_t)n,
                                  source->n_elements, 1, out, n_threads);
    return status == TN_OK ||
           ir_error(diag, ir_loc_file(NULL), "the library cannot predict: %s",
                    status_text(status));
}

void cli_put_number(struct ir_text *text, enum ir_dtype dtype,
                    const void *array, size_t i)
{
    switch (dtype) {
    case IR_F32: ir_text_float(text, ((const float *)array)[i]); break;
    case IR_F64: ir_text_double(text, ((const double *)array)[i]); break;
    case IR_I32:
        ir_text_printf(text, "%d", (int)((const int32_t *)array)[i]);
        break;
    default: ir_bug("an output of type %s", ir_dtype_name(dtype));
    }
}
