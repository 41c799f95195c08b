/* build_library.c: a model compiled for this process only; and whose fault it
 * is when passes fail. */
#include "cli/cli.h"

#include "backend/backend.h"
#include "passes/passes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A message about a file that nobody asked for. */
static const char *without_path(const char *message, const char *path)
{
    const size_t n = strlen(path);
    return strncmp(message, path, n) == 0 && message[n] == ':'
               ? message + n + 2 : message;
}

/* Writes and loads. The file is unlinked as soon as it is mapped, and until
 * then an interrupt waits: nothing is left behind. */
static bool write_and_load(struct rt_library *library,
                           struct be_artifact *artifact, struct ir_diag *diag)
{
    struct ir_arena arena;
    ir_arena_init(&arena);
    const char *where = getenv("TMPDIR");
    char *directory = ir_sprintf(&arena, "%s/treenail-XXXXXX",
                                 where && *where ? where : "/tmp");
    bool good = false;
    if (!mkdtemp(directory)) {
        ir_error(diag, ir_loc_file(directory), "%s", strerror(errno));
    } else {
        const char *path = ir_sprintf(&arena, "%s/model.so", directory);
        if (be_write(artifact, BE_SO, path, diag))
            good = rt_library_open(library, path) ||
                   ir_error(diag, ir_loc_file(NULL), "%s",
                            without_path(library->error, path));
        unlink(path);
        rmdir(directory);
    }
    ir_arena_release(&arena);
    return good;
}

static bool load(struct rt_library *library, struct be_artifact *artifact,
                 struct ir_diag *diag)
{
    struct cli_signals signals;
    if (!be_generate(artifact, diag))
        return false;
    cli_signals_hold(&signals);
    const bool good = write_and_load(library, artifact, diag);
    cli_signals_release(&signals);
    return good;
}

unsigned cli_machines(const struct be_options *backend)
{
    bool plain, masked;
    be_level_kinds(backend, &plain, &masked);
    return (unsigned)plain << PASS_PLAIN | (unsigned)masked << PASS_MASKED;
}

bool cli_winograd_fits(const struct cli_command *command, const char *winograd)
{
    if (!winograd || !strcmp(winograd, "auto") || !strcmp(winograd, "on") ||
        !strcmp(winograd, "off"))
        return true;
    cli_usage_error(command, "option --winograd: \"%s\" is not auto, on or off",
                    winograd);
    return false;
}

bool cli_is_winograd_on(const char *winograd)
{
    return winograd && !strcmp(winograd, "on");
}

int cli_choose_winograd(struct ir_module *module, const char *winograd,
                        bool streams, struct ir_diag *diag)
{
    const bool on = cli_is_winograd_on(winograd);
    if (!winograd || strcmp(winograd, "off")) {
        if (streams)
            pass_choose_winograd_of_steps(module, on);
        else
            pass_choose_winograd(module, on);
    }
    if (!on)
        return CLI_OK;
    struct ir_text why;
    ir_text_init(&why);
    ir_renumber(module);
    const bool any = pass_has_winograd(module, streams, &why);
    if (!any)
        ir_error(diag, ir_loc_file(NULL), "option --winograd: on has no "
                 "effect: %s", why.data);
    ir_text_release(&why);
    return any ? CLI_OK : CLI_BAD_USAGE;
}

/* The time step of a model that has one, else NULL: most have none. Where "on"
 * would have no effect on steps it is the whole that is meant. */
static struct ir_stream *stream_of(struct ir_module *source,
                                   const char *winograd,
                                   const struct pass_options *passes)
{
    struct ir_diag diag;
    struct ir_stream *stream = NULL;
    ir_diag_init(&diag);
    if (cli_choose_winograd(source, winograd, true, &diag) == CLI_OK)
        cli_stream(&stream, source, passes, &diag);
    ir_diag_release(&diag);
    return stream;
}

int cli_build_library(struct rt_library *library, struct ir_module *source,
                      const struct cli_build *build, struct ir_diag *diag)
{
    struct be_options backend = {.cpus = build->cpus};
    const struct pass_options passes = {.strategy = build->strategy,
                                        .row_strategy = build->row_strategy,
                                        .few_rows = build->few_rows,
                                        .machines = cli_machines(&backend)};
    struct ir_stream *stream =
        build->streams ? stream_of(source, build->winograd, &passes) : NULL;
    int code = stream ? CLI_OK
                      : cli_choose_winograd(source, build->winograd, false,
                                            diag);
    if (code != CLI_OK)
        return code;
    struct cli_progress progress;
    cli_progress_init(&progress);
    cli_progress_stage(&progress, "compiling");
    struct ir_module *module = ir_module_clone(source);
    struct be_artifact *artifact = NULL;
    backend.stream = stream;
    code = CLI_BAD_USAGE; /* the backend fails by its options alone */
    if (pass_run_all(module, &passes, diag))
        artifact = be_compile(source, module, &backend, diag);
    else
        code = cli_blame_passes(source, NULL, &passes);
    if (artifact)
        code = load(library, artifact, diag) ? CLI_OK : CLI_BAD_INPUT;
    be_free(artifact);
    pass_stream_free(stream);
    ir_module_free(module);
    cli_progress_clear(&progress);
    return code;
}

/* Whether passes run on a copy of `source`; what they say was said already. */
static bool passes_run(const struct ir_module *source, const char *names,
                       const struct pass_options *options)
{
    struct ir_diag diag;
    ir_diag_init(&diag);
    struct ir_module *module = ir_module_clone(source);
    const bool good = names ? pass_run_named(module, names, options, &diag)
                            : pass_run_all(module, options, &diag);
    ir_module_free(module);
    ir_diag_release(&diag);
    return good;
}

int cli_blame_passes(const struct ir_module *source, const char *names,
                     const struct pass_options *options)
{
    struct pass_options unchecked = *options;
    unchecked.verify_each = unchecked.diff_each = false;
    unchecked.print_after = NULL;
    if ((options->verify_each || options->diff_each) &&
        passes_run(source, names, &unchecked))
        return CLI_CHECK_FAILED;
    const struct pass_options none = {0};
    return passes_run(source, NULL, &none) ? CLI_BAD_USAGE : CLI_BAD_INPUT;
}
