/* cmd_predict.c: `treenail predict`, CSV in and CSV out.
 *
 * Rows pass through in blocks, so files larger than memory are no matter. The
 * result appears under its name only when every row was scored.
 */
#include "cli/cli.h"

#include "trainer/trainer.h"

#include <stdlib.h>
#include <string.h>

struct options {
    const char *early_stop, *output, *file, *winograd;
    struct cli_csv csv;
    int64_t threads, time;
};

static const struct cli_option table[] = {
    CLI_TEXT(file, "output-file", 'o', "FILE",
             "write there (default: standard output)"),
    CLI_TEXT(output, "output", 0, "NAME",
             "value, probability, class, raw, leaf, contribution\n"
             "(default: the model's first)"),
    CLI_EARLY_STOP(early_stop),
    CLI_TIME(time),
    CLI_WINOGRAD(winograd),
    CLI_INT(threads, "threads", 't', "T", 0, 256,
            "of a library (default 1; 0: one a core); a\n"
            "model is interpreted on one"),
    CLI_FLAG(csv.no_header, "no-header", 0,
             "DATA's first line is a row; columns go by place"),
    CLI_FLAG(csv.header, "header", 0,
             "DATA's first line has the columns' names\n"
             "(default: when it holds no number)"),
    CLI_TEXT(csv.ignore, "ignore", 0, "A,B",
             "columns of DATA to pass over, say the label"),
    CLI_TEXT(csv.delimiter, "delimiter", 0, "C",
             "between fields: one character, or tab"),
};

/* Numbers that a block's rows, or its results, may take. */
#define MAX_BLOCK_NUMBERS ((int64_t)1 << 20)
#define MAX_BLOCK_ROWS 16384

struct block {
    int64_t max_rows;
    double *rows;
    void *results;
};

static bool block_init(struct block *block, const struct cli_source *source,
                       const struct cli_result *result, struct ir_diag *diag)
{
    int64_t widest = source->n_elements;
    widest = widest > result->n_elements ? widest : result->n_elements;
    int64_t n = MAX_BLOCK_NUMBERS / (widest > 0 ? widest : 1);
    n = n < 1 ? 1 : n < MAX_BLOCK_ROWS ? n : MAX_BLOCK_ROWS;
    block->max_rows = n;
    block->rows = cli_alloc((uint64_t)n, 8 * (uint64_t)source->n_elements,
                            "rows", diag);
    block->results = cli_alloc((uint64_t)n, 8 * (uint64_t)result->n_elements,
                               "results", diag);
    return block->rows && block->results;
}

static void block_release(struct block *block)
{
    free(block->rows);
    free(block->results);
}

/* ------------------------------------------------------------ writing -- */

/* A field, quoted where RFC 4180 asks for it. */
static void put_field(struct ir_text *text, const char *s)
{
    if (!s[strcspn(s, ",\"\r\n")]) {
        ir_text_puts(text, s);
        return;
    }
    ir_text_puts(text, "\"");
    for (; *s; s++)
        ir_text_append(text, *s == '"' ? "\"\"" : s, *s == '"' ? 2 : 1);
    ir_text_puts(text, "\"");
}

/* "value", or "probability[2]" where there are several; as the CSV reader
 * names the elements of a tensor column. */
static void write_header(FILE *to, const struct cli_result *result)
{
    struct ir_text text, name;
    ir_text_init(&text);
    for (int64_t i = 0; i < result->n_elements; i++) {
        ir_text_init(&name);
        ir_text_puts(&name, result->name);
        if (result->n_elements > 1)
            ir_text_printf(&name, "[%lld]", (long long)i);
        ir_text_puts(&text, i ? "," : "");
        put_field(&text, name.data);
        ir_text_release(&name);
    }
    ir_text_puts(&text, "\n");
    fwrite(text.data, 1, text.length, to);
    ir_text_release(&text);
}

static void put_result(struct ir_text *text, const struct cli_result *result,
                       const void *results, size_t i)
{
    if (result->labels && result->dtype == IR_I32) {
        const int32_t code = ((const int32_t *)results)[i];
        if (code >= 0 && code < result->n_labels) {
            put_field(text, result->labels[code]);
            return;
        }
    }
    cli_put_number(text, result->dtype, results, i);
}

static void write_block(FILE *to, const struct cli_result *result,
                        const void *results, int64_t n)
{
    struct ir_text text;
    ir_text_init(&text);
    for (int64_t i = 0; i < n * result->n_elements; i++) {
        put_result(&text, result, results, (size_t)i);
        ir_text_puts(&text, (i + 1) % result->n_elements ? "," : "\n");
    }
    fwrite(text.data, 1, text.length, to);
    ir_text_release(&text);
}

