/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The commands of vireo-img and the manual page made from them. */
#include "block/img/img.h"

#include "config.h"

#define COMMAND(id, what_follows, text)                                                            \
    {                                                                                              \
        .name = #id, .words = (what_follows), .help = (text), .options = img_##id##_options,       \
        .run = img_##id##_run                                                                      \
    }

const ImgCommand img_commands[] = {
    COMMAND(amend, "FILENAME", "changes options of an image's format"),
    COMMAND(bench, "FILENAME", "measures sequential requests to an image"),
    COMMAND(bitmap, "FILENAME BITMAP", "changes persistent dirty bitmaps"),
    COMMAND(check, "FILENAME", "looks for damage in an image, and repairs it"),
    COMMAND(commit, "FILENAME", "writes an overlay's changes into its backing file"),
    COMMAND(compare, "FILENAME1 FILENAME2", "tells where two disks differ, if they do"),
    COMMAND(convert, "FILENAME [FILENAME2 [...]] OUTPUT_FILENAME",
            "copies images into a new one, of any format"),
    COMMAND(create, "FILENAME [SIZE]", "makes an empty image"),
    COMMAND(dd, "if=FILENAME of=FILENAME [bs=BYTES] [count=N] [skip=N]",
            "copies blocks of an image into a new one"),
    COMMAND(info, "FILENAME", "describes an image"),
    COMMAND(map, "FILENAME", "shows where the data of an image is"),
    COMMAND(measure, "[FILENAME]", "tells how large the file of an image would be"),
    COMMAND(rebase, "FILENAME", "gives an image another backing file"),
    COMMAND(resize, "FILENAME [+|-]SIZE", "changes the size of an image"),
    COMMAND(snapshot, "FILENAME", "lists, makes, applies or deletes internal snapshots"),
    { 0 },
};

static void append_escaped(GString *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '-') {
            g_string_append(out, "\\-");
        } else {
            g_string_append_c(out, *text);
        }
    }
}

static void append_man_option(GString *out, const ImgOption *option)
{
    g_string_append(out, ".TP\n.B ");
    if (option->letter) {
        g_string_append_printf(out, "\\-%c", option->letter);
    }
    if (option->name) {
        g_string_append(out, option->letter ? ", \\-\\-" : "\\-\\-");
        append_escaped(out, option->name);
    }
    if (option->arg) {
        g_string_append_printf(out, "%c", option->name ? '=' : ' ');
        append_escaped(out, option->arg);
    }
    g_string_append_c(out, '\n');
    append_escaped(out, option->help);
    g_string_append_c(out, '\n');
}

void img_man(GString *out)
{
    g_string_append(out, ".TH VIREO-IMG 1 \"\" \"Vireo " VIREO_VERSION "\"\n"
                         ".SH NAME\nvireo\\-img \\- disk image utility\n"
                         ".SH SYNOPSIS\n.B vireo\\-img\n.RI COMMAND\\ [ options ]\n"
                         ".SH DESCRIPTION\nMakes, describes, checks, changes and copies disk "
                         "images, with the commands, options, output and exit statuses of "
                         "qemu\\-img.\n.SH COMMANDS\n");
    for (const ImgCommand *c = img_commands; c->name; c++) {
        g_string_append_printf(out, ".SS %s [options] ", c->name);
        append_escaped(out, c->words);
        g_string_append_printf(out, "\n%s.\n", c->help);
        for (const ImgOption *o = c->options; o->help; o++) {
            append_man_option(out, o);
        }
    }
    g_string_append(out,
                    ".SH EXIT STATUS\n0, or 1 after an error.\n"
                    ".B compare:\n0 identical, 1 different, 2 and above: an error.\n"
                    ".B check:\n0 sound, 1 the check failed, 2 damaged, 3 leaked clusters only, "
                    "63 the format has no check.\n"
                    ".SH SEE ALSO\n.BR vireo (1)\n");
}
