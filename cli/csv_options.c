/* csv_options.c: how the rows of a CSV file are to be read, as several commands
 * are told, and those rows for a model. */
#include "cli/cli.h"

bool cli_csv_fits(const struct cli_command *command, const struct cli_csv *csv)
{
    char delimiter;
    if (!cli_delimiter(csv->delimiter, &delimiter))
        cli_usage_error(command, "option --delimiter: \"%s\" is neither one "
                        "character nor tab", csv->delimiter);
    else if (csv->header && csv->no_header)
        cli_usage_error(command,
                        "--header and --no-header exclude each other");
    else
        return true;
    return false;
}

struct tr_csv_options cli_csv_options(const struct cli_csv *csv,
                                      struct ir_arena *arena)
{
    struct tr_csv_options options = {
        .header = csv->no_header ? TR_HEADER_NO
                : csv->header ? TR_HEADER_YES : TR_HEADER_DETECT,
        .fault = ir_alloc_array(arena, 1, sizeof(enum tr_csv_fault))};
    cli_delimiter(csv->delimiter, &options.delimiter);
    const char **part =
        csv->ignore ? cli_split(arena, csv->ignore, &options.n_ignore) : NULL;
    options.ignore = part;
    if (csv->label) {
        const char **all = ir_alloc_array(
            arena, (size_t)options.n_ignore + 1, sizeof(*all));
        for (int i = 0; i < options.n_ignore; i++)
            all[i] = part[i];
        all[options.n_ignore++] = csv->label;
        options.ignore = all;
    }
    return options;
}

int cli_blame_csv(const struct tr_csv_options *options, unsigned before,
                  struct ir_diag *diag)
{
    switch (*options->fault) {
    case TR_FAULT_IGNORE: return cli_blame_option(diag, before, "ignore");
    case TR_FAULT_CATEGORY: return cli_blame_option(diag, before, "category");
    case TR_FAULT_NUMBER: return cli_blame_option(diag, before, "number");
    default: return CLI_BAD_INPUT;
    }
}

int cli_open_rows(struct tr_reader **reader, const char *path,
                  const struct cli_csv *csv, int n_columns,
                  const struct ir_column *columns, struct ir_diag *diag)
{
    const struct tr_csv_options options = cli_csv_options(csv, &diag->arena);
    const unsigned before = diag->n_messages;
    *reader = tr_reader_open(path, &options, n_columns, columns, diag);
    return *reader ? CLI_OK : cli_blame_csv(&options, before, diag);
}
