/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/cli/friendly.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "config.h"
#include "vmm/chardev/chardev.h"
#include "vmm/client/client.h"
#include "vmm/util/bytes.h"

#define CPUS_MAX  4
#define RAM_MIN   (512 * MIB)
#define RAM_MAX   (4 * GIB)
#define RAM_STEP  (64 * MIB)
#define SSH_FIRST 2222 /* the ports of 127.0.0.1 that lead to the guest's sshd */
#define SSH_LAST  2299
#define SSH_GUEST 22

/* ECMA-119: volume descriptors stand in sectors of 2048 bytes from the 16th on. */
#define CD_SECTOR      2048
#define CD_DESCRIPTORS (16 * CD_SECTOR)
#define CD_BOOT_RECORD (17 * CD_SECTOR)

/* ---- Memory and CPUs ---- */

/* A quarter of the host's memory, between 512 MiB and 4 GiB. */
static uint64_t default_ram(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    uint64_t host = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : 0;
    return CLAMP(ALIGN_DOWN(host / 4, RAM_STEP), RAM_MIN, RAM_MAX);
}

/* Those that this process may use, four at most. */
static unsigned default_cpus(void)
{
    cpu_set_t set;
    int count = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
    return (unsigned)CLAMP(count, 1, CPUS_MAX);
}

void friendly_begin(Cli *cli)
{
    cli->friendly = true;
    cli->run_dir = true;
    cli->config.ram_size = cli->config.ram_max = default_ram();
    cli->config.smp.cpus = default_cpus();
}

/* ---- Images ---- */

static bool ends_with(const char *file, const char *extension)
{
    size_t len = strlen(file), tail = strlen(extension);
    return len > tail && g_ascii_strcasecmp(file + len - tail, extension) == 0;
}

/* qcow2 by its name may name a backing file: a guest that wrote a header into a raw disk cannot
 * rename that disk. Of all else nothing is believed. */
const char *friendly_format(const char *file)
{
    return ends_with(file, ".qcow2") ? "qcow2" : ends_with(file, ".raw") ? "raw" : NULL;
}

char *friendly_name(const char *file)
{
    static const char *const extensions[] = { ".qcow2", ".img", ".raw",  ".iso", ".vmdk",
                                              ".vdi",   ".vhd", ".vhdx", ".vpc" };
    g_autofree char *base = g_path_get_basename(file);
    for (size_t i = 0; i < G_N_ELEMENTS(extensions); i++) {
        if (ends_with(base, extensions[i])) {
            base[strlen(base) - strlen(extensions[i])] = '\0';
            break;
        }
    }
    return rundir_clean_name(base);
}

static bool is_on_network(const char *file)
{
    return g_str_has_prefix(file, "nbd:") || g_str_has_prefix(file, "nbd+unix:");
}

static bool no_such_file(const char *file, int errnum, GError **error)
{
    g_autofree char *near = errnum == ENOENT ? client_suggest(file) : NULL;
    if (near) {
        return error_set(error, "there is no file '%s'; did you mean 'vireo %s'?", file, near);
    }
    return error_set_errno(error, errnum, "cannot open '%s'", file);
}

typedef struct CdFacts {
    bool is_cd;    /* ISO 9660 or UDF */
    bool bootable; /* El Torito */
} CdFacts;

static bool look_at_file(const char *file, CdFacts *facts, GError **error)
{
    struct stat st;
    char volume[7] = { 0 }, boot[30] = { 0 };
    int fd = open(file, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        return no_such_file(file, errno, error);
    }
    if (fstat(fd, &st) < 0 || !(S_ISREG(st.st_mode) || S_ISBLK(st.st_mode))) {
        close(fd);
        return error_set(error, "'%s' is neither a file nor a block device", file);
    }
    bool read_both = pread(fd, volume, sizeof(volume), CD_DESCRIPTORS) == sizeof(volume) &&
                     pread(fd, boot, sizeof(boot), CD_BOOT_RECORD) == sizeof(boot);
    close(fd);
    facts->is_cd = !memcmp(volume + 1, "CD001", 5) || !memcmp(volume + 1, "BEA01", 5);
    facts->bootable = read_both && boot[0] == 0 && !memcmp(boot + 1, "CD001", 5) &&
                      !memcmp(boot + 7, "EL TORITO SPECIFICATION", 23);
    return true;
}

