/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line of vireo-img: wrong options are refused, with qemu-img's exit statuses. */
#include <string.h>
#include "tests/img/imgtest.h"

/* What both refuse, each with a message. */
static const char *const wrong[] = {
    "",
    "nocommand",
    "-Z",
    "create",
    "create --nosuch",
    "create -f",
    "create -f nosuch x 1M",
    "create -f qcow2 x",
    "create -f qcow2 x abc",
    "create -f raw x 9E",
    "create -f qcow2 x 1M 2M",
    "create -f qcow2 -o nosuch=1 x 1M",
    "create -f qcow2 -o lazy_refcounts=maybe x 1M",
    "create -f qcow2 -u -b base -F qcow2 x",
    "create -f qcow2 -b nosuch -F qcow2 x",
    "create -f qcow2 -b data.raw x",
    "create -f qcow2 -b x -F raw x",
    "create -f raw -b data.raw -F raw x",
    "create -f raw -o preallocation=metadata x 1M",
    "create -f qcow2 nosuch/x 1M",
    "info",
    "info nosuch",
    "info data.raw more",
    "info --output=xml data.raw",
    "info -f nosuch data.raw",
    "info -f qcow2 data.raw",
    "check",
    "check data.raw",
    "check nosuch",
    "check -r some data.raw",
    "convert",
    "convert data.raw",
    "convert -O nosuch data.raw x",
    "convert -C -c -O qcow2 data.raw x",
    "convert -C -S 4k data.raw x",
    "convert -c -O raw data.raw x",
    "convert -S 1000 data.raw x",
    "convert -S 1G data.raw x",
    "convert -m 0 data.raw x",
    "convert -m 17 data.raw x",
    "convert -t nosuch data.raw x",
    "convert -T nosuch data.raw x",
    "convert -n data.raw nosuch",
    "convert -n -o size=1M data.raw data.raw",
    "convert --target-is-zero data.raw x",
    "convert --target-image-opts data.raw driver=raw,file.filename=x",
    "convert -l nosuch data.raw x",
    "convert -B data.raw -O qcow2 data.raw x",
    "convert -B data.raw -F raw -O raw data.raw x",
    "convert -B data.raw -F raw -O qcow2 data.raw data.raw x",
    "convert -O raw --bitmaps data.raw x",
    "convert -O qcow2 nosuch x",
    "convert -n -O raw data.raw small.raw",
    "resize",
    "resize data.raw",
    "resize -f raw data.raw abc",
    "resize -f raw data.raw -64k",
    "resize -f raw --shrink data.raw -1G",
    "resize -f raw --preallocation=nosuch data.raw +64k",
    "resize -f raw --preallocation=metadata data.raw +64k",
    "resize -f raw --preallocation=falloc --shrink data.raw 64k",
    "resize -f raw nosuch 1M",
    "snapshot",
    "snapshot -l -c x data.raw",
    "snapshot -c x -f raw data.raw",
    "snapshot -a x -f raw data.raw",
    "rebase data.raw",
    "rebase -f raw -b small.raw -F raw data.raw",
    "rebase -f raw -u -b small.raw -F nosuch data.raw",
    "commit",
    "commit -f raw data.raw",
    "commit -t nosuch data.raw",
    "compare data.raw",
    "compare data.raw nosuch",
    "compare nosuch data.raw",
    "compare -T nosuch data.raw data.raw",
    "map",
    "map nosuch",
    "map --output=xml data.raw",
    "map -s abc data.raw",
    "measure",
    "measure --size 1M data.raw",
    "measure --size abc",
    "measure -O nosuch --size 1M",
    "dd if=data.raw",
    "dd of=x",
    "dd if=data.raw of=x bs=0",
    "dd if=data.raw of=x bs=abc",
    "dd if=data.raw of=x nosuch=1",
    "dd if=data.raw of=x nosuch",
    "dd if=nosuch of=x",
    "dd -O nosuch if=data.raw of=x",
    "amend data.raw",
    "amend -f raw -o size=1M data.raw",
    "bitmap",
    "bitmap --add data.raw",
    "bitmap data.raw b",
    "bitmap --add -f raw data.raw b",
    "bitmap --add -g 100 data.raw b",
    "bitmap --add -g abc data.raw b",
    "bitmap --remove -g 4k data.raw b",
    "bitmap --remove -b small.raw data.raw b",
    "bitmap --merge c -F raw data.raw b",
    "bench",
    "bench -c abc data.raw",
    "bench -d abc data.raw",
    "bench -s abc data.raw",
    "bench -S abc data.raw",
    "bench -o abc data.raw",
    "bench -i nosuch data.raw",
    "bench --pattern 300 data.raw",
    "bench --flush-interval 10 data.raw",
    "bench -w -f raw --flush-interval 10 data.raw",
};

