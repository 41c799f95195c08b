/* cli.h: what the commands share. Private to this folder.
 *
 * A command is one file, cmd_NAME.c, which defines a `struct cli_command`, and
 * one line in the table of main.c. Sections are headed by implementing file.
 */
#ifndef TREENAIL_CLI_H
#define TREENAIL_CLI_H

#include "ir/ir.h"
#include "runtime/runtime.h"
#include "trainer/trainer.h"

#include <signal.h>

/* What the process returns. */
enum cli_exit {
    CLI_OK = 0,
    CLI_BAD_INPUT = 1,   /* a file, its content, or the system */
    CLI_BAD_USAGE = 2,   /* the command line */
    CLI_CHECK_FAILED = 3 /* a comparison or a quality gate */
};

/* ----------------------------------------------------------- options.c -- */

enum cli_kind { CLI_KIND_FLAG, CLI_KIND_TEXT, CLI_KIND_INT, CLI_KIND_REAL };

/* An option of a command; its value goes to the command's own struct. */
struct cli_option {
    const char *name; /* without the dashes */
    char letter;      /* of the short form, or 0 */
    enum cli_kind kind;
    size_t offset;        /* of a bool, const char *, int64_t or double */
    const char *argument; /* as --help calls the value; NULL for a flag */
    const char *help;     /* lines of at most 52 bytes */
    double min, max;      /* of a number, both allowed */
};

/* Lines of a table; `field` is one of `struct options` where they stand. */
#define CLI_FLAG(field, name, letter, help)                                   \
    {name, letter, CLI_KIND_FLAG, offsetof(struct options, field), NULL,      \
     help, 0, 0}
#define CLI_TEXT(field, name, letter, argument, help)                         \
    {name, letter, CLI_KIND_TEXT, offsetof(struct options, field), argument, \
     help, 0, 0}
#define CLI_INT(field, name, letter, argument, min, max, help)                \
    {name, letter, CLI_KIND_INT, offsetof(struct options, field), argument,   \
     help, min, max}
#define CLI_REAL(field, name, letter, argument, min, max, help)               \
    {name, letter, CLI_KIND_REAL, offsetof(struct options, field), argument,  \
     help, min, max}
#define CLI_COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))

/* Bytes of an option's or a command's name, with its NUL. */
#define CLI_MAX_NAME 64

struct cli_command {
    const char *name;
    const char *summary;   /* one line */
    const char *arguments; /* as in "usage: treenail NAME ARGUMENTS" */
    int min_arguments, max_arguments;
    const struct cli_option *options;
    int n_options;
    const char *example; /* with what else there is to say */
    int (*run)(int argc, char **argv);
    /* Options that are not in the table and always take a value, or NULL:
     * the i-th name, false past the last; stores one in the command's struct,
     * returning an exit code; prints what --help says of them. */
    bool (*more_name)(int i, char name[CLI_MAX_NAME]);
    int (*more_take)(void *options, const char *name, const char *value);
    void (*more_help)(FILE *to);
};

#define CLI_MAX_ARGUMENTS 4

/* What cli_parse() found besides options. */
struct cli_line {
    const char *argument[CLI_MAX_ARGUMENTS + 1]; /* NULL past the last */
    int n_arguments;
    int exit_code; /* when there is nothing to run */
};

/* Reads a command's arguments; options may stand anywhere before "--". False
 * when --help was printed or the usage is wrong: return line->exit_code. */
bool cli_parse(const struct cli_command *command, int argc, char **argv,
               void *options, struct cli_line *line);
void cli_command_help(const struct cli_command *command, FILE *to);
/* "treenail NAME: text" on stderr; returns CLI_BAD_USAGE. */
int cli_usage_error(const struct cli_command *command, const char *fmt, ...)
    IR_PRINTF(2, 3);
/* Finds the name nearest to `name`; false when none is near.
 * name_at(context, i, ...) gives the i-th name, false past the last. */
typedef bool cli_name_fn(const void *context, int i, char name[CLI_MAX_NAME]);
bool cli_nearest(const char *name, cli_name_fn *name_at, const void *context,
                 char nearest[CLI_MAX_NAME]);
/* The value of --delimiter: one character, or "tab"; 0 for NULL, to be found
 * out. False for what cannot be one. */
