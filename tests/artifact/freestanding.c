/* freestanding.c: two models in a program without a libc, an allocator or a
 * start-up file. Exits with 0 when each answers its golden rows, every output
 * at every ISA level of this CPU. x86-64 Linux only. */
#include FIRST_HEADER
#include SECOND_HEADER

/* Room for an output of the golden rows, and for scratch. */
static unsigned char room[1 << 20];
static _Alignas(TN_SCRATCH_ALIGN) unsigned char scratch[1 << 20];

static int check(const struct tn_model *model)
{
    const int highest = model->isa_level();
    if (highest < 0 || model->scratch_bytes > sizeof(scratch))
        return 1;
    for (int level = 0; level <= highest; level++) {
        if (model->isa_limit((uint32_t)level) != level)
            return 2;
        for (uint32_t o = 0; o < model->n_outputs; o++) {
            if (model->n_golden * model->outputs[o].n_elements * 8 >
                sizeof(room))
                return 3;
            if (tn_selftest_output(model, o, room, scratch) != -1)
                return 4;
        }
    }
    return 0;
}

__attribute__((used)) static void start(void)
{
    const int first = check(&FIRST_MODEL), second = check(&SECOND_MODEL);
    const long code = first * 16 + second;
    __asm__ volatile("syscall" : : "a"(60L), "D"(code) : "memory");
}

/* The kernel enters with an aligned stack; a function is called with one
 * that is 8 off. */
__asm__(".globl _start\n_start:\n\tcall start\n");