/* ------------------------------------------------------------ scoring -- */

static bool score(const struct cli_source *source, int result,
                  struct tr_reader *reader, struct block *block,
                  const struct options *o, FILE *to, struct ir_diag *diag)
{
    const struct cli_result *r = &source->results[result];
    struct cli_progress progress;
    cli_progress_init(&progress);
    bool headed = false; /* not before the first rows were good */
    int64_t n;
    while ((n = tr_reader_next(reader, block->rows, block->max_rows,
                               diag)) > 0) {
        if (!cli_source_predict(source, result, block->rows, n,
                                block->results, (int)o->threads, diag))
            return false;
        if (!headed)
            write_header(to, r);
        headed = true;
        write_block(to, r, block->results, n);
        if (ferror(to))
            break; /* said when it is closed */
        uint64_t done, total;
        tr_reader_progress(reader, &done, &total);
        if (to != stdout || o->file)
            cli_progress_show(&progress, "predicting", (double)done,
                              (double)total);
    }
    cli_progress_clear(&progress);
    if (n == 0 && !headed)
        write_header(to, r);
    return n >= 0;
}

static bool write_scores(const struct cli_source *source, int result,
                         struct tr_reader *reader, const struct options *o,
                         struct ir_diag *diag)
{
    struct cli_output output;
    struct block block = {0};
    if (!cli_output_open(&output, o->file, diag))
        return false;
    const bool good =
        block_init(&block, source, &source->results[result], diag) &&
        score(source, result, reader, &block, o, output.file, diag);
    block_release(&block);
    if (good)
        return cli_output_close(&output, diag);
    cli_output_abandon(&output);
    return false;
}

/* Returns an exit code. */
static int predict(const struct cli_source *source, const char *data,
                   const struct options *o, struct ir_diag *diag)
{
    const int result = cli_source_find(source, o->output, diag);
    if (result < 0)
        return CLI_BAD_USAGE;
    struct tr_reader *reader;
    const int code = cli_open_rows(&reader, data, &o->csv, source->n_columns,
                                   source->columns, diag);
    if (code != CLI_OK)
        return code;
    const bool good = write_scores(source, result, reader, o, diag);
    tr_reader_close(reader);
    return good ? CLI_OK : CLI_BAD_INPUT;
}

static int run(int argc, char **argv)
{
    struct options o = {.threads = 1};
    struct cli_line line;
    if (!cli_parse(&cli_predict, argc, argv, &o, &line))
        return line.exit_code;
    if (!cli_csv_fits(&cli_predict, &o.csv))
        return CLI_BAD_USAGE;
    if (!cli_early_stop_fits(&cli_predict, o.early_stop) ||
        !cli_winograd_fits(&cli_predict, o.winograd))
        return CLI_BAD_USAGE;
    for (int i = 0; i < 2 && o.file; i++)
        if (cli_is_same_file(o.file, line.argument[i]))
            return cli_usage_error(&cli_predict, "%s is %s itself", o.file,
                                   i ? "DATA" : "the model");
    struct ir_diag diag;
    ir_diag_init(&diag);
    struct cli_source source;
    const struct cli_build build = {.winograd = o.winograd};
    int code = cli_source_open(&source, line.argument[0], o.output,
                               o.early_stop, o.time, &build, &diag);
    if (code != CLI_OK)
        return cli_finish(&diag, code);
    if (source.module)
        code = cli_choose_winograd(source.module, o.winograd, false, &diag);
    if (code == CLI_OK)
        code = predict(&source, line.argument[1], &o, &diag);
    cli_source_close(&source);
    return cli_finish(&diag, code);
}

const struct cli_command cli_predict = {
    .name = "predict",
    .summary = "Scores the rows of a CSV file with a model or a library.",
    .arguments = "MODEL|LIBRARY DATA [options]",
    .min_arguments = 2, .max_arguments = 2,
    .options = table, .n_options = CLI_COUNT(table),
    .example =
        "DATA's columns are found by name. One column is written for each "
        "element of the\noutput, numbers as the shortest decimals that read "
        "back the same.\nA library runs its own code: use none that you do "
        "not trust.\n\n"
        "example:\n"
        "  treenail predict model.txt rows.csv --output raw\n"
        "  treenail predict fraud.so rows.csv -o scores.csv --threads 0\n",
    .run = run,
};