bool cli_delimiter(const char *value, char *delimiter);
/* Cuts "a,b,c" at its commas: an array in the arena, *n long. */
const char **cli_split(struct ir_arena *arena, const char *list, int *n);

/* ------------------------------------------------------- csv_options.c -- */

/* The options that say how a CSV file is read; those that a command does not
 * have stay zeros. */
struct cli_csv {
    const char *ignore, *delimiter; /* or NULL */
    const char *label; /* one more column that is ignored, or NULL */
    bool header, no_header;
};
/* Whether they fit together; else what is wrong was printed. */
bool cli_csv_fits(const struct cli_command *command, const struct cli_csv *csv);
/* As the trainer has them, in the arena. */
struct tr_csv_options cli_csv_options(const struct cli_csv *csv,
                                      struct ir_arena *arena);
/* The exit code of what failed by these options: a column that one names and
 * the file has not is wrong usage, and the message names the option. */
int cli_blame_csv(const struct tr_csv_options *options, unsigned before,
                  struct ir_diag *diag);
/* A reader of the file's rows for a model's columns. Returns an exit code. */
int cli_open_rows(struct tr_reader **reader, const char *path,
                  const struct cli_csv *csv, int n_columns,
                  const struct ir_column *columns, struct ir_diag *diag);

/* ------------------------------------------------------------ output.c -- */

/* A file being written, which appears under its name only when it is whole;
 * or stdout; or a device or pipe, which is written to as it comes. */
struct cli_output {
    FILE *file;
    char *path;      /* owned */
    char *temporary; /* owned; to be renamed to path, NULL: written directly */
    bool nameless;   /* the file is not at `temporary` yet, nor anywhere */
};

/* path NULL or "-" is stdout. */
bool cli_output_open(struct cli_output *output, const char *path,
                     struct ir_diag *diag);
/* False, with a message, once anything could not be written. */
bool cli_output_good(const struct cli_output *output, struct ir_diag *diag);
bool cli_output_close(struct cli_output *output, struct ir_diag *diag);
/* Leaves no trace of it. */
void cli_output_abandon(struct cli_output *output);

/* Whether two paths lead to one file that is there. */
bool cli_is_same_file(const char *a, const char *b);
/* Whether a regular file could be put at `path`, asked before long work. */
bool cli_can_write(const char *path, struct ir_diag *diag);
/* Where a symbolic link leads, so that it is not the link that a new file
 * replaces; "-" leads to standard output. Owned by the arena. */
const char *cli_resolve(struct ir_arena *arena, const char *path);
/* While temporary files have names, this process does not end by an interrupt:
 * that waits until they are gone. */
struct cli_signals {
    sigset_t before;
};
void cli_signals_hold(struct cli_signals *signals);
void cli_signals_release(const struct cli_signals *signals);
/* Size of a file, for messages; 0 when it cannot be had. */
int64_t cli_file_size(const char *path);
/* "412.3 KB" */
const char *cli_size_text(int64_t bytes, char text[32]);

/* Memory for n * size bytes, zeroed, to be freed; refused with a message when
 * this machine has not as much. `what` is "rows" or the like. */
void *cli_alloc(uint64_t n, uint64_t size, const char *what,
                struct ir_diag *diag);

/* Prints the messages on stderr, releases them and returns `code`. */
int cli_finish(struct ir_diag *diag, int code);

/* ---------------------------------------------------------- progress.c -- */

double cli_seconds(void); /* since some moment */

/* One line on stderr, rewritten at most ten times a second and only when
 * stderr is a terminal. */
struct cli_progress {
    bool on;
    double start, shown; /* seconds */
};
void cli_progress_init(struct cli_progress *progress);
/* Says what is being done now, at once. */
void cli_progress_stage(struct cli_progress *progress, const char *what);
/* total 0: not known. */
void cli_progress_show(struct cli_progress *progress, const char *what,
                       double done, double total);
/* Removes the line; before anything else is printed. */
void cli_progress_clear(struct cli_progress *progress);

/* ------------------------------------------------------- json_writer.c -- */

/* Writes one JSON value, indented by two spaces. A key of NULL is for
 * elements of an array. Strings that are no UTF-8 get U+FFFD for what is not;
 * numbers that JSON has not (NaN, infinities) become null. */
