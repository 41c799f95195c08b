/* cmd_compile.c: `treenail compile`, which reads as the architecture:
 * cli_read_model -> pass_run_all -> be_compile -> be_write.
 */
#include "cli/cli.h"

#include "backend/backend.h"
#include "passes/passes.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct options {
    const char *output, *emit, *target, *cpus, *name, *outputs, *early_stop;
    const char *strategy, *row_strategy, *winograd, *print_after;
    int64_t golden, few_rows, time;
    bool tune, streaming, verify_each, diff_each, verbose;
    struct cli_precision precision;
};

static const struct cli_option table[] = {
    CLI_TEXT(output, "output", 'o', "FILE",
             "what to write; its ending decides the kind, and\n"
             "the header is written beside a library; - with\n"
             "--emit of one kind is standard output"),
    CLI_TEXT(emit, "emit", 0, "K,K",
             "the kinds to write instead, beside each other:\n"
             "so, a, o, wasm, ll, asm, h, ir"),
    CLI_TEXT(target, "target", 0, "T",
             "x86_64-linux-gnu (default), aarch64-linux-gnu,\n"
             "riscv64-linux-gnu (with vectors) or wasm32 (with\n"
             "SIMD128)"),
    CLI_TEXT(cpus, "cpu", 0, "LIST",
             "ISA levels to hold, separated by commas\n"
             "(default: all of the target)"),
    CLI_TEXT(name, "name", 0, "N",
             "prefix of the library's symbols, a C identifier\n"
             "(default: made of the model's name)"),
    CLI_TEXT(outputs, "outputs", 0, "A,B",
             "keep only these outputs, contribution among them if\n"
             "named (default: all the others)"),
    CLI_EARLY_STOP(early_stop),
    CLI_PRECISION(precision),
    CLI_WINOGRAD(winograd),
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
    CLI_TUNE(tune),
    CLI_FLAG(streaming, "streaming", 0,
             "also export functions that take a sequence one time\n"
             "step at a time, with a state of the caller's"),
    CLI_TIME(time),
    CLI_INT(golden, "golden", 0, "N", 1, 65536,
            "rows embedded for the self-test (default 16, of large\n"
            "nets fewer)"),
    CLI_TEXT(print_after, "print-after", 0, "P",
             "print the IR after these passes, or all"),
    CLI_FLAG(verify_each, "verify-each", 0, "check the IR after each pass"),
    CLI_FLAG(diff_each, "diff-each", 0,
             "compare answers before and after each pass"),
    CLI_FLAG(verbose, "verbose", 'v',
             "say what was written, and how long it took"),
};

/* -------------------------------------------------------- which files -- */

struct file {
    enum be_kind kind;
    const char *path;
};

/* The kind that a path's ending names: 'ending' is where it starts. */
static bool kind_of_path(const char *path, enum be_kind *kind,
                         const char **ending)
{
    for (int k = 0; k < BE_N_KINDS; k++) {
        const char *suffix = be_kind_suffix((enum be_kind)k);
        const size_t n = strlen(path), m = strlen(suffix);
        if (n > m && !strcmp(path + n - m, suffix)) {
            *kind = (enum be_kind)k;
            *ending = path + n - m;
            return true;
        }
    }
    return false;
}

/* One file of kind `kind`: `path` itself when its ending says so, or says
 * nothing and no other file needs its name; else its stem with this kind's
 * ending. */
static struct file file_of(struct ir_arena *arena, const char *path,
                           enum be_kind kind, bool alone)
{
    enum be_kind own = kind;
    const char *ending = path + strlen(path);
    const bool known = kind_of_path(path, &own, &ending);
    if (own == kind && (known || alone))
        return (struct file){kind, path};
    return (struct file){kind, ir_sprintf(arena, "%.*s%s",
                                          (int)(ending - path), path,
                                          be_kind_suffix(kind))};
}

static int emitted_files(struct ir_arena *arena, const struct options *o,
                         struct file *files, int *n)
{
    int n_names;
    const char **name = cli_split(arena, o->emit, &n_names);
    bool seen[BE_N_KINDS] = {false};
    for (int i = 0; i < n_names; i++) {
        enum be_kind kind;
        if (!be_kind_parse(name[i], strlen(name[i]), &kind))
            return cli_usage_error(&cli_compile, "unknown kind \"%s\" "
                                   "(there are: so, a, o, wasm, ll, asm, h, "
                                   "ir)", name[i]);
        if (!seen[kind])
            files[(*n)++] = file_of(arena, o->output, kind, n_names == 1);
        seen[kind] = true;
    }
    return CLI_OK;
}

static int choose_files(struct ir_arena *arena, const struct options *o,
                        struct file *files, int *n)
{
    if (o->emit)
        return emitted_files(arena, o, files, n);
    enum be_kind kind;
    const char *ending;
    if (!kind_of_path(o->output, &kind, &ending))
        return cli_usage_error(&cli_compile, "%s has no ending that names a "
                               "kind (.so, .a, .o, .wasm, .ll, .s, .h, .tnir); "
                               "see --emit", o->output);
    files[(*n)++] = (struct file){kind, o->output};
    if (be_kind_is_native(kind))
        files[(*n)++] = file_of(arena, o->output, BE_H, false);
    return CLI_OK;
}

