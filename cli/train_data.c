/* train_data.c: the rows that `train` learns from: read, looked at, and split
 * before anything is fitted.
 *
 * What the trainer would refuse is said here, with its line: after the split
 * nobody could find it.
 */
#include "cli/cli.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* Classes keep their shares in each part. A number is taken for a class when
 * the user says so or when there are but two of it. */
static bool is_class(const struct tr_frame *frame, int column,
                     const struct tr_params *params)
{
    if (frame->columns[column].kind == IR_CATEGORY ||
        !strcmp(params->objective, "binary") ||
        !strcmp(params->objective, "multiclass"))
        return true;
    const double *v = frame->values[column];
    double seen[2];
    int n = 0;
    for (int64_t i = 0; i < frame->n_rows; i++) {
        if ((n > 0 && v[i] == seen[0]) || (n > 1 && v[i] == seen[1]))
            continue;
        if (n == 2)
            return false;
        seen[n++] = v[i];
    }
    return true;
}

static bool split(struct cli_data *data, const struct tr_frame *frame,
                  const struct cli_data_options *o,
                  const struct tr_params *params, struct ir_diag *diag)
{
    const int target = tr_frame_find(frame, o->target);
    struct tr_split rows;
    if (!tr_split_rows(&rows, frame,
                       is_class(frame, target, params) ? target : -1,
                       o->valid_fraction, o->test_fraction,
                       (uint64_t)o->seed, diag))
        return false;
    for (int i = 0; i < TR_N_PARTS; i++)
        if (rows.n[i] > 0) {
            tr_frame_take(&data->part[i], frame, rows.n[i], rows.rows[i]);
            data->there[i] = true;
        }
    tr_split_release(&rows);
    return true;
}

/* A frame with the file and the options that it was read by. */
struct source {
    const struct tr_frame *frame;
    const char *path;
    const struct tr_csv_options *csv;
};

static bool check_rows(const struct source *s, int column, const char *role,
                       double least, struct ir_diag *diag)
{
    const char *name = s->frame->columns[column].name;
    const int64_t n = s->frame->n_rows;
    for (int64_t r = 0; r < n; r++) {
        const double v = s->frame->values[column][r];
        if (v >= least && v <= TR_MAX_TARGET)
            continue;
        const struct ir_loc place = tr_frame_place(s->path, s->csv, r, name);
        if (isnan(v))
            return ir_error(diag, place,
                            "row %" PRId64 " of %" PRId64 ": the %s \"%s\" is "
                            "missing", r + 1, n, role, name);
        return ir_error(diag, place,
                        "row %" PRId64 " of %" PRId64 ": the %s \"%s\" is %g, "
                        "not within [%g, %g]", r + 1, n, role, name, v, least,
                        TR_MAX_TARGET);
    }
    return true;
}

static bool frame_name(const void *frame, int i, char name[CLI_MAX_NAME])
{
    const struct tr_frame *f = frame;
    if (i < f->n_columns)
        snprintf(name, CLI_MAX_NAME, "%s", f->columns[i].name);
    return i < f->n_columns;
}

static bool is_listed(const char *list, const char *name)
{
    const size_t length = strlen(name);
    for (const char *at = list; at; at = strchr(at, ',')) {
        at += at != list;
        if (strcspn(at, ",") == length && !strncmp(at, name, length))
            return true;
    }
    return false;
}

/* Names that a message lists. */
enum { max_listed = 8 };

static void no_column(const struct source *s, const char *option,
                      const char *name, struct ir_diag *diag)
{
    const struct tr_frame *f = s->frame;
    struct ir_text list;
    ir_text_init(&list);
    for (int c = 0; c < f->n_columns && c < max_listed; c++)
        ir_text_printf(&list, "%s%.40s", c ? ", " : "", f->columns[c].name);
    if (f->n_columns > max_listed)
        ir_text_printf(&list, " and %d more", f->n_columns - max_listed);
    ir_error(diag, ir_loc_file(s->path), "option --%s: there is no column "
             "named \"%s\" (there are: %s)", option, name, list.data);
    ir_text_release(&list);
}

/* The column that an option names; -1 with a message when there is none. */
static int find_named(const struct source *s, const char *option,
                      const char *name, const char *ignore,
                      struct ir_diag *diag)
{
    char near[CLI_MAX_NAME];
    const int column = tr_frame_find(s->frame, name);
    if (column >= 0)
        return column;
    if (is_listed(ignore, name))
        ir_error(diag, ir_loc_file(s->path), "option --%s: the column \"%s\" "
                 "is one to --ignore", option, name);
    else if (cli_nearest(name, frame_name, s->frame, near))
        ir_error(diag, ir_loc_file(s->path), "option --%s: there is no column "
                 "named \"%s\" (did you mean \"%s\"?)", option, name, near);
    else
        no_column(s, option, name, diag);
    return -1;
}

/* Numbers with a slip of the pen among them become categories, each number one;
 * so does what is meant so. Said before the work. */
static void warn_of_mixed(const struct tr_frame *frame)
{
    struct ir_diag diag;
    ir_diag_init(&diag);
    for (int i = 0; i < frame->n_mixed; i++) {
        const struct tr_mixed *m = &frame->mixed[i];
        const char *name = frame->columns[m->column].name;
        ir_error(&diag, m->first, "warning: column \"%s\" is taken as "
                 "categories: %" PRId64 " of its %" PRId64 " values %s, "
                 "the first here (\"%s\"); --number %s makes that an error, "
                 "--category %s says that it is meant", name, m->n_texts,
                 m->n_texts + m->n_numbers,
                 m->n_texts == 1 ? "is no number" : "are no numbers", m->text,
                 name, name);
    }
    cli_finish(&diag, CLI_OK);
}