struct cli_json {
    struct ir_text text;
    int depth;
    bool first; /* of its object or array */
};
void cli_json_init(struct cli_json *json);
void cli_json_release(struct cli_json *json);
void cli_json_open(struct cli_json *json, const char *key, char bracket);
void cli_json_close(struct cli_json *json, char bracket);
void cli_json_string(struct cli_json *json, const char *key, const char *s);
void cli_json_int(struct cli_json *json, const char *key, int64_t i);
void cli_json_real(struct cli_json *json, const char *key, double f);
void cli_json_bool(struct cli_json *json, const char *key, bool b);
/* Prints it on stdout, with a newline. */
void cli_json_print(struct cli_json *json);

/* ------------------------------------------------------------ source.c -- */

struct cli_result {
    const char *name;
    enum ir_dtype dtype; /* f32, f64 or i32 */
    int64_t n_elements;
    int n_labels;
    const char *const *labels;
};

/* A model to be interpreted, or a compiled library: what can predict. */
struct cli_source {
    struct ir_arena arena;
    struct ir_module *module;  /* NULL when it is a library */
    struct rt_library library; /* .model is NULL when it is a model */
    int n_columns;
    const struct ir_column *columns;
    int64_t n_elements; /* in a row */
    int n_results;
    struct cli_result *results;
};

/* Tells by the content, as everywhere. `output` (or NULL) is one that will be
 * asked for: a model has contributions only when they are. early_stop is as
 * cli_stop_early() has it, time as fe_import_steps(); these and `build` (or
 * NULL) are refused of a library. Returns an exit code. */
struct cli_build;
int cli_source_open(struct cli_source *source, const char *path,
                    const char *output, const char *early_stop, int64_t time,
                    const struct cli_build *build, struct ir_diag *diag);
/* The option --early-stop, "N:MARGIN" (NULL: none): ir_stop_early(). */
#define CLI_EARLY_STOP(field)                                                 \
    CLI_TEXT(field, "early-stop", 0, "N:M",                                   \
             "ask no further trees once a row is sure of its\n"               \
             "class: every N iterations, by a margin above M")
/* Whether the option is one; else what is wrong was printed. */
bool cli_early_stop_fits(const struct cli_command *command, const char *text);
bool cli_stop_early(struct ir_module *module, const char *text,
                    struct ir_diag *diag);
/* The option --time, of how many steps an open dim of time has. */
#define CLI_TIME(field)                                                       \
    CLI_INT(field, "time", 0, "N", 1, IR_MAX_ELEMENTS,                        \
            "steps of the sequences of an ONNX model whose dim of\n"          \
            "time is open")
/* Keeps the outputs of the list "a,b" (NULL: all); contributions are added when
 * they are named. */
bool cli_keep_outputs(struct ir_module *module, const char *list,
                      struct ir_diag *diag);
/* Makes the source of a module, which it takes over, or of a library. */
void cli_source_of_module(struct cli_source *source,
                          struct ir_module *module);
void cli_source_of_library(struct cli_source *source,
                           struct rt_library library);
void cli_source_close(struct cli_source *source);
/* The result named `name` (NULL: the first), or -1 with a message. */
int cli_source_find(const struct cli_source *source, const char *name,
                    struct ir_diag *diag);
/* Whether a path ends in .tn or .tnir. */
bool cli_is_model_name(const char *path);
/* Writes a model: as text when path ends in .tnir, else as a container. */
bool cli_write_model(struct ir_module *module, const char *path,
                     struct ir_diag *diag);
/* Whether a file starts as ELF files do. */
bool cli_is_library(const char *path, bool *is_library, struct ir_diag *diag);
/* Evaluates n rows, f64 and dense. */
bool cli_source_predict(const struct cli_source *source, int result,
                        const double *rows, int64_t n, void *out,
                        int n_threads, struct ir_diag *diag);
/* Appends element i of an array, as the shortest decimal. */
void cli_put_number(struct ir_text *text, enum ir_dtype dtype,
                    const void *array, size_t i);

/* ----------------------------------------------------- build_library.c -- */

/* The option --winograd, of which convs of a net go by Winograd's way: NULL is
 * "auto". */
