/* test_net_gradients.c: nets in f64: the gradient of every layer against
 * differences, and modules against the trainer's own forward pass, to nearly
 * all digits. */
#include "fitting.h"
#include "trainer/private.h"

/* ------------------------------------------------------------- gradients -- */

enum { ROWS = 5, OUTPUTS = 3 };

/* A net and what its outputs are weighed by: the loss is their product. */
struct probe {
    struct tr_net net;
    int64_t n_in;
    double x[ROWS * 1024], weight[ROWS * OUTPUTS];
};

static void probe_init(struct probe *p, const char *layers, int rank,
                       const int64_t *dim, struct ir_diag *diag)
{
    p->net = (struct tr_net){.seed = 7};
    if (!tr_net_parse(&p->net, layers, rank, dim, OUTPUTS, diag) ||
        !tr_blas_load(&p->net, diag) ||
        !tr_net_reserve(&p->net, ROWS, diag))
        fail_msg("%s: %s", layers, diag->message[0]);
    tr_net_init(&p->net, 3);
    p->n_in = ROWS * tr_shape_elements(&p->net.layer[0].in);
    assert_true(p->n_in <= ROWS * 1024);
    for (int64_t i = 0; i < p->n_in; i++)
        p->x[i] = 1.5 * tr_draw_even(5, (uint64_t)i);
    for (int i = 0; i < ROWS * OUTPUTS; i++)
        p->weight[i] = tr_draw_even(6, (uint64_t)i);
    /* First biases are 0, which hides mistakes. */
    for (int64_t i = 0; i < p->net.n_params; i++)
        p->net.theta[i] += 0.1 * tr_draw_even(8, (uint64_t)i);
}

static double loss(struct probe *p)
{
    const tr_real *y = tr_net_forward(&p->net, p->x, ROWS, true);
    double sum = 0;
    for (int i = 0; i < ROWS * OUTPUTS; i++)
        sum += p->weight[i] * (double)y[i];
    return sum;
}

/* By a fourth-order difference. */
static double slope(struct probe *p, double *at)
{
    const double step = 1e-6, middle = *at;
    const double points[] = {-2, -1, 1, 2}, parts[] = {1, -8, 8, -1};
    double sum = 0;
    for (int i = 0; i < 4; i++) {
        *at = middle + points[i] * step;
        sum += parts[i] * loss(p);
    }
    *at = middle;
    return sum / (12 * step);
}

static void check_slope(const char *layers, const char *what, int64_t i,
                        double got, double want)
{
    if (!(fabs(got - want) <= 1e-7 * fmax(1, fabs(want))))
        fail_msg("%s: the gradient of %s %lld is %.12g, differences give "
                 "%.12g", layers, what, (long long)i, got, want);
}

static bool is_trained(const struct tr_net *net, int64_t param)
{
    for (int l = 0; l < net->n_layers; l++)
        for (int b = 0; b < net->layer[l].n_blocks; b++) {
            const struct tr_block *block = &net->layer[l].block[b];
            if (param >= block->first && param < block->first + block->n)
                return block->trained;
        }
    fail_msg("parameter %lld is in no block", (long long)param);
    return false;
}

static void check_gradients(const char *layers, int rank, const int64_t *dim)
{
    struct ir_diag diag;
    struct probe *p = ir_realloc_array(NULL, 1, sizeof(*p));
    double dy[ROWS * OUTPUTS];
    ir_diag_init(&diag);
    probe_init(p, layers, rank, dim, &diag);
    double *dx = tr_reals(p->n_in), *grad = tr_reals(p->net.n_params);
    loss(p);
    memcpy(dy, p->weight, sizeof(dy));
    tr_net_backward(&p->net, p->x, dy, dx, ROWS);
    memcpy(grad, p->net.grad, (size_t)p->net.n_params * sizeof(*grad));
    for (int64_t i = 0; i < p->net.n_params; i++)
        if (is_trained(&p->net, i))
            check_slope(layers, "parameter", i, grad[i],
                        slope(p, &p->net.theta[i]));
        else
            assert_true(grad[i] == 0);
    for (int64_t i = 0; i < p->n_in; i++)
        check_slope(layers, "input", i, dx[i], slope(p, &p->x[i]));
    free(dx);
    free(grad);
    tr_net_release(&p->net);
    free(p);
    ir_diag_release(&diag);
}