static bool index_is_taken(const Cli *cli, const char *index)
{
    for (guint i = 0; i < cli->drives->len; i++) {
        if (g_strcmp0(opts_get(g_ptr_array_index(cli->drives, i), "index"), index) == 0) {
            return true;
        }
    }
    return false;
}

/* Where -cdrom would be, if that is free. */
static void make_cd(const Cli *cli, Opts *drive)
{
    opts_set(drive, "media", "cdrom");
    opts_set(drive, "format", "raw");
    if (cli->config.cls->ide_units && !index_is_taken(cli, "2")) {
        opts_set(drive, "if", "ide");
        opts_set(drive, "index", "2");
    }
}

/* A disk that a guest has filled with a CD's file system must not become a CD by that: the name
 * has to say so as well. */
static bool take_image(Cli *cli, Opts *drive, bool *starts, GError **error)
{
    CdFacts facts = { 0 };
    const char *file = opts_get(drive, "file"), *format = friendly_format(file);
    if (is_on_network(file)) {
        return true;
    }
    if (!look_at_file(file, &facts, error)) {
        return false;
    }
    if (ends_with(file, ".iso")) {
        if (!facts.is_cd) {
            return error_set(error,
                             "'%s' has no CD's file system (ISO 9660, UDF): is it whole? "
                             "-drive file=FILE makes a disk of it",
                             file);
        }
        make_cd(cli, drive);
        *starts |= facts.bootable;
        return true;
    }
    if (facts.is_cd && !format) {
        report_info("'%s' has a CD's file system, but is not called .iso: it becomes a disk "
                    "(-cdrom makes it a CD)",
                    file);
    }
    if (format) {
        opts_set(drive, "format", format);
    }
    /* -daemonize leaves the directory, and vireo info shows the name. */
    g_autofree char *whole = g_canonicalize_filename(file, NULL);
    opts_set(drive, "file", whole);
    return true;
}

/* Who names an installer's CD wants it to run: this once, and the disk after its reboot. */
static bool take_images(Cli *cli, GError **error)
{
    bool starts = false;
    for (unsigned i = 0; i < cli->disk_images; i++) {
        if (!take_image(cli, g_ptr_array_index(cli->drives, i), &starts, error)) {
            return false;
        }
    }
    BootConfig *boot = &cli->config.boot;
    if (starts && !boot->order && !boot->once) {
        boot->once = g_strdup("d");
    }
    return true;
}

/* ---- Network ---- */

static bool wants_network(const Cli *cli)
{
#ifdef HAVE_SLIRP
    return !cli->nodefaults && !cli->no_net && !cli->nics->len && !cli->netdevs->len &&
           cli->config.cls->default_nic;
#else
    return false;
#endif
}

static bool add_network(Cli *cli, RunDir *dir, GError **error)
{
    cli->ssh_port = rundir_take_port(dir, SSH_FIRST, SSH_LAST, error);
    if (!cli->ssh_port) {
        return false;
    }
    g_autofree char *rule = g_strdup_printf("tcp:127.0.0.1:%u-:%d", cli->ssh_port, SSH_GUEST);
    Opts *nic = opts_new();
    opts_set(nic, "type", "user");
    opts_set(nic, "hostfwd", rule);
    g_ptr_array_add(cli->nics, nic);
    return true;
}

/* ---- The run directory ---- */

static bool is_stdio(const char *text)
{
    return text && (g_str_has_prefix(text, "stdio") || g_str_has_prefix(text, "mon:stdio"));
}

