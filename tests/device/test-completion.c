/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The completions that are installed for bash and zsh: a line up to the cursor, and what the shell
 * would offer. */
#include <stdbool.h>
#include <string.h>
#include <glib/gstdio.h>

typedef struct Case {
    const char *line;   /* behind "vireo " */
    const char *offers; /* words between spaces that are offered */
    const char * not ;  /* a word that is not; NULL: none */
} Case;

/* Words are as they are on the line; bash takes off what stands before '=' and ':'. */
static const Case cases[] = {
    { "-dev", "-device", "-drive" },
    { "-", "-device -readconfig -M -set", "-vnc" },
    { "-m 1G -sm", "-smp -smbios", "-m" },
    { "-device virtio-b", "virtio-blk-pci virtio-blk virtio-balloon-pci", "virtio-net-pci" },
    { "-device virtio-blk-pci,dr", "virtio-blk-pci,drive=", "virtio-blk-pci,serial=" },
    { "-device virtio-blk-pci,id=a,share", "virtio-blk-pci,id=a,share-rw=on", NULL },
    { "-device driver=virtio-blk-pci,seri", "driver=virtio-blk-pci,serial=", NULL },
    { "-drive if=none,id=d1 -blockdev raw,node-name=n2,file=x -device virtio-blk-pci,drive=",
      "virtio-blk-pci,drive=d1 virtio-blk-pci,drive=n2", NULL },
    { "-netdev user,id=net7 -device e1000e,netdev=", "e1000e,netdev=net7", NULL },
    { "-object iothread,id=io9 -device virtio-blk-pci,iothread=", "virtio-blk-pci,iothread=io9",
      NULL },
    { "-object mem", "memory-backend-memfd memory-backend-ram", "rng-builtin" },
    { "-object iothread,cpu", "iothread,cpu-affinity=", "iothread,poll-grow=" },
    { "-M q", "q35", "microvm" },
    { "-machine pc-q", "pc-q35-7.2 pc-q35-6.0", "pc" },
    { "-machine q35,acp", "q35,acpi=on q35,acpi=off", NULL },
    { "-cpu Hasw", "Haswell Haswell-noTSX-IBRS", "host" },
    { "-cpu Haswell,avx", "Haswell,avx2=on", NULL },
    { "-accel ", "kvm qtest kernel-irqchip=split", "kernel-irqchip=" },
    { "-smp 2,", "2,maxcpus= 2,sockets=", "2,vcpunum=" },
    { "-rtc clock=", "clock=host clock=rt clock=vm", "base=utc" },
    { "-drive format=q", "format=qcow2", "format=raw" },
    { "-drive if=none,media=", "if=none,media=cdrom if=none,media=disk", NULL },
    { "-netdev u", "user", "tap" },
    { "-chardev so", "socket", "stdio" },
    { "-chardev socket,ser", "socket,server=on socket,server=off", NULL },
    { "-serial m", "mon:stdio", "stdio" },
    { "-chardev pty,id=c5 -serial chardev:", "chardev:c5", NULL },
    { "-global virtio-blk-p", "virtio-blk-pci.", NULL },
    { "-global virtio-blk-pci.ser", "virtio-blk-pci.serial=", NULL },
    { "-kernel vm", "vmlinux-1", "other-file" },
    { "-drive file=vm", "file=vmlinux-1", "file=other-file" },
    { "-S oth", "other-file", "vmlinux-1" },
    { "-L sub", "subdirectory/", NULL },
    { "s", "ssh stop subdirectory/", "list" },
    { "", "list info console ssh stop help vmlinux-1", "web-1" },
    { "-S li", "", "list" },
    { "info ", "web-1 --output=human --output=json", "w;b" },
    { "info ", "web-1", "vmlinux-1" },
    { "console w", "web-1", NULL },
    { "info web-1 ", "--output=json", "web-1" },
    { "info --output ", "human json", "web-1" },
    { "info --output json w", "web-1", "json" },
    { "list --output=j", "--output=json", "--output=human" },
    { "list ", "--output=json", "web-1" },
    { "stop --timeout ", "", "web-1" },
    { "stop --timeout 5 --force ", "web-1", "w;b" },
    { "stop web-1 --", "--timeout= --force", "web-1" },
    { "ssh root@w", "root@web-1", NULL },
    { "ssh web-1 ", "", "web-1" },
    { "help s", "ssh stop", "list" },
};

static const char bash_script[] =
    ". \"$1\" && COMP_WORDBREAKS=$' \\t\\n\"\\'@><=;|&(:' COMP_LINE=$2 COMP_POINT=${#2} && "
    "_vireo && printf '%s\\n' \"${COMPREPLY[@]}\"";

/* compadd and its kin are of the line editor: they print here. */
static const char zsh_script[] =
    "emulate zsh\n"
    "words=(${(z)2}); [[ $2 = *' ' ]] && words+=('')\n"
    "CURRENT=$#words PREFIX=$words[-1]\n"
    "compadd() { print -l -- ${(PM)${@[-1]}:#$PREFIX*}; }\n"
    "compset() { IPREFIX=${PREFIX[1,${#2}]} PREFIX=${PREFIX[${#2}+1,-1]}; }\n"
    "_files() { local f; for f in $PREFIX*(N$([[ $1 = -/ ]] && echo M/ || echo M)); do "
    "print -- $IPREFIX$f; done; }\n"
    "IPREFIX=\n"
    ". \"$1\"\n";

