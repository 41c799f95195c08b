/* code_size.c: how many bytes of a library are code, for which ISA level and
 * part, and how many are tables.
 *
 * The backend puts each function in a section `.text_LEVEL.PART`, whose names
 * and sizes a stripped library still has. What cannot be read is left out. */
#include "cli/cli.h"

#include <elf.h>
#include <string.h>

static const char prefix[] = ".text_";

/* The name of a section, or "" for none that ends within its table. */
static const char *name_of(const struct ir_file *file, const Elf64_Shdr *names,
                           const Elf64_Shdr *section)
{
    const char *text = (const char *)file->data + names->sh_offset;
    return section->sh_name < names->sh_size &&
                   memchr(text + section->sh_name, 0,
                          names->sh_size - section->sh_name)
               ? text + section->sh_name : "";
}

/* Whether `bytes` at `offset` are in the file. */
static bool is_within(const struct ir_file *file, uint64_t offset,
                      uint64_t bytes)
{
    return offset <= file->size && bytes <= file->size - offset;
}

static void add_section(struct cli_code_size *size, struct ir_arena *arena,
                        const struct ir_file *file, const Elf64_Shdr *section,
                        const char *name)
{
    const size_t n = sizeof(prefix) - 1;
    if (!(section->sh_flags & SHF_ALLOC) || section->sh_type != SHT_PROGBITS ||
        !is_within(file, section->sh_offset, section->sh_size))
        return;
    if (!(section->sh_flags & SHF_EXECINSTR)) {
        size->table_bytes += (int64_t)section->sh_size;
        return;
    }
    size->code_bytes += (int64_t)section->sh_size;
    const char *dot = strncmp(name, prefix, n) ? NULL : strrchr(name, '.');
    if (!dot || dot < name + n)
        return;
    size->code[size->n++] = (struct cli_code){
        ir_sprintf(arena, "%.*s", (int)(dot - name) - (int)n, name + n),
        ir_strdup(arena, dot + 1), (int64_t)section->sh_size};
}

void cli_code_size(struct cli_code_size *size, const struct ir_file *file,
                   struct ir_arena *arena)
{
    Elf64_Ehdr header;
    memset(size, 0, sizeof(*size));
    if (file->size < sizeof(header))
        return;
    memcpy(&header, file->data, sizeof(header));
    const uint64_t n = header.e_shnum;
    if (memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
        header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_shstrndx >= n ||
        !is_within(file, header.e_shoff, n * sizeof(Elf64_Shdr)))
        return;
    Elf64_Shdr *section = ir_alloc_array(arena, n, sizeof(*section));
    memcpy(section, (const char *)file->data + header.e_shoff,
           n * sizeof(*section));
    const Elf64_Shdr *names = &section[header.e_shstrndx];
    if (!is_within(file, names->sh_offset, names->sh_size))
        return;
    size->code = ir_alloc_array(arena, n, sizeof(*size->code));
    for (uint64_t i = 0; i < n; i++)
        add_section(size, arena, file, &section[i],
                    name_of(file, names, &section[i]));
}
