/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -chardev and -serial texts: whatever the text, an error or a device that can be closed again. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "vmm/chardev/chardev.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An empty directory; inputs name files in it only. */
static void prepare(void)
{
    char directory[] = "/tmp/vireo-fuzz-XXXXXX";
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (!mkdtemp(directory) || chdir(directory) != 0 || null < 0) {
        abort();
    }
}

/* Texts that would leave the directory or the process: other files, other hosts, its own terminal
 * and descriptors, and a lot of memory for each input. */
static bool goes_out(const char *text)
{
    static const char *const words[] = { "/",     "..",  "host", "port", "tcp", "telnet:", "udp",
                                         "stdio", "pty", "fd",   "M",    "G",   "T" };
    for (size_t i = 0; i < G_N_ELEMENTS(words); i++) {
        if (strstr(text, words[i])) {
            return true;
        }
    }
    return false;
}

static const CharFrontendOps ops = { 0 };

static void use(Chardev *c)
{
    g_free(chardev_filename(c));
    CharFrontend *fe = char_frontend_attach(c, &ops, NULL, NULL);
    if (fe) {
        char_write(fe, (const uint8_t *)"text", 4);
        g_main_context_iteration(NULL, FALSE);
        char_frontend_detach(fe);
    }
}

/* Input: byte 0: odd for the short form; the rest: the text. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool prepared;
    if (!prepared) {
        prepare();
        prepared = true;
    }
    if (size < 1 || size > 1000) {
        return 0;
    }
    g_autoptr(GError) error = NULL;
    g_autofree char *text = g_strndup((const char *)data + 1, size - 1);
    /* A server must not wait for a client; a comma before the comma would be one in a value. */
    if (goes_out(text) || g_str_has_suffix(text, ",")) {
        return 0;
    }
    g_autofree char *full = g_strconcat(text, strstr(text, "server") ? ",wait=off" : "", NULL);
    Chardev *c = NULL;
    if (data[0] & 1) {
        c = chardev_new_legacy(full, "fuzz", &error);
    } else {
        g_autoptr(Opts) o = opts_parse(full, "backend", &error);
        c = o ? chardev_new(o, &error) : NULL;
    }
    if (c) {
        g_assert_null(error);
        use(c);
    }
    chardev_close_all();
    return 0;
}