static void of_vectors(void **state)
{
    static const char *const nets[] = {
        "", "dense 4", "dense 6 tanh; dense 5 sigmoid", "dense 6 relu",
        "dense 6 leaky_relu", "dense 6 elu", "dense 6 gelu", "dense 6 silu",
        "dense 6 softplus", "dense 6 batchnorm tanh", "batchnorm dense 4",
        "dense 8; dropout 0.4; tanh", "dropout 0.25",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(nets) / sizeof(nets[0]); i++)
        check_gradients(nets[i], 1, (const int64_t[]){7});
}

static void of_images(void **state)
{
    static const char *const nets[] = {
        "conv 3 3x3", "conv 4 3 pad same tanh conv 3 2x3 pad 1x2",
        "conv 4 3 stride 2", "conv 4 2x3 stride 2x1 dilation 1x2 pad same",
        "conv 4 3 groups 2 pad 2 stride 3x2", "conv 2 1 groups 2",
        "maxpool 2", "maxpool 3 stride 2 pad 1", "maxpool 2 pad same",
        "avgpool 2", "avgpool 3x2 stride 2x1 pad 1", "avgpool global",
        "maxpool global", "conv 3 3; batchnorm; tanh; avgpool 2",
        "conv 3 3; batchnorm; relu; avgpool 2",
        "batchnorm", "conv 3 2; dropout 0.3; maxpool 2; dense 4 tanh",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(nets) / sizeof(nets[0]); i++)
        check_gradients(nets[i], 3, (const int64_t[]){2, 6, 5});
}

static void of_series(void **state)
{
    static const char *const nets[] = {
        "rnn 4", "rnn 4 of relu", "rnn 4 reverse", "rnn 4 both", "lstm 4",
        "lstm 3 reverse", "lstm 3 both all flatten", "lstm 3 lstm 2",
        "gru 4", "gru 3 reverse all", "gru 3 both", "gru 3; rnn 2 both",
        "lstm 3 all; dense 2 tanh; gru 2", "lstm 3 batchnorm gru 2 last",
        "lstm 4 all transpose conv 3 2 relu maxpool 2",
        "rnn 3 all dropout 0.3 rnn 3",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(nets) / sizeof(nets[0]); i++)
        check_gradients(nets[i], 2, (const int64_t[]){6, 3});
    check_gradients("conv 4 3 stride 2 pad 1 relu", 2,
                    (const int64_t[]){2, 9});
    check_gradients("conv 4 3 pad same dilation 2; maxpool 2; batchnorm", 2,
                    (const int64_t[]){2, 9});
    check_gradients("conv 4 3 pad causal tanh; conv 3 2 pad causal dilation 3 "
                    "groups 1 stride 2; laststep", 2, (const int64_t[]){2, 9});
    check_gradients("transpose maxpool 3 stride 1 pad causal; avgpool 2 "
                    "stride 1 pad causal; conv 3 2 pad causal", 2,
                    (const int64_t[]){7, 2});
    check_gradients("lstm 3 both laststep", 2, (const int64_t[]){5, 2});
    check_gradients("transpose gru 3", 2, (const int64_t[]){2, 6});
    check_gradients("gru 3", 2, (const int64_t[]){1, 4});
}