static bool terminal_is_taken(const Cli *cli)
{
    const GPtrArray *lists[] = { cli->parallels, cli->monitors, cli->qmps, cli->qmps_pretty };
    bool taken = is_stdio(cli->debugcon) || is_stdio(cli->gdb) || is_stdio(cli->qtest);
    for (size_t i = 0; i < G_N_ELEMENTS(lists); i++) {
        for (guint j = 0; j < lists[i]->len; j++) {
            taken |= is_stdio(g_ptr_array_index(lists[i], j));
        }
    }
    for (guint i = 0; i < cli->chardevs->len; i++) {
        taken |= is_stdio(opts_get(g_ptr_array_index(cli->chardevs, i), "backend"));
    }
    return taken;
}

static char *name_for(const Cli *cli)
{
    if (cli->config.name) {
        return rundir_clean_name(cli->config.name);
    }
    const char *file = cli->drives->len ? opts_get(g_ptr_array_index(cli->drives, 0), "file")
                                        : NULL;
    return friendly_name(file ? file : "machine");
}

static bool open_sockets(Cli *cli, RunDir *dir, GError **error)
{
    cli->qmp_fd = rundir_listen(dir, RUNDIR_QMP, error);
    if (cli->qmp_fd < 0) {
        return false;
    }
    if (!cli->serials->len && !cli->nodefaults) {
        cli->console_fd = rundir_listen(dir, RUNDIR_CONSOLE, error);
        cli->console_on_terminal = !cli->daemonize && !terminal_is_taken(cli) &&
                                   (!cli->display_none || cli->nographic);
        return cli->console_fd >= 0;
    }
    return true;
}

static bool write_info(const Cli *cli, RunDir *dir, GError **error)
{
    json_object *info = json_object_new_object();
    json_object_object_add(info, "cpus", json_object_new_int((int)cli->config.smp.cpus));
    json_object_object_add(info, "memory", json_object_new_int64((int64_t)cli->config.ram_size));
    bool good = rundir_write_info(dir, info, error);
    json_object_put(info);
    return good;
}

static bool enter_run_dir(Cli *cli, RunDir **dir, GError **error)
{
    g_autofree char *name = name_for(cli);
    *dir = rundir_claim(name, !cli->config.name, error);
    return *dir && open_sockets(cli, *dir, error) && write_info(cli, *dir, error);
}

bool friendly_prepare(Cli *cli, RunDir **dir, GError **error)
{
    *dir = NULL;
    if (cli->friendly && !take_images(cli, error)) {
        return false;
    }
    if (!cli->run_dir) {
        return true;
    }
    if (!enter_run_dir(cli, dir, error)) {
        g_prefix_error(error, "-run-dir: ");
        return false;
    }
    return !cli->friendly || !wants_network(cli) || add_network(cli, *dir, error);
}

/* ---- Words ---- */

void friendly_announce(const Cli *cli, const RunDir *dir)
{
    if (!cli->friendly || !dir) {
        return;
    }
    const char *name = rundir_name(dir);
    char key[CHAR_KEY_NAME_MAX];
    chardev_mux_escape_name(key);
    g_autoptr(GString) text = g_string_new(NULL);
    g_string_printf(text, "'%s': %u CPU%s, %llu MiB", name, cli->config.smp.cpus,
                    cli->config.smp.cpus == 1 ? "" : "s", cli->config.ram_size / MIB);
    if (cli->ssh_port) {
        g_string_append_printf(text, "; vireo ssh %s (port %u)", name, cli->ssh_port);
    }
    if (cli->console_on_terminal) {
        g_string_append_printf(text,
                               "; %s x ends it, %s c goes to the monitor and back, %s h shows keys",
                               key, key, key);
    } else {
        g_string_append_printf(text, "; vireo %s %s; vireo stop %s",
                               cli->console_fd >= 0 ? "console" : "info", name, name);
    }
    report_info("%s", text->str);
}