static char *make_files(void)
{
    char *dir = g_dir_make_tmp("vireo-completion-XXXXXX", NULL);
    g_autofree char *kernel = g_build_filename(dir, "vmlinux-1", NULL);
    g_autofree char *other = g_build_filename(dir, "other-file", NULL);
    g_autofree char *sub = g_build_filename(dir, "subdirectory", NULL);
    g_assert_true(g_file_set_contents(kernel, "", 0, NULL));
    g_assert_true(g_file_set_contents(other, "", 0, NULL));
    g_assert_cmpint(g_mkdir(sub, 0700), ==, 0);
    return dir;
}

static void remove_files(const char *dir)
{
    g_autofree char *command = g_strdup_printf("rm -rf '%s'", dir);
    g_assert_true(g_spawn_command_line_sync(command, NULL, NULL, NULL, NULL));
}

/* A line with the program for V; what it prints. */
static char *run(const char *dir, const char *line)
{
    const char *argv[] = { "sh", "-c", line, NULL };
    char *out = NULL;
    g_setenv("V", g_getenv("VIREO"), TRUE);
    g_assert_true(g_spawn_sync(dir, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &out,
                               NULL, NULL, NULL));
    return out;
}

/* What is run finds them by XDG_RUNTIME_DIR. */
static void start_machines(const char *dir)
{
    static const char *const names[] = { "web-1", "w;b" };
    g_setenv("XDG_RUNTIME_DIR", dir, TRUE);
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *line =
            g_strdup_printf("truncate -s 1M d%zu.img && \"$V\" d%zu.img -name '%s' -accel qtest "
                            "-qtest unix:q%zu,server=on,wait=off -m 64 -display none >log%zu 2>&1 "
                            "</dev/null & until \"$V\" list | grep -q '^%s .*running'; do "
                            "kill -0 $! || { cat log%zu; exit; }; done",
                            i, i, names[i], i, i, names[i], i);
        g_autofree char *out = run(dir, line);
        g_assert_cmpstr(out, ==, "");
    }
}

static void stop_machines(const char *dir)
{
    g_autofree char *out = run(dir, "\"$V\" stop web-1 --force; \"$V\" stop 'w;b' --force");
    g_test_message("%s", out);
}

/* What the shell offers, a line each with "\n" before and behind. */
static char *offered(char **shell, const char *script, const char *file, const char *line,
                     const char *dir)
{
    g_autofree char *whole = g_strdup_printf("%s %s", g_getenv("VIREO"), line);
    g_autofree char *text = NULL;
    g_autofree char *messages = NULL;
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) argv = g_ptr_array_new();
    while (*shell) {
        g_ptr_array_add(argv, *shell++);
    }
    const char *rest[] = { "-c", script, "shell", file, whole, NULL };
    for (size_t i = 0; i < G_N_ELEMENTS(rest); i++) {
        g_ptr_array_add(argv, (char *)rest[i]);
    }
    g_assert_true(g_spawn_sync(dir, (char **)argv->pdata, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL,
                               &text, &messages, NULL, &error));
    g_assert_cmpstr(messages, ==, "");
    return g_strconcat("\n", text, NULL);
}

static bool offers(const char *text, const char *word)
{
    g_autofree char *line = g_strdup_printf("\n%s\n", word);
    return strstr(text, line) != NULL;
}

/* cut: what of a word the shell does not want to hear again. */
static void check_case(const Case *c, const char *text, size_t cut)
{
    g_test_message("%s: %s", c->line, text);
    g_auto(GStrv) words = g_strsplit(c->offers, " ", -1);
    for (char **word = words; *word; word++) {
        g_assert_true(offers(text, *word + cut));
    }
    g_assert_true(!c->not || !offers(text, c->not ));
}

static void test_bash(void)
{
    char *shell[] = { "bash", "--norc", "--noprofile", NULL };
    g_autofree char *dir = make_files();
    start_machines(dir);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        const char *current = strrchr(cases[i].line, ' ');
        current = current ? current + 1 : cases[i].line;
        size_t cut = strlen(current);
        while (cut > 0 && !strchr("=:@", current[cut - 1])) {
            cut--;
        }
        g_autofree char *text =
            offered(shell, bash_script, g_getenv("BASH_COMPLETION"), cases[i].line, dir);
        check_case(&cases[i], text, cut);
    }
    stop_machines(dir);
    remove_files(dir);
}

static void test_zsh(void)
{
    char *shell[] = { "zsh", "-f", NULL };
    g_autofree char *path = g_find_program_in_path("zsh");
    if (!path) {
        g_test_skip("there is no zsh");
        return;
    }
    g_autofree char *dir = make_files();
    start_machines(dir);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *text =
            offered(shell, zsh_script, g_getenv("ZSH_COMPLETION"), cases[i].line, dir);
        check_case(&cases[i], text, 0);
    }
    stop_machines(dir);
    remove_files(dir);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/completion/bash", test_bash);
    g_test_add_func("/completion/zsh", test_zsh);
    return g_test_run();
}