static bool is_standard_output(const struct file *file)
{
    return !strcmp(file->path, "-");
}

/* The target has files of the kind. */
static int check_kind(const struct options *o, const struct file *file)
{
    const char *kind = be_kind_name(file->kind);
    if (be_has_kind(o->target, file->kind))
        return CLI_OK;
    if (o->target)
        return cli_usage_error(&cli_compile, "option --target: %s has no files "
                               "of kind %s (%s)", o->target, kind, file->path);
    return cli_usage_error(&cli_compile, "%s: files of kind %s are for "
                           "--target wasm32", file->path, kind);
}

/* What stands in the way of writing a file, before there is work to lose. */
static int check_file(const struct file *file, const char *model,
                      struct ir_diag *diag)
{
    const bool is_linked =
        be_kind_is_native(file->kind) && file->kind != BE_O;
    if (is_standard_output(file) && is_linked)
        return cli_usage_error(&cli_compile, "the kind %s is not written to "
                               "standard output", be_kind_name(file->kind));
    if (cli_is_same_file(file->path, model))
        return cli_usage_error(&cli_compile, "%s is the model itself",
                               file->path);
    struct stat st;
    const char *path = cli_resolve(&diag->arena, file->path);
    if (is_standard_output(file) && stat(path, &st) == 0 &&
        !S_ISREG(st.st_mode))
        return CLI_OK;
    return cli_can_write(path, diag) ? CLI_OK : CLI_BAD_INPUT;
}

/* A model's name is made into an identifier; the user's own must be one. */
static int check_name(struct ir_arena *arena, const char *name)
{
    const char *identifier = name ? be_identifier(arena, name) : NULL;
    if (!name || !strcmp(name, identifier))
        return CLI_OK;
    return cli_usage_error(&cli_compile, "option --name: \"%s\" cannot be the "
                           "prefix of C names (%s can)", name, identifier);
}

static int check_options(struct ir_arena *arena, const struct options *o)
{
    if (!o->output)
        return cli_usage_error(&cli_compile, "-o FILE is missing");
    if (!strcmp(o->output, "-") && o->emit && strchr(o->emit, ','))
        return cli_usage_error(&cli_compile, "of several kinds (%s) none goes "
                               "to standard output", o->emit);
    if (o->tune && !be_is_first_target(o->target))
        return cli_usage_error(&cli_compile, "--tune measures on this machine: "
                               "it excludes --target %s, whose code runs "
                               "elsewhere", o->target);
    if (!cli_precision_fits(&cli_compile, &o->precision) ||
        !cli_early_stop_fits(&cli_compile, o->early_stop) ||
        !cli_winograd_fits(&cli_compile, o->winograd))
        return CLI_BAD_USAGE;
    return check_name(arena, o->name);
}

/* ---------------------------------------------------------- compiling -- */

/* The stages, for --verbose and for who waits at a terminal. */
struct clock {
    double start, last;
    const char *stage; /* that is running; NULL before the first */
    struct ir_text text;
    struct cli_progress progress;
};

/* Ends the stage that is running and begins the next; NULL ends it all. */
static void next_stage(struct clock *clock, const char *stage)
{
    const double now = cli_seconds();
    if (clock->stage)
        ir_text_printf(&clock->text, "%s%s %.3f s",
                       clock->text.length ? ", " : "", clock->stage,
                       now - clock->last);
    clock->last = now;
    clock->stage = stage;
    if (stage)
        cli_progress_stage(&clock->progress, stage);
    else
        cli_progress_clear(&clock->progress);
}

/* Temporary files are left behind by no interrupt: it waits for the writing,
 * which is quick once the code is there. */
static bool write_files(struct be_artifact *artifact, const struct file *files,
                        int n, struct ir_diag *diag)
{
    struct cli_signals signals;
    bool good = true;
    for (int i = 0; i < n && good; i++)
        if (be_kind_is_native(files[i].kind))
            good = be_generate(artifact, diag);
    cli_signals_hold(&signals);
    for (int i = 0; i < n && good; i++)
        good = be_write(artifact, files[i].kind,
                        cli_resolve(&diag->arena, files[i].path), diag);
    cli_signals_release(&signals);
    return good;
}

/* Of an open dim of time, for the functions that take all of a sequence, in a
 * library whose steps have no end. */
enum { default_steps = 16 };

static struct cli_build build_of(const struct options *o)
{
    return (struct cli_build){.cpus = o->cpus, .strategy = o->strategy,
                              .row_strategy = o->row_strategy,
                              .few_rows = o->few_rows};
}

/* Returns an exit code: the model's own faults come up as it is read, and
 * those of the options after. */
