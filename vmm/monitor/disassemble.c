/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/monitor/disassemble.h"

#include "config.h"
#include "vmm/error.h"

#ifdef HAVE_CAPSTONE

#include <capstone.h>
#include "vmm/util/library.h"

struct Disassembler {
    csh handle;
    cs_insn *instruction;
};

static struct {
    __typeof__(cs_open) *open;
    __typeof__(cs_close) *close;
    __typeof__(cs_option) *option;
    __typeof__(cs_malloc) *malloc;
    __typeof__(cs_free) *free;
    __typeof__(cs_disasm_iter) *disasm_iter;
} capstone;

static const LibraryFunction functions[] = {
    { "cs_open", &capstone.open },     { "cs_close", &capstone.close },
    { "cs_option", &capstone.option }, { "cs_malloc", &capstone.malloc },
    { "cs_free", &capstone.free },     { "cs_disasm_iter", &capstone.disasm_iter },
};

static Library library = {
    .file = "libcapstone.so." G_STRINGIFY(CS_API_MAJOR),
    .what = "disassembly",
    .functions = functions,
    .function_count = G_N_ELEMENTS(functions),
};

Disassembler *disassembler_new(unsigned bits, GError **error)
{
    cs_mode mode = bits == 64 ? CS_MODE_64 : bits == 32 ? CS_MODE_32 : CS_MODE_16;
    csh handle;
    if (!library_load(&library, error)) {
        return NULL;
    }
    if (capstone.open(CS_ARCH_X86, mode, &handle) != CS_ERR_OK) {
        error_set(error, "the library of disassembly knows no x86");
        return NULL;
    }
    capstone.option(handle, CS_OPT_SYNTAX, CS_OPT_SYNTAX_ATT);
    Disassembler *disassembler = g_new(Disassembler, 1);
    disassembler->handle = handle;
    disassembler->instruction = capstone.malloc(handle);
    return disassembler;
}

void disassembler_free(Disassembler *disassembler)
{
    capstone.free(disassembler->instruction, 1);
    capstone.close(&disassembler->handle);
    g_free(disassembler);
}

size_t disassemble(Disassembler *disassembler, const uint8_t *data, size_t size, uint64_t addr,
                   GString *out)
{
    cs_insn *instruction = disassembler->instruction;
    if (!capstone.disasm_iter(disassembler->handle, &data, &size, &addr, instruction)) {
        return 0;
    }
    g_string_append_printf(out, "%s%s%s", instruction->mnemonic, *instruction->op_str ? " " : "",
                           instruction->op_str);
    return instruction->size;
}

#else

Disassembler *disassembler_new(unsigned bits, GError **error)
{
    error_set(error, "no disassembler is built in (libcapstone): gdb shows instructions "
                     "(gdbserver)");
    return NULL;
}

void disassembler_free(Disassembler *disassembler)
{
}

size_t disassemble(Disassembler *disassembler, const uint8_t *data, size_t size, uint64_t addr,
                   GString *out)
{
    return 0;
}

#endif
