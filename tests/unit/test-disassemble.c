/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Instructions in words: of each width, cut short, and none at all. */
#include <glib.h>
#include <string.h>
#include "config.h"
#include "vmm/monitor/disassemble.h"

#ifdef HAVE_CAPSTONE

typedef struct Case {
    unsigned bits;
    const char *code;
    size_t size, length; /* given, used */
    const char *words;
} Case;

static void expect(const Case *c)
{
    GError *error = NULL;
    g_autoptr(GString) words = g_string_new("");
    Disassembler *disassembler = disassembler_new(c->bits, &error);
    g_assert_no_error(error);
    /* Memory of exactly that size: what reads behind it is found. */
    g_autofree uint8_t *code = g_memdup2(c->code, c->size);
    size_t length = disassemble(disassembler, code, c->size, 0x1000, words);
    g_assert_cmpuint(length, ==, c->length);
    g_assert_cmpstr(words->str, ==, c->words);
    disassembler_free(disassembler);
}

static void test_widths(void)
{
    static const Case cases[] = {
        { 16, "\xea\x5b\xe0\x00\xf0", 5, 5, "ljmpw $0xf000:$0xe05b" },
        { 32, "\xb8\x78\x56\x34\x12", 5, 5, "movl $0x12345678, %eax" },
        { 16, "\xb8\x78\x56\x34\x12", 5, 3, "movw $0x5678, %ax" },
        { 64, "\x48\x89\xd8", 3, 3, "movq %rbx, %rax" },
        { 32, "\x48\x89\xd8", 3, 1, "decl %eax" },
        { 64, "\xf4", 1, 1, "hlt" },
        { 64, "\xeb\xfe", 2, 2, "jmp 0x1000" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        expect(&cases[i]);
    }
}

static void test_no_instruction(void)
{
    static const Case cases[] = {
        { 64, "", 0, 0, "" },
        { 64, "\x48", 1, 0, "" },
        { 64, "\xb8\x01\x02", 3, 0, "" },
        { 64, "\x06", 1, 0, "" }, /* push %es is none of 64 bits */
        { 64, "\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66", 15, 0, "" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        expect(&cases[i]);
    }
}

#else

static void test_not_built_in(void)
{
    g_autoptr(GError) error = NULL;
    g_assert_null(disassembler_new(64, &error));
    g_assert_nonnull(strstr(error->message, "no disassembler is built in"));
}

#endif

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#ifdef HAVE_CAPSTONE
    g_test_add_func("/disassemble/widths", test_widths);
    g_test_add_func("/disassemble/no-instruction", test_no_instruction);
#else
    g_test_add_func("/disassemble/not-built-in", test_not_built_in);
#endif
    return g_test_run();
}