static int compile(const char *path, const struct options *o,
                   const struct file *files, int n_files, struct clock *clock,
                   struct ir_diag *diag)
{
    struct be_options backend = {
        .name = o->name, .target = o->target, .cpus = o->cpus,
        .n_golden = (int)o->golden};
    const struct pass_options passes = {
        .print_after = o->print_after, .print_to = stderr,
        .verify_each = o->verify_each, .diff_each = o->diff_each,
        .diff_rows = 256, .seed = 1, .strategy = o->strategy,
        .row_strategy = o->row_strategy, .few_rows = o->few_rows,
        .machines = cli_machines(&backend)};
    const struct cli_build build = build_of(o);
    struct ir_module *module = NULL, *source;
    struct be_artifact *artifact = NULL;
    struct ir_stream *stream = NULL;
    int code;

    next_stage(clock, "reading");
    /* A model that streams takes sequences of any length all the same. */
    const int64_t steps = o->time || !o->streaming ? o->time : -default_steps;
    code = cli_read_model(&source, path, steps, diag);
    if (code != CLI_OK)
        return code;
    if (!cli_stop_early(source, o->early_stop, diag) ||
        !cli_keep_outputs(source, o->outputs, diag))
        code = CLI_BAD_USAGE;
    if (code == CLI_OK)
        code = cli_check_strategies(source, &build, diag);
    if (code == CLI_OK && o->precision.precision) {
        next_stage(clock, "precision");
        code = cli_lower_precision(source, &o->precision, diag);
    }
    if (code == CLI_OK)
        code = cli_choose_winograd(source, o->winograd, o->streaming, diag);
    if (code == CLI_OK && o->tune) {
        next_stage(clock, "tuning");
        code = cli_tune(source, o->cpus, diag);
    }
    if (code == CLI_OK) {
        next_stage(clock, "passes");
        module = ir_module_clone(source);
        if (!pass_run_all(module, &passes, diag))
            code = cli_blame_passes(source, NULL, &passes);
    }
    if (code == CLI_OK && o->streaming)
        code = cli_stream(&stream, source, &passes, diag);
    backend.stream = stream;
    if (code == CLI_OK) {
        next_stage(clock, "emitting");
        artifact = be_compile(source, module, &backend, diag);
        if (!artifact)
            code = CLI_BAD_USAGE;
    }
    if (code == CLI_OK) {
        next_stage(clock, "code generation");
        if (!write_files(artifact, files, n_files, diag))
            code = CLI_BAD_INPUT;
    }

    be_free(artifact);
    pass_stream_free(stream);
    if (module)
        ir_module_free(module);
    ir_module_free(source);
    return code;
}

static void say_what_was_written(const struct file *files, int n,
                                 const struct clock *clock)
{
    char size[32];
    for (int i = 0; i < n; i++)
        if (!is_standard_output(&files[i]))
            fprintf(stderr, "wrote %s (%s)\n", files[i].path,
                    cli_size_text(cli_file_size(files[i].path), size));
    fprintf(stderr, "%.2f s: %s\n", cli_seconds() - clock->start,
            clock->text.data);
}

static int run(int argc, char **argv)
{
    struct options o = {0};
    struct cli_line line;
    if (!cli_parse(&cli_compile, argc, argv, &o, &line))
        return line.exit_code;
    struct ir_diag diag;
    ir_diag_init(&diag);
    struct file files[BE_N_KINDS];
    int n_files = 0;
    const struct cli_build build = build_of(&o);
    int code = cli_check_build(o.target, &build, &diag);
    if (code == CLI_OK)
        code = check_options(&diag.arena, &o);
    if (code == CLI_OK)
        code = choose_files(&diag.arena, &o, files, &n_files);
    for (int i = 0; i < n_files && code == CLI_OK; i++)
        code = check_kind(&o, &files[i]);
    for (int i = 0; i < n_files && code == CLI_OK; i++)
        code = check_file(&files[i], line.argument[0], &diag);
    if (code != CLI_OK)
        return cli_finish(&diag, code);
    struct clock clock = {.start = cli_seconds()};
    ir_text_init(&clock.text);
    cli_progress_init(&clock.progress);
    code = compile(line.argument[0], &o, files, n_files, &clock, &diag);
    next_stage(&clock, NULL);
    if (code == CLI_OK && (o.verbose || isatty(STDERR_FILENO)))
        say_what_was_written(files, n_files, &clock);
    ir_text_release(&clock.text);
    return cli_finish(&diag, code);
}

const struct cli_command cli_compile = {
    .name = "compile",
    .summary = "Compiles a model to a native library and its C header.",
    .arguments = "MODEL -o FILE [options]",
    .min_arguments = 1, .max_arguments = 1,
    .options = table, .n_options = CLI_COUNT(table),
    .example =
        "MODEL is a file of LightGBM, XGBoost, CatBoost or ONNX, a .tn or a "
        ".tnir file; its\ncontent tells which.\n"
        "The library needs nothing at run time and runs on every CPU of its "
        "family.\n\n"
        "example: a library and a header, and the assembly to look at\n"
        "  treenail compile model.txt -o fraud.so\n"
        "  treenail compile model.txt -o fraud.so --emit so,h,asm --verbose\n",
    .run = run,
};
