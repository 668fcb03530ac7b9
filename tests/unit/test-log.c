/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The log of -d: its items and QEMU's, its file, and what a guest's wrong accesses leave in it. */
#include "vmm/log.h"

#include <string.h>
#include <unistd.h>
#include <glib/gstdio.h>
#include "vmm/memory/address_space.h"
#include "vmm/memory/rcu.h"

#define QEMU "/usr/bin/qemu-system-x86_64"

static void test_items(void)
{
    g_autoptr(GError) error = NULL;
    log_items = 0;
    g_assert_false(log_wants(LOG_GUEST_ERRORS));
    g_assert_true(log_add_items("guest_errors", &error));
    g_assert_true(log_wants(LOG_GUEST_ERRORS));
    g_assert_false(log_wants(LOG_CPU_RESET));
    g_assert_true(log_add_items("guest_errors,cpu_reset", &error));
    g_assert_true(log_wants(LOG_CPU_RESET));
    log_items = 0;
    g_assert_true(log_add_items("all", &error));
    g_assert_true(log_wants(LOG_GUEST_ERRORS) && log_wants(LOG_CPU_RESET));
    static const char *const wrong[][2] = {
        { "", "which items?" },
        { "guest_errors,", "'' is no log item" },
        { "guest_error", "did you mean 'guest_errors'" },
        { "in_asm", "QEMU has this item, Vireo does not: Vireo translates no code" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_assert_false(log_add_items(wrong[i][0], &error));
        g_test_message("%s", error->message);
        g_assert_nonnull(strstr(error->message, wrong[i][1]));
        g_clear_error(&error);
    }
    log_items = 0;
}

/* Each line of `-d help` that begins with an item and spaces. */
static void test_qemus_items_are_taken_or_refused_with_a_reason(void)
{
    g_autofree char *help = NULL;
    unsigned count = 0;
    if (!g_file_test(QEMU, G_FILE_TEST_IS_EXECUTABLE)) {
        g_test_skip("there is no " QEMU);
        return;
    }
    g_assert_true(g_spawn_command_line_sync(QEMU " -d help", &help, NULL, NULL, NULL));
    g_autoptr(GRegex) line = g_regex_new("^([a-z_]+)  +", G_REGEX_MULTILINE, 0, NULL);
    g_autoptr(GMatchInfo) match = NULL;
    for (g_regex_match(line, help, 0, &match); g_match_info_matches(match);
         g_match_info_next(match, NULL)) {
        g_autofree char *name = g_match_info_fetch(match, 1);
        g_autoptr(GError) error = NULL;
        bool taken = log_add_items(name, &error);
        g_test_message("%s: %s", name, taken ? "taken" : error->message);
        g_assert_true(taken || strstr(error->message, "QEMU has this item, Vireo does not: "));
        count++;
    }
    g_assert_cmpuint(count, >, 15);
    log_items = 0;
}

static void test_wrong_accesses_are_in_the_file(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *name = g_strdup_printf("test-log-%d.txt", getpid());
    g_autofree char *text = NULL;
    g_assert_false(log_open("/nonexistent/x", &error));
    g_assert_nonnull(strstr(error->message, "cannot create '/nonexistent/x': No such file"));
    g_assert_cmpint(log_fd(), ==, -1);
    g_assert_true(g_file_set_contents(name, "old", 3, NULL));
    g_assert_true(log_open("test-log-%d.txt", NULL));
    AddressSpace *space = address_space_new("memory", UINT64_MAX);
    DispatchCache cache = { 0 };
    g_assert_cmphex(address_space_load(space, &cache, 0x1000, 4), ==, 0xffffffff);
    g_assert_true(log_add_items("guest_errors", NULL));
    address_space_load(space, &cache, 0xfee1dead, 4);
    address_space_store(space, &cache, 0x2000, 1, 2);
    address_space_free(space);
    log_close();
    g_assert_true(g_file_get_contents(name, &text, NULL, NULL));
    g_assert_cmpstr(text, ==,
                    "read of 4 bytes at 0xfee1dead of 'memory': nothing is there\n"
                    "write of 2 bytes at 0x2000 of 'memory': nothing is there\n");
    g_unlink(name);
    log_items = 0;
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    rcu_thread_register();
    g_test_add_func("/log/items", test_items);
    g_test_add_func("/log/qemus-items", test_qemus_items_are_taken_or_refused_with_a_reason);
    g_test_add_func("/log/wrong-accesses", test_wrong_accesses_are_in_the_file);
    int status = g_test_run();
    rcu_thread_unregister();
    return status;
}