static void of_embeddings(void **state)
{
    static const int64_t rows[] = {4, 3}, width[] = {2, 3};
    const int64_t dim[] = {7};
    struct ir_diag diag;
    struct tr_net net = {.n_layers = 1};
    (void)state;
    ir_diag_init(&diag);
    net.layer[0] = (struct tr_layer){
        .kind = &tr_kind_embed, .in = tr_shape_vector(4), .n_tables = 2,
        .table_rows = rows, .table_width = width};
    assert_true(tr_kind_embed.shape(&net.layer[0], &diag));
    net.n_params = net.layer[0].block[0].n;
    assert_int_equal(net.n_params, 17);
    assert_true(tr_net_parse(&net, "", 1, dim, 1, &diag));
    assert_true(tr_blas_load(&net, &diag));
    assert_true(tr_net_reserve(&net, 2, &diag));
    tr_net_init(&net, 1);
    /* Two numbers and two codes a row. */
    const double x[] = {0.5, 2, 3, 0, -1, 1, 3, 2};
    double dy[] = {1, 2};
    tr_net_forward(&net, x, 2, true);
    tr_net_backward(&net, x, dy, NULL, 2);
    const double *w = net.theta + 17;
    for (int k = 0; k < 2; k++) {
        assert_true(net.grad[3 * 2 + k] == w[2 + k] * 1 + w[2 + k] * 2);
        assert_true(net.grad[2 * 2 + k] == 0);
    }
    for (int k = 0; k < 3; k++) {
        assert_true(net.grad[8 + 0 * 3 + k] == w[4 + k]);
        assert_true(net.grad[8 + 2 * 3 + k] == 2 * w[4 + k]);
        assert_true(net.grad[8 + 1 * 3 + k] == 0);
    }
    tr_net_release(&net);
    ir_diag_release(&diag);
}

/* ---------------------------------------------------------------- losses -- */

static void of_losses(void **state)
{
    static const char *const names[] = {"regression", "regression_l1",
                                        "binary", "multiclass"};
    (void)state;
    for (int o = 0; o < 4; o++) {
        const struct tr_objective *objective = tr_objective_find(names[o]);
        const int n_out = objective->task == TR_MULTICLASS ? 3 : 1;
        const double target[] = {1, 0}, weight[] = {1.5, 0.5};
        double y[6], dy[6], none[6];
        for (int i = 0; i < 6; i++)
            y[i] = 2 * tr_draw_even(9, (uint64_t)i);
        tr_net_loss(objective, 2, n_out, y, target, weight, dy);
        for (int i = 0; i < 2 * n_out; i++) {
            const double step = 1e-5, middle = y[i];
            y[i] = middle + step;
            const double up =
                tr_net_loss(objective, 2, n_out, y, target, weight, none);
            y[i] = middle - step;
            const double down =
                tr_net_loss(objective, 2, n_out, y, target, weight, none);
            y[i] = middle;
            /* Of the mean over the rows, two. */
            check_slope(names[o], "output", i, dy[i],
                        (up - down) / (2 * step) / 2);
        }
    }
}

/* --------------------------------------------------------------- modules -- */

/* What the report says of the rows is the trainer's own forward pass; the
 * interpreter's is written from the definition of the ops. */
static void check_module(const char *settings, const char *target,
                         const struct tr_frame *frame)
{
    struct fitted f;
    fit(&f, &(struct request){.learner = "net", .target = target,
                              .train = frame, .settings = settings});
    const double got = score(&f, frame, target, NULL, f.report.metric);
    const double want = f.report.train_metric[f.report.best_round - 1];
    if (!(fabs(got - want) <= 1e-10 * fabs(want)))
        fail_msg("%s, %s: the module gives %s %.15g, the trainer %.15g",
                 settings, target, f.report.metric, got, want);
    fitted_release(&f);
}

/* As the categories of mixed_frame() are: codes of the classes are their
 * order, so that the frame's codes are the classes. */