#define CLI_WINOGRAD(field)                                                   \
    CLI_TEXT(field, "winograd", 0, "W",                                       \
             "fewer multiplications in convolutions, which round\n"           \
             "otherwise: auto, where that is faster (default); on,\n"         \
             "also where weights grow by much; off")
/* Whether the option is one; else a message was printed. */
bool cli_winograd_fits(const struct cli_command *command, const char *winograd);
/* `streams`: of a model that is to be taken step by step, where steps keep their
 * bits. Returns an exit code: "on" is wrong usage where no conv can. */
int cli_choose_winograd(struct ir_module *module, const char *winograd,
                        bool streams, struct ir_diag *diag);
bool cli_is_winograd_on(const char *winograd);

struct cli_build {
    const char *cpus, *strategy, *row_strategy, *winograd; /* or NULL */
    int64_t few_rows; /* or 0 */
    bool streams;     /* with functions of time steps, if there can be any */
};

/* Compiles a model and loads the library, whose file is gone again when this
 * returns. The module becomes what was compiled: unless it streams, as
 * build->winograd says. Returns an exit code. */
int cli_build_library(struct rt_library *library, struct ir_module *source,
                      const struct cli_build *build, struct ir_diag *diag);

/* The exit code for passes (NULL: all) that failed on a copy of `source`: a
 * check that failed when they run without it, bad input when they fail without
 * any option, else wrong usage. */
struct pass_options;
int cli_blame_passes(const struct ir_module *source, const char *names,
                     const struct pass_options *options);

/* --------------------------------------------------------- code_size.c -- */

/* Code of a library, by ISA level and part: "select", "entry". */
struct cli_code {
    const char *isa, *part;
    int64_t bytes;
};
struct cli_code_size {
    struct cli_code *code;
    int n;
    int64_t code_bytes, table_bytes; /* in all; constants */
};
/* Reads it off the sections of a library; what is in `size` lives in the arena.
 * All zeros for a file without sections. */
void cli_code_size(struct cli_code_size *size, const struct ir_file *file,
                   struct ir_arena *arena);

/* What the passes are told of the machines that the levels are of. */
struct be_options;
unsigned cli_machines(const struct be_options *backend);

/* ------------------------------------------------------- train_data.c -- */

/* The options of `train` that say which rows of a file are learned from. */
struct cli_data_options {
    const char *target, *weight, *category, *number;
    struct cli_csv csv;
    double test_fraction, valid_fraction;
    int64_t seed;
};

/* The parts of the data; no columns where there are no rows. */
struct cli_data {
    struct tr_frame part[TR_N_PARTS];
    bool there[TR_N_PARTS];
    int64_t n_rows;
    int n_columns;
    char sha256[65];
};

/* `params` tell whether the target is a class. `data`, zeros before, is to be
 * released either way. Returns an exit code. */
int cli_data_read(struct cli_data *data, const char *path,
                  const struct cli_data_options *o,
                  const struct tr_params *params, struct ir_diag *diag);
void cli_data_release(struct cli_data *data);

/* --------------------------------------------------------- refusals.c -- */

/* Puts "option --NAME: " before the messages past the first `before`; returns
 * CLI_BAD_USAGE. */
int cli_blame_option(struct ir_diag *diag, unsigned before,
                     const char *option);
/* fe_import_steps() with --time as it was given. Returns an exit code: a time
 * that the model has no use for is wrong usage. */
int cli_read_model(struct ir_module **module, const char *path, int64_t time,
                   struct ir_diag *diag);
/* What is for models, at a library. Returns an exit code. */
int cli_refuse_compiled(const char *path, const char *early_stop,
                        int64_t time, const struct cli_build *build,
                        struct ir_diag *diag);
/* Whether there are such a target (NULL: the first), ISA levels and strategies.
 * Returns an exit code. */
int cli_check_build(const char *target, const struct cli_build *build,
                    struct ir_diag *diag);
/* Whether strategies, if there are some, have a forest. Returns an exit code.
 */
int cli_check_strategies(const struct ir_module *module,
                         const struct cli_build *build, struct ir_diag *diag);
bool cli_has_forest(const struct ir_module *module);

/* -------------------------------------------------------------- tune.c -- */