static void wrong_command_lines_are_refused_as_by_qemu_img(void)
{
    if (!imgtest_has_qemu()) {
        g_test_skip("qemu-img is not installed");
        return;
    }
    imgtest_make_raw("data.raw", "ab.c");
    imgtest_make_raw("small.raw", "a");
    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        imgtest_same_status(wrong[i]);
    }
}

static void wrong_command_lines_leave_no_file(void)
{
    imgtest_make_raw("data.raw", "a");
    g_free(imgtest_vireo("create -f qcow2 new 1M -o nosuch=1", 1));
    g_free(imgtest_vireo("convert -O qcow2 -c -W data.raw new", 1));
    g_free(imgtest_vireo("info new", 1));
}

/* One line that says so, with status 1, and the image is what it was: nothing wraps around. */
static void sizes_that_overflow_are_refused(void)
{
    static const char *const commands[] = {
        "create -f qcow2 new 8E",
        "create -f qcow2 new 9223372036854775807",
        "create -f qcow2 new 18446744073709551616",
        "create -f qcow2 -o cluster_size=512 new 1P",
        "create -f qcow2 -o preallocation=metadata new 4E",
        "create -f raw new 9223372036854775807",
        "resize -f qcow2 old +8E",
        "resize -f qcow2 old +9223372036854775807",
        "resize -f qcow2 old 9223372036854775807",
        "resize -f qcow2 old 4E",
        "resize -f qcow2 --shrink old -2M",
        "resize -f raw old +9223372036854775807",
        "dd -f raw bs=9223372036854775807 count=3 if=old of=new",
    };
    g_free(imgtest_vireo("create -q -f qcow2 old 1M", 0));
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        g_auto(Run) run = imgtest_run(TOOL_VIREO, commands[i]);
        g_test_message("%s", commands[i]);
        g_assert_cmpint(run.status, ==, 1);
        g_assert_true(g_str_has_prefix(run.err, "vireo-img: "));
        g_autofree char *info = imgtest_vireo("info -f qcow2 old", 0);
        g_assert_nonnull(strstr(info, "virtual size: 1 MiB"));
    }
    g_free(imgtest_vireo("check -f qcow2 old", 0));
}

static void an_unknown_command_suggests_the_nearest(void)
{
    g_auto(Run) run = imgtest_run(TOOL_VIREO, "conver");
    g_assert_cmpint(run.status, ==, 1);
    g_assert_nonnull(
        strstr(run.err, "vireo-img: there is no command 'conver' (did you mean 'convert'?)"));
}

static void every_command_has_help(void)
{
    static const char *const commands[] = { "amend",   "bench",   "bitmap", "check",  "commit",
                                            "compare", "convert", "create", "dd",     "info",
                                            "map",     "measure", "rebase", "resize", "snapshot" };
    g_autofree char *all = imgtest_vireo("--help", 0);
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        g_autofree char *args = g_strdup_printf("%s --help", commands[i]);
        g_autofree char *help = imgtest_vireo(args, 0);
        g_assert_nonnull(strstr(all, commands[i]));
        g_assert_nonnull(strstr(help, commands[i]));
    }
    g_autofree char *version = imgtest_vireo("--version", 0);
    g_assert_true(g_str_has_prefix(version, "vireo-img version "));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    imgtest_begin();
    g_test_add_func("/img/usage/wrong_command_lines_are_refused_as_by_qemu_img",
                    wrong_command_lines_are_refused_as_by_qemu_img);
    g_test_add_func("/img/usage/wrong_command_lines_leave_no_file",
                    wrong_command_lines_leave_no_file);
    g_test_add_func("/img/usage/sizes_that_overflow_are_refused", sizes_that_overflow_are_refused);
    g_test_add_func("/img/usage/an_unknown_command_suggests_the_nearest",
                    an_unknown_command_suggests_the_nearest);
    g_test_add_func("/img/usage/every_command_has_help", every_command_has_help);
    int status = g_test_run();
    imgtest_end();
    return status;
}
