/* net_input.c: rows of a frame -> rows of numbers that a net takes: what is
 * learned of the columns, and the rows by it. net_export.c writes the same as
 * ops, in the same order and arithmetic.
 */
#include "trainer/private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------- what is learned -- */

static int count_missing(const struct tr_frame *frame, int column)
{
    int n = 0;
    for (int64_t i = 0; i < frame->n_rows && n == 0; i++)
        n += isnan(frame->values[column][i]);
    return n;
}

/* Numbers of a category's own, unless they are asked for. */
static int64_t embedding_width(const struct tr_params *p, int n_codes)
{
    if (p->embedding_size > 0)
        return p->embedding_size;
    const int64_t half = (n_codes + 1) / 2;
    return half < 16 ? half : 16;
}

static bool check_finite(const struct tr_frame *frame, int column,
                         struct ir_diag *diag)
{
    for (int64_t i = 0; i < frame->n_rows; i++)
        if (isinf(frame->values[column][i]))
            return ir_error(diag, ir_loc_file(NULL),
                            "row %lld of the training rows: \"%s\" is "
                            "infinite, which a net cannot learn from",
                            (long long)i + 1, frame->columns[column].name);
    return true;
}

static bool add_column(struct tr_net_input *input,
                       const struct tr_fit_job *job, int column,
                       struct ir_diag *diag)
{
    const struct ir_column *from = &job->frame->columns[column];
    struct tr_net_column *c = &input->column[input->n_columns++];
    *c = (struct tr_net_column){.column = column, .scale = 1};
    if (from->kind != IR_CATEGORY) {
        c->has_missing = count_missing(job->frame, column) > 0;
        input->n_numbers++;
        input->n_missing += c->has_missing;
        return check_finite(job->frame, column, diag);
    }
    c->is_category = true;
    c->n_codes = from->n_categories;
    if (c->n_codes <= job->params->max_one_hot) {
        input->n_one_hot += c->n_codes;
        return true;
    }
    c->width = (int)embedding_width(job->params, c->n_codes);
    input->table_rows[input->n_tables] = c->n_codes + 1;
    input->table_width[input->n_tables++] = c->width;
    return true;
}

/* All columns are numbers of the shape that was asked for. */
static bool set_shape(struct tr_net_input *input,
                      const struct tr_fit_job *job, struct ir_diag *diag)
{
    int64_t volume = 1;
    input->rank = tr_shape_parse(job->params->input_shape, input->dim, diag);
    if (input->rank < 0)
        return false;
    for (int i = 0; i < input->rank; i++)
        volume *= input->dim[i];
    for (int i = 0; i < input->n_columns; i++)
        if (input->column[i].is_category) {
            ir_error(diag, ir_loc_file(NULL),
                     "parameter input_shape: \"%s\" is a column of "
                     "categories, and a shape is of numbers",
                     job->frame->columns[input->column[i].column].name);
            return tr_blame_parameter(job);
        }
    input->n_missing = 0;
    for (int i = 0; i < input->n_columns; i++)
        input->column[i].has_missing = false;
    if (volume == input->n_columns)
        return true;
    ir_error(diag, ir_loc_file(NULL),
             "parameter input_shape: %s has %lld elements, and there are %d "
             "columns to learn from", job->params->input_shape,
             (long long)volume, input->n_columns);
    return tr_blame_parameter(job);
}

int64_t tr_net_input_elements(const struct tr_net_input *input)
{
    return input->n_numbers + input->n_missing + input->n_one_hot +
           input->n_tables;
}

bool tr_net_input_init(struct tr_net_input *input, struct ir_arena *arena,
                       const struct tr_fit_job *job, struct ir_diag *diag)
{
    const size_t n = (size_t)job->n_features;
    *input = (struct tr_net_input){.dtype = TR_REAL_DTYPE};
    input->column = ir_alloc_array(arena, n + 1, sizeof(*input->column));
    input->table_rows = ir_alloc_array(arena, n + 1, sizeof(int64_t));
    input->table_width = ir_alloc_array(arena, n + 1, sizeof(int64_t));
    for (int i = 0; i < job->n_features; i++)
        if (!add_column(input, job, job->columns[i], diag))
            return false;
    input->rank = 1;
    input->dim[0] = tr_net_input_elements(input);
    if (*job->params->input_shape)
        return set_shape(input, job, diag);
    return input->dim[0] <= IR_MAX_COLUMNS ||
           ir_error(diag, ir_loc_file(NULL),
                    "the columns make %lld numbers a row (the limit is %d)",
                    (long long)input->dim[0], IR_MAX_COLUMNS);
}

bool tr_net_input_start(const struct tr_net_input *input, struct tr_net *net,
                        const struct tr_fit_job *job, struct ir_diag *diag)
{
    int64_t dim[3] = {input->dim[0], input->dim[1], input->dim[2]};
    if (input->n_tables > 0) {
        struct tr_layer *embed = &net->layer[net->n_layers++];
        *embed = (struct tr_layer){
            .kind = &tr_kind_embed, .in = tr_shape_vector(dim[0]),
            .n_tables = (int)input->n_tables,
            .table_rows = input->table_rows,
            .table_width = input->table_width};
        embed->kind->shape(embed, diag);
        net->n_params += embed->block[0].n;
        if (net->n_params > IR_MAX_ELEMENTS)
            return ir_error(diag, ir_loc_file(NULL),
                            "the categories' embeddings have more than %d "
                            "numbers, which is the limit", IR_MAX_ELEMENTS);
        dim[0] = tr_shape_elements(&embed->out);
    }
    return tr_net_parse(net, job->params->layers, input->rank, dim,
                        job->n_outputs, diag) ||
           tr_blame_parameter(job);
}

