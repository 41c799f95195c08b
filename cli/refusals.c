/* refusals.c: options that could have no effect, or none that was meant, are
 * refused: of a library what would have been said of its model, of a model what
 * only another kind of model has. Each message names the option.
 */
#include "cli/cli.h"

#include "backend/backend.h"
#include "frontend/frontend.h"
#include "passes/passes.h"

#include <string.h>

int cli_blame_option(struct ir_diag *diag, unsigned before, const char *option)
{
    for (unsigned i = before; i < diag->n_messages; i++)
        diag->message[i] = ir_sprintf(&diag->arena, "option --%s: %s", option,
                                      diag->message[i]);
    return CLI_BAD_USAGE;
}

/* ------------------------------------------------- models and libraries -- */

int cli_read_model(struct ir_module **module, const char *path, int64_t time,
                   struct ir_diag *diag)
{
    const unsigned before = diag->n_messages;
    *module = fe_import_steps(path, time, diag);
    if (*module)
        return CLI_OK;
    if (time <= 0)
        return CLI_BAD_INPUT;
    /* Is it the model's fault, or is its time of a given length, or the time
     * too long? */
    const unsigned said = diag->n_messages;
    struct ir_module *other = fe_import_steps(path, -time, diag);
    other = other ? other : fe_import_steps(path, -1, diag);
    diag->n_messages = said;
    if (!other)
        return CLI_BAD_INPUT;
    ir_module_free(other);
    return cli_blame_option(diag, before, "time");
}

/* The first option that says how a model is to be read or compiled; NULL when
 * there is none. */
static const char *model_option(const char *early_stop, int64_t time,
                                const struct cli_build *build)
{
    return early_stop ? "early-stop"
           : time ? "time"
           : !build ? NULL
           : build->cpus ? "cpu"
           : build->strategy ? "strategy"
           : build->row_strategy ? "row-strategy"
           : build->few_rows ? "few-rows"
           : build->winograd ? "winograd" : NULL;
}

int cli_refuse_compiled(const char *path, const char *early_stop,
                        int64_t time, const struct cli_build *build,
                        struct ir_diag *diag)
{
    const char *option = model_option(early_stop, time, build);
    if (!option)
        return CLI_OK;
    ir_error(diag, ir_loc_file(path), "option --%s is for models: this is a "
             "library, which is as it was compiled", option);
    return CLI_BAD_USAGE;
}

/* ------------------------------------------------------------- machines -- */

static int check_machine(const char *target, const char *cpus,
                         struct ir_diag *diag)
{
    const struct be_options options = {.target = target, .cpus = cpus};
    const unsigned before = diag->n_messages;
    if (!be_has_target(target, diag))
        return cli_blame_option(diag, before, "target");
    if (!be_has_levels(&options, diag))
        return cli_blame_option(diag, before, "cpu");
    return CLI_OK;
}

/* ----------------------------------------------------------- strategies -- */

bool cli_has_forest(const struct ir_module *module)
{
    for (int i = 0; i < module->n_ops; i++)
        if (module->ops[i]->kind == IR_OP_trees ||
            module->ops[i]->kind == IR_OP_forest)
            return true;
    return false;
}

int cli_check_build(const char *target, const struct cli_build *build,
                    struct ir_diag *diag)
{
    const unsigned before = diag->n_messages;
    const int code = check_machine(target, build->cpus, diag);
    if (code != CLI_OK)
        return code;
    if (!pass_check_strategy(build->strategy, false, diag))
        return cli_blame_option(diag, before, "strategy");
    if (!pass_check_strategy(build->row_strategy, true, diag))
        return cli_blame_option(diag, before, "row-strategy");
    return CLI_OK;
}

int cli_check_strategies(const struct ir_module *module,
                         const struct cli_build *build, struct ir_diag *diag)
{
    const char *option = build->strategy ? "strategy"
                         : build->row_strategy ? "row-strategy"
                         : build->few_rows ? "few-rows" : NULL;
    if (!option || cli_has_forest(module))
        return CLI_OK;
    ir_error(diag, ir_loc_file(NULL), "option --%s is for trees: the model "
             "has none", option);
    return CLI_BAD_USAGE;
}
