/* cmd_opt.c: `treenail opt`, which runs passes and shows the IR.
 *
 * Without passes it converts: any model to text, or to a .tn file.
 */
#include "cli/cli.h"

#include "backend/backend.h"
#include "frontend/frontend.h"
#include "passes/passes.h"

#include <string.h>

struct options {
    const char *passes, *print_after, *output, *outputs, *early_stop;
    const char *strategy, *row_strategy, *winograd, *cpus;
    int64_t diff_rows, few_rows, time;
    bool verify_each, diff_each, tune, costs, step, start;
    struct cli_precision precision;
};

static const struct cli_option table[] = {
    CLI_TEXT(passes, "passes", 'p', "LIST",
             "run these passes in this order, or all\n"
             "(default: none)"),
    CLI_TEXT(output, "output", 'o', "FILE",
             "write there: .tn the container, .tnir the text\n"
             "(default: the text, on standard output)"),
    CLI_TEXT(outputs, "outputs", 0, "A,B",
             "keep only these outputs, contribution among them if\n"
             "named (default: all the others)"),
    CLI_EARLY_STOP(early_stop),
    CLI_PRECISION(precision),
    CLI_TEXT(winograd, "winograd", 0, "W",
             "first choose as compile does which convolutions have\n"
             "fewer multiplications: auto, on or off (default)"),
    CLI_TIME(time),
    CLI_FLAG(step, "step", 0,
             "the model's time step instead, as --streaming of\n"
             "compile has it: of it are the passes and the text"),
    CLI_FLAG(start, "start", 0,
             "likewise what its state starts from, of the inputs\n"
             "that have no steps"),
    CLI_TUNE(tune),
    CLI_TEXT(cpus, "cpu", 0, "LIST",
             "the ISA levels that the strategies are chosen for, and\n"
             "measured at (default: x86-64-v2,x86-64-v3,x86-64-v4)"),
    CLI_FLAG(costs, "costs", 0,
             "print, instead of the IR, what the cost model makes\n"
             "of the forests (needs --passes all), as JSON"),
    CLI_TEXT(print_after, "print-after", 0, "P",
             "print the IR after these passes, or all, on\nstandard error"),
    CLI_FLAG(verify_each, "verify-each", 0, "check the IR after each pass"),
    CLI_FLAG(diff_each, "diff-each", 0,
             "compare answers before and after each pass"),
    CLI_INT(diff_rows, "diff-rows", 0, "N", 1, 1e9,
            "rows that --diff-each compares (default 256)"),
    CLI_TEXT(strategy, "strategy", 0, "S",
             "force how batches are computed: select, slice,\n"
             "oblivious, match16, match32, raw8, raw16, branch\n"
             "or walk"),
    CLI_TEXT(row_strategy, "row-strategy", 0, "S",
             "force how one row is computed: match16, match32,\n"
             "raw8, raw16, oblivious, branch or walk"),
    CLI_INT(few_rows, "few-rows", 0, "N", 1, 65536,
            "force how many rows are no longer few: what is less\n"
            "is done one by one"),
};

static void print_passes(FILE *to)
{
    fputs("\npasses, in the order in which compile runs them:\n", to);
    for (int i = 0; i < pass_count; i++)
        fprintf(to, "  %-22s  %s\n", pass_table[i].name,
                pass_table[i].summary);
}

/* Puts the model's time step, or what that starts from, in its place. */
static bool take_step(struct ir_module **module, bool start,
                      struct ir_diag *diag)
{
    struct ir_text why;
    ir_text_init(&why);
    struct ir_stream *stream = pass_stream(*module, &why);
    const struct ir_module *part =
        !stream ? NULL : start ? stream->start : stream->step;
    struct ir_module *taken = part ? ir_module_clone(part) : NULL;
    if (!stream)
        cli_no_step(why.data, diag);
    else if (!taken)
        ir_error(diag, ir_loc_file(NULL),
                 "a state has nothing to start from: all inputs have steps");
    pass_stream_free(stream);
    ir_text_release(&why);
    if (taken) {
        ir_module_free(*module);
        *module = taken;
    }
    return taken != NULL;
}

/* Returns an exit code, as compile does. */
static int change(struct ir_module **at, const struct options *o,
                  struct ir_diag *diag)
{
    struct ir_module *module = *at;
    const struct be_options backend = {.cpus = o->cpus};
    const struct pass_options passes = {
        .print_after = o->print_after, .print_to = stderr,
        .verify_each = o->verify_each, .diff_each = o->diff_each,
        .diff_rows = o->diff_rows ? o->diff_rows : 256, .seed = 1,
        .strategy = o->strategy,
        .row_strategy = o->row_strategy, .few_rows = o->few_rows,
        .machines = cli_machines(&backend)};
    if (!cli_stop_early(module, o->early_stop, diag) ||
        !cli_keep_outputs(module, o->outputs, diag))
        return CLI_BAD_USAGE;
    const int lowered = cli_lower_precision(module, &o->precision, diag);
    if (lowered != CLI_OK)
        return lowered;
    const int chosen =
        o->winograd ? cli_choose_winograd(module, o->winograd, false, diag)
                    : CLI_OK;
    if (chosen != CLI_OK)
        return chosen;
    if ((o->step || o->start) && !take_step(at, o->start, diag))
        return CLI_BAD_USAGE;
    module = *at;
    const int tuned = o->tune ? cli_tune(module, o->cpus, diag) : CLI_OK;
    if (!o->passes || tuned != CLI_OK)
        return tuned;
    const char *names = strcmp(o->passes, "all") ? o->passes : NULL;
    struct ir_module *before = ir_module_clone(module);
    const bool good = names ? pass_run_named(module, names, &passes, diag)
                            : pass_run_all(module, &passes, diag);
    const int code = good ? CLI_OK
                          : cli_blame_passes(before, names, &passes);
    ir_module_free(before);
    return code;
}