static void modules_of_columns(void **state)
{
    struct tr_frame frame;
    (void)state;
    mixed_frame(&frame, 200, 4);
    check_module("epochs=3 layers=dense\t8\trelu", "y", &frame);
    check_module("epochs=3 layers=dense\t8\tbatchnorm\tgelu", "b", &frame);
    check_module("epochs=3 layers=batchnorm\tdense\t8\telu\tbatchnorm", "m",
                 &frame);
    check_module("epochs=3 max_one_hot=4 layers=dense\t8\tsilu", "m",
                 &frame);
    check_module("epochs=2 max_one_hot=4 embedding_size=3 standardize=none "
                 "layers=dense\t8\tsoftplus\tdropout\t0.2\tleaky_relu",
                 "y", &frame);
    check_module("epochs=2 standardize=all layers=;", "y", &frame);
    tr_frame_release(&frame);
}

static void series_frame(struct tr_frame *frame, int n_columns, int n)
{
    struct ir_text csv;
    ir_text_init(&csv);
    for (int c = 0; c < n_columns; c++)
        ir_text_printf(&csv, "x%d,", c);
    ir_text_puts(&csv, "k\n");
    for (int i = 0; i < n; i++) {
        double sum = 0;
        for (int c = 0; c < n_columns; c++) {
            const double v = draw(31, (uint64_t)(i * n_columns + c));
            sum += v * (c % 3 - 0.9);
            if (c == 1 && i % 5 == 0)
                ir_text_puts(&csv, ",");
            else
                ir_text_printf(&csv, "%.6f,", v);
        }
        ir_text_printf(&csv, "k%d\n", sum < -0.2 ? 0 : sum < 0.2 ? 1 : 2);
    }
    frame_of(frame, csv.data);
    ir_text_release(&csv);
}

static void modules_of_shapes(void **state)
{
    static const char *const images[] = {
        "conv\t3\t3x3\tpad\tsame\tbatchnorm\trelu;maxpool\t2",
        "conv\t4\t3\tstride\t2\tgroups\t2\ttanh;avgpool\t2\tpad\t1",
        "conv\t4\t2x3\tdilation\t1x2\tpad\tsame;maxpool\tglobal",
        "batchnorm;avgpool\tglobal;dense\t4\tsigmoid",
    };
    static const char *const series[] = {
        "lstm\t4", "gru\t4", "rnn\t4", "rnn\t3\tof\trelu\treverse\tall",
        "lstm\t3\tboth;gru\t2\tboth", "gru\t3\treverse\tlast",
        "lstm\t3\tbatchnorm\tdropout\t0.1\tlstm\t2\treverse",
        "conv\t4\t3\tpad\t1\trelu;maxpool\t2;transpose;gru\t3",
        "gru\t3\tall\tdense\t4\ttanh\tflatten",
        "transpose;conv\t4\t3\tpad\tcausal\trelu;conv\t3\t2\tpad\tcausal\t"
        "dilation\t2\tbatchnorm;maxpool\t2\tstride\t1\tpad\tcausal;laststep",
        "gru\t3\treverse;laststep",
    };
    struct tr_frame frame;
    char settings[256];
    (void)state;
    series_frame(&frame, 60, 120);
    for (size_t i = 0; i < sizeof(images) / sizeof(images[0]); i++) {
        snprintf(settings, sizeof(settings),
                 "epochs=2 input_shape=2x6x5 layers=%s", images[i]);
        check_module(settings, "k", &frame);
    }
    for (size_t i = 0; i < sizeof(series) / sizeof(series[0]); i++) {
        snprintf(settings, sizeof(settings),
                 "epochs=2 input_shape=12x5 standardize=%s layers=%s",
                 i % 2 ? "column" : "auto", series[i]);
        check_module(settings, "k", &frame);
    }
    tr_frame_release(&frame);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_vectors),
        cmocka_unit_test(of_images),
        cmocka_unit_test(of_series),
        cmocka_unit_test(of_embeddings),
        cmocka_unit_test(of_losses),
        cmocka_unit_test(modules_of_columns),
        cmocka_unit_test(modules_of_shapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