/* ---------------------------------------------------------- mean, spread -- */

/* Of the values that are not missing (Welford 1962: sums do not overflow). */
struct moments {
    double n, mean, squares, largest;
};

static void take_values(struct moments *m, const struct tr_frame *frame,
                        int column)
{
    const double *v = frame->values[column];
    for (int64_t i = 0; i < frame->n_rows; i++) {
        if (isnan(v[i]))
            continue;
        const double d = v[i] - m->mean;
        m->n++;
        m->mean += d / m->n;
        m->squares += d * (v[i] - m->mean);
        m->largest = fmax(m->largest, fabs(v[i]));
    }
}

/* f32 does when it holds the column's differences to four digits or more. */
static void set_scale(struct tr_net_input *input, struct tr_net_column *c,
                      const struct moments *m)
{
    const double spread = m->n > 0 ? sqrt(m->squares / m->n) : 0;
    c->mean = m->n > 0 ? m->mean : 0;
    c->scale = spread > 0 ? 1 / spread : 1;
    if (!isfinite(c->scale))
        c->scale = 1;
    if ((spread > 0 && m->largest > 1024 * spread) || m->largest > 1e30 ||
        c->scale > 1e30 || c->scale < 1e-30)
        input->dtype = IR_F64;
}

/* Which of the scales a column shares with others. */
static int64_t scale_of(const struct tr_net_input *input,
                        const struct tr_net *net, const char *standardize,
                        int64_t i)
{
    if (!strcmp(standardize, "all"))
        return 0;
    const bool by_channel =
        !strcmp(standardize, "channel") ||
        (!strcmp(standardize, "auto") && input->rank > 1);
    if (!by_channel || input->rank == 1)
        return i;
    const struct tr_shape *in = &net->layer[0].in;
    return in->kind == TR_SERIES ? i % in->inner : i / in->inner;
}

void tr_net_input_scale(struct tr_net_input *input, const struct tr_net *net,
                        const struct tr_fit_job *job)
{
    const char *how = job->params->standardize;
    const size_t n = (size_t)input->n_columns;
    if (!strcmp(how, "none"))
        return;
    struct moments *m = ir_realloc_array(NULL, n + 1, sizeof(*m));
    memset(m, 0, (n + 1) * sizeof(*m));
    for (size_t i = 0; i < n; i++)
        if (!input->column[i].is_category)
            take_values(&m[scale_of(input, net, how, (int64_t)i)],
                        job->frame, input->column[i].column);
    for (size_t i = 0; i < n; i++)
        if (!input->column[i].is_category)
            set_scale(input, &input->column[i],
                      &m[scale_of(input, net, how, (int64_t)i)]);
    free(m);
}

/* ------------------------------------------------------------------ rows -- */

/* As the ops do it: each step rounded to the input's dtype, then to f32. */
static tr_real standardised(const struct tr_net_input *input,
                            const struct tr_net_column *c, double v)
{
    if (isnan(v))
        return 0;
    if (input->dtype == IR_F64)
        return (tr_real)((v - c->mean) * c->scale);
    return ((float)v - (float)c->mean) * (float)c->scale;
}

/* Where each kind of number begins in a row. */
static void write_column(const struct tr_net_input *input,
                         const struct tr_net_column *c, const double *v,
                         int64_t n_rows, int64_t at[4], tr_real *rows)
{
    const int64_t size = tr_net_input_elements(input);
    for (int64_t r = 0; r < n_rows; r++) {
        tr_real *row = rows + r * size;
        const bool gone = isnan(v[r]);
        if (!c->is_category) {
            row[at[0]] = standardised(input, c, v[r]);
            if (c->has_missing)
                row[at[1]] = gone;
        } else if (c->width > 0) {
            row[at[3]] = gone || v[r] > c->n_codes ? c->n_codes : (tr_real)v[r];
        } else if (!gone && v[r] < c->n_codes) {
            row[at[2] + (int64_t)v[r]] = 1;
        }
    }
    at[0] += !c->is_category;
    at[1] += c->has_missing;
    at[2] += c->is_category && c->width == 0 ? c->n_codes : 0;
    at[3] += c->width > 0;
}

tr_real *tr_net_input_rows(const struct tr_net_input *input,
                           const struct tr_frame *frame)
{
    const int64_t n = input->n_numbers, m = n + input->n_missing;
    int64_t at[4] = {0, n, m, m + input->n_one_hot};
    tr_real *rows = tr_reals(frame->n_rows * tr_net_input_elements(input));
    for (int i = 0; i < input->n_columns; i++)
        write_column(input, &input->column[i],
                     frame->values[input->column[i].column], frame->n_rows, at,
                     rows);
    return rows;
}
