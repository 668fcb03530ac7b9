/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vireo-img: finds the command, runs it, ends in order. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include "block/image.h"
#include "block/img/img.h"
#include "block/nbd/tool.h"
#include "config.h"
#include "vmm/memory/rcu.h"
#include "vmm/object/object.h"

static void show_help(void)
{
    g_autoptr(GString) text = g_string_new(NULL);
    g_string_append(text, "vireo-img version " VIREO_VERSION "\n"
                          "usage: vireo-img COMMAND [options]\n"
                          "Disk image utility: the commands and options of qemu-img.\n\n"
                          "  -h, --help       show this help\n"
                          "  -V, --version    show the version\n\n"
                          "Commands (vireo-img COMMAND --help tells more):\n");
    for (const ImgCommand *c = img_commands; c->name; c++) {
        g_string_append_printf(text, "  %-10s %s\n", c->name, c->help);
    }
    g_string_append(text,
                    "  nbd        serve an image to NBD clients: vireo-nbd by another name\n");
    fputs(text->str, stdout);
}

static int unknown_command(const char *name)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    for (const ImgCommand *c = img_commands; c->name; c++) {
        g_ptr_array_add(names, (void *)c->name);
    }
    g_ptr_array_add(names, NULL);
    g_autofree char *nearest = suggest_nearest(name, (const char *const *)names->pdata);
    return nearest ? img_usage_error("there is no command '%s' (did you mean '%s'?)", name, nearest)
                   : img_usage_error("there is no command '%s'", name);
}

static int run_command(const ImgCommand *command, int argc, char **argv)
{
    ImgArgs args;
    int status = 1;
    if (img_args_parse(&args, command, argc, argv)) {
        if (img_has(&args, "help")) {
            g_autoptr(GString) text = g_string_new(NULL);
            img_command_help(command, text);
            fputs(text->str, stdout);
            status = 0;
        } else if (img_make_objects(&args)) {
            status = command->run(&args);
        }
    }
    img_args_clear(&args);
    return status;
}

static int dispatch(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : NULL;
    if (!word) {
        return img_usage_error("a command and its arguments are needed");
    }
    if (!strcmp(word, "-h") || !strcmp(word, "--help")) {
        show_help();
        return 0;
    }
    if (!strcmp(word, "-V") || !strcmp(word, "--version")) {
        puts("vireo-img version " VIREO_VERSION);
        return 0;
    }
    if (!strcmp(word, "nbd")) { /* its options are qemu-nbd's; it may fork */
        argv[1] = "vireo-img nbd";
        return nbd_tool_main(argc - 1, argv + 1);
    }
    if (word[0] == '-') {
        return img_usage_error("unrecognized option '%s'", word);
    }
    for (const ImgCommand *c = img_commands; c->name; c++) {
        if (!strcmp(c->name, word)) {
            return run_command(c, argc - 1, argv + 1);
        }
    }
    return unknown_command(word);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file at its limit (ulimit -f) is an error, EFBIG */
    report_set_program("vireo-img");
    rcu_thread_register();
    block_allow_legacy_encryption(true);
    event_loop_main();
    int status = img_status(dispatch(argc, argv));
    block_close_all();
    objects_delete_all();
    if (fflush(stdout) != 0 && status == 0) {
        report_error("cannot write to standard output");
        status = 1;
    }
    return status;
}