/* Measures the strategies of the model's forests at the best of the ISA levels
 * `cpus` (NULL: all) that this CPU has, prints a table on standard error and
 * notes the fastest in the module's facts. Returns an exit code. */
int cli_tune(struct ir_module *module, const char *cpus, struct ir_diag *diag);
/* Prints, as JSON, what the cost model reckons for each forest of a module that
 * all passes ran on. */
void cli_print_costs(const struct ir_module *module);
#define CLI_TUNE(field)                                                       \
    CLI_FLAG(field, "tune", 0,                                                \
             "measure the strategies here, and take the fastest")

/* --------------------------------------------------------- calibrate.c -- */

/* A model with weights of fewer bits, and what that costs. */
struct cli_precision {
    const char *precision, *data, *label; /* or NULL */
    struct cli_csv csv;                   /* of `data` */
};
#define CLI_PRECISION(field)                                                  \
    CLI_TEXT(field.precision, "precision", 0, "P",                            \
             "of a net's weights: f32 (default), bf16 or int8; says\n"        \
             "what that costs on the rows of --calibrate"),                   \
    CLI_TEXT(field.data, "calibrate", 0, "CSV",                               \
             "rows such as the model will see: they set int8's\n"             \
             "scales, and answers are compared on them"),                     \
    CLI_TEXT(field.label, "label", 0, "COLUMN",                               \
             "of those rows: what is right, to say also how much\n"           \
             "less often, or how much further off, the model is"),            \
    CLI_TEXT(field.csv.ignore, "ignore", 0, "A,B",                            \
             "columns of those rows to pass over"),                           \
    CLI_FLAG(field.csv.no_header, "no-header", 0,                             \
             "their first line is a row; columns go by place")
/* Whether the options fit together; else what is wrong was printed. */
bool cli_precision_fits(const struct cli_command *command,
                        const struct cli_precision *precision);
/* Changes the module as asked, and reports on standard error. Returns an exit
 * code. */
int cli_lower_precision(struct ir_module *module,
                        const struct cli_precision *precision,
                        struct ir_diag *diag);

/* ----------------------------------------------------------- compare.c -- */

/* Compares a library with the interpreter, bit for bit. */
struct cli_compare {
    const struct ir_module *module;
    const struct tn_model *model;
    int n_levels;      /* ISA levels of the library that this CPU runs */
    int level[16];     /* their indices */
    int64_t max_rows;  /* in a block */
    int64_t n_rows;    /* compared so far */
    int64_t n_numbers; /* outputs' elements compared */
    int64_t n_bits;    /* that differ */
    struct ir_text first; /* the first difference; empty when none */
    struct cli_compare_room *room;
};

/* False with a message when the two cannot be compared. */
bool cli_compare_init(struct cli_compare *compare,
                      const struct ir_module *module,
                      const struct tn_model *model, struct ir_diag *diag);
void cli_compare_release(struct cli_compare *compare);
/* Compares up to max_rows dense rows. `origin` names them in the message,
 * `number` is the first one's number there. */
void cli_compare_rows(struct cli_compare *compare, const double *rows,
                      int64_t n, const char *origin, int64_t number);
/* By output of the library, its number in the module. */
const int *cli_compare_outputs(const struct cli_compare *compare);

/* ----------------------------------------------------- compare_steps.c -- */

/* The model's time step, on which all passes ran. Returns an exit code, with a
 * message that says why there is none. */
struct ir_stream;
int cli_stream(struct ir_stream **stream, struct ir_module *source,
               const struct pass_options *passes, struct ir_diag *diag);
/* That message; false. */
bool cli_no_step(const char *why, struct ir_diag *diag);
/* Compares steps of a library with the interpreter on n rows, as
 * cli_compare_rows() does the whole. False with a message when they are not of
 * this model, or there is no memory. */
bool cli_compare_steps(struct cli_compare *compare,
                       const struct tn_stream *stream, const double *rows,
                       int64_t n, const char *origin, int64_t number,
                       struct ir_diag *diag);

/* ------------------------------------------------------------- cmd_*.c -- */

extern const struct cli_command cli_train, cli_compile, cli_predict,
    cli_verify, cli_inspect, cli_bench, cli_opt;

#endif