/* A net takes no infinity; after the split its line would be lost. */
static bool check_finite(const struct source *s, struct ir_diag *diag)
{
    const struct tr_frame *f = s->frame;
    for (int64_t r = 0; r < f->n_rows; r++)
        for (int c = 0; c < f->n_columns; c++) {
            const char *name = f->columns[c].name;
            if (isinf(f->values[c][r]))
                return ir_error(diag,
                                tr_frame_place(s->path, s->csv, r, name),
                                "row %" PRId64 " of %" PRId64 ": the number "
                                "of column \"%s\" is infinite, which a net "
                                "cannot learn from", r + 1, f->n_rows, name);
        }
    return true;
}

/* Returns an exit code: names that the file does not have are wrong usage. */
static int check_frame(const struct source *s, const struct cli_data_options *o,
                       const struct tr_params *params, struct ir_diag *diag)
{
    const int target = find_named(s, "target", o->target, o->csv.ignore, diag);
    const int weight =
        target >= 0 && o->weight
            ? find_named(s, "weight", o->weight, o->csv.ignore, diag) : -1;
    if (target < 0 || (o->weight && weight < 0))
        return CLI_BAD_USAGE;
    if (weight >= 0 && s->frame->columns[weight].kind == IR_CATEGORY) {
        ir_error(diag, ir_loc_file(s->path), "option --weight: \"%s\" is a "
                 "column of categories", o->weight);
        return CLI_BAD_USAGE;
    }
    return check_rows(s, target, "target", -TR_MAX_TARGET, diag) &&
                   (weight < 0 || check_rows(s, weight, "weight", 0, diag)) &&
                   (!params->learner->is_net || check_finite(s, diag))
               ? CLI_OK : CLI_BAD_INPUT;
}

/* -------------------------------------------------- numbers, or classes? -- */

/* Up to so many whole numbers may well be the names of classes, when each comes
 * so often. */
enum { most_classes = 20, often = 10 };

/* The distinct values of a column, in any order: how many; most_classes + 1
 * when there are more, or one is no whole number. */
static int whole_numbers(const struct tr_frame *frame, int column,
                         double seen[most_classes])
{
    int n = 0;
    for (int64_t r = 0; r < frame->n_rows; r++) {
        const double v = frame->values[column][r];
        int i = 0;
        while (i < n && seen[i] != v)
            i++;
        if (i < n)
            continue;
        if (n == most_classes || v != floor(v))
            return most_classes + 1;
        seen[n++] = v;
    }
    return n;
}

/* A regression of what may be classes is said to be one, unless it was asked
 * for. */
static void warn_of_classes(const struct source *s, const char *target,
                            const struct tr_params *params)
{
    const struct tr_frame *frame = s->frame;
    const int column = tr_frame_find(frame, target);
    double seen[most_classes];
    if (frame->columns[column].kind == IR_CATEGORY ||
        strcmp(params->objective, "auto") != 0)
        return;
    const int n = whole_numbers(frame, column, seen);
    if (n <= 2 || n > most_classes || often * n > frame->n_rows)
        return;
    double least = seen[0], most = seen[0];
    for (int i = 1; i < n; i++) {
        least = fmin(least, seen[i]);
        most = fmax(most, seen[i]);
    }
    struct ir_diag diag;
    ir_diag_init(&diag);
    ir_error(&diag, ir_loc_file(s->path), "warning: the target \"%s\", of %d "
             "different whole numbers from %g to %g, is learned as numbers; "
             "--objective multiclass makes each a class, --objective "
             "regression says that numbers are meant", target, n, least, most);
    cli_finish(&diag, CLI_OK);
}

/* ----------------------------------------------------------- all of it -- */

int cli_data_read(struct cli_data *data, const char *path,
                  const struct cli_data_options *o,
                  const struct tr_params *params, struct ir_diag *diag)
{
    struct tr_csv_options csv = cli_csv_options(&o->csv, &diag->arena);
    if (o->category)
        csv.category = cli_split(&diag->arena, o->category, &csv.n_category);
    if (o->number)
        csv.number = cli_split(&diag->arena, o->number, &csv.n_number);
    struct tr_frame frame;
    const unsigned before = diag->n_messages;
    if (!tr_frame_read(&frame, path, &csv, 0, NULL, diag))
        return cli_blame_csv(&csv, before, diag);
    data->n_rows = frame.n_rows;
    data->n_columns = frame.n_columns;
    memcpy(data->sha256, frame.sha256, sizeof(data->sha256));
    warn_of_mixed(&frame);
    const struct source source = {&frame, path, &csv};
    int code = check_frame(&source, o, params, diag);
    if (code == CLI_OK) {
        warn_of_classes(&source, o->target, params);
        code = split(data, &frame, o, params, diag) ? CLI_OK : CLI_BAD_INPUT;
    }
    tr_frame_release(&frame);
    return code;
}

void cli_data_release(struct cli_data *data)
{
    for (int i = 0; i < TR_N_PARTS; i++)
        if (data->there[i])
            tr_frame_release(&data->part[i]);
}
