/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The human monitor from keys to commands: the line editor with completion, and the lines that it
 * makes. Commands that touch the host are not run.
 */
#include <string.h>
#include "tests/fuzz/machine.h"
#include "vmm/monitor/hmp.h"
#include "vmm/monitor/line_editor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_look(const HmpCommand *command)
{
    static const char *const looks[] = { "help",    "x",   "xp",      "print",     "sum",
                                         "i",       "o",   "gva2gpa", "gpa2hva",   "qom-list",
                                         "qom-get", "cpu", "sendkey", "mouse_move" };
    for (size_t i = 0; i < G_N_ELEMENTS(looks); i++) {
        if (strcmp(command->name, looks[i]) == 0) {
            return true;
        }
    }
    return g_str_has_prefix(command->name, "info");
}

static void show(void *opaque, const char *text, gsize len)
{
    *(gsize *)opaque += len;
}

static void run(void *opaque, const char *line)
{
    static HmpContext context = HMP_CONTEXT_INIT;
    const char *rest, *start = line + strspn(line, " \t\r\n\v\f");
    const HmpCommand *command = hmp_find(start, &rest);
    if (!command || is_look(command)) {
        g_autoptr(GString) out = g_string_new(NULL);
        hmp_execute_in(&context, line, out);
        show(opaque, out->str, out->len);
    }
}

static GPtrArray *complete(void *opaque, const char *start, gsize *from)
{
    GPtrArray *words = hmp_complete(start, from);
    g_assert_cmpuint(*from, <=, strlen(start));
    for (guint i = 0; i < words->len; i++) {
        g_assert_true(g_str_has_prefix(g_ptr_array_index(words, i), start + *from));
    }
    return words;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Machine *machine = fuzz_machine("q35");
    gsize shown = 0;
    LineEditor editor = {
        .prompt = "> ", .write = show, .run = run, .complete = complete, .opaque = &shown
    };
    line_editor_init(&editor);
    line_editor_feed(&editor, (const char *)data, size);
    g_assert_true(g_utf8_validate(editor.line->str, (gssize)editor.line->len, NULL));
    g_assert_cmpuint(editor.cursor, <=, editor.line->len);
    line_editor_cleanup(&editor);
    fuzz_machine_reset(machine);
    return 0;
}