static bool print_text(struct ir_module *module, bool costs,
                       struct ir_diag *diag)
{
    struct cli_output output;
    if (costs) {
        cli_print_costs(module);
        return true;
    }
    if (!cli_output_open(&output, NULL, diag))
        return false;
    struct ir_text text;
    ir_text_init(&text);
    ir_renumber(module);
    ir_print(module, &text);
    fwrite(text.data, 1, text.length, output.file);
    ir_text_release(&text);
    return cli_output_close(&output, diag);
}

static int convert(const char *path, const struct options *o,
                   struct ir_diag *diag)
{
    const struct cli_build build = {
        .cpus = o->cpus, .strategy = o->strategy,
        .row_strategy = o->row_strategy, .few_rows = o->few_rows};
    struct ir_module *module = NULL;
    int code = cli_check_build(NULL, &build, diag);
    if (code == CLI_OK)
        code = cli_read_model(&module, path, o->time, diag);
    if (code != CLI_OK)
        return code;
    code = cli_check_strategies(module, &build, diag);
    if (code == CLI_OK)
        code = change(&module, o, diag);
    bool good = true;
    if (code == CLI_OK)
        good = o->output ? cli_can_write(cli_resolve(&diag->arena,
                                                     o->output), diag) &&
                           cli_write_model(module, o->output, diag)
                         : print_text(module, o->costs, diag);
    ir_module_free(module);
    return good ? code : CLI_BAD_INPUT;
}

/* Whether a pass is among those that are run. */
static bool runs(const struct options *o, const char *pass)
{
    if (o->passes && !strcmp(o->passes, "all"))
        return true;
    const size_t length = strlen(pass);
    for (const char *at = o->passes; at; at = strchr(at, ',')) {
        at += *at == ',';
        if (!strncmp(at, pass, length) && (!at[length] || at[length] == ','))
            return true;
    }
    return false;
}

/* What is said of passes that are not run would have no effect. */
static int check_passes(const struct options *o)
{
    const char *any = o->print_after ? "print-after"
                      : o->verify_each ? "verify-each"
                      : o->diff_each ? "diff-each" : NULL;
    const char *of_schedule = o->strategy ? "strategy"
                              : o->row_strategy ? "row-strategy"
                              : o->few_rows ? "few-rows"
                              : o->cpus && !o->tune ? "cpu" : NULL;
    if (any && !o->passes)
        return cli_usage_error(&cli_opt, "--%s needs --passes", any);
    if (of_schedule && !runs(o, "schedule"))
        return cli_usage_error(&cli_opt, "--%s is of the pass schedule, which "
                               "--passes does not run", of_schedule);
    if (o->diff_rows && !o->diff_each)
        return cli_usage_error(&cli_opt, "--diff-rows needs --diff-each");
    return CLI_OK;
}

static int check_options(const struct options *o)
{
    if (o->costs && (!o->passes || strcmp(o->passes, "all") != 0 || o->output))
        return cli_usage_error(&cli_opt, "--costs needs --passes all, and "
                               "takes the place of --output");
    if (o->output && !cli_is_model_name(o->output))
        return cli_usage_error(&cli_opt, "%s ends neither in .tn nor in "
                               ".tnir", o->output);
    if (!cli_precision_fits(&cli_opt, &o->precision) ||
        !cli_early_stop_fits(&cli_opt, o->early_stop) ||
        !cli_winograd_fits(&cli_opt, o->winograd))
        return CLI_BAD_USAGE;
    return check_passes(o);
}

static int run(int argc, char **argv)
{
    struct options o = {0};
    struct cli_line line;
    if (!cli_parse(&cli_opt, argc, argv, &o, &line))
        return line.exit_code;
    const int code = check_options(&o);
    if (code != CLI_OK)
        return code;
    struct ir_diag diag;
    ir_diag_init(&diag);
    return cli_finish(&diag, convert(line.argument[0], &o, &diag));
}

const struct cli_command cli_opt = {
    .name = "opt",
    .summary = "Runs passes over a model and prints its IR.",
    .arguments = "MODEL [options]",
    .min_arguments = 1, .max_arguments = 1,
    .options = table, .n_options = CLI_COUNT(table),
    .example =
        "example: what the scheduler decides, and a conversion\n"
        "  treenail opt model.txt --passes all --diff-each | grep strategy\n"
        "  treenail opt model.txt -o model.tn\n",
    .run = run,
    .more_help = print_passes,
};
