/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Command lines that cannot work: one clear line on standard error, exit status 1, nothing left. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <glib/gstdio.h>
#include "tests/device/libqtest.h"

#define DISK "test-errors.raw"

static void make_disk(void)
{
    int fd = open(DISK, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, 1 << 20), ==, 0);
    close(fd);
}

typedef struct Case {
    const char *line, *text;
} Case;

static void expect_errors(const Case *cases, size_t count)
{
    make_disk();
    for (size_t i = 0; i < count; i++) {
        qtest_assert_refused(cases[i].line, cases[i].text);
    }
    g_unlink(DISK);
}

static void test_files(void)
{
    static const Case cases[] = {
        { "-kernel nix", "'nix': No such file" },
        { "-kernel .", "not a regular file" },
        { "-kernel " DISK, "neither a Linux bzImage" },
        { "-initrd nix", "-kernel" },
        { "-bios nix", "'nix': No such file" },
        { "-drive file=nix,if=virtio,format=raw", "'nix' for writing: No such file" },
        { "-serial file:/nonexistent/x", "'/nonexistent/x' for writing: No such file" },
        { "-serial unix:/nonexistent/x,server=on,wait=off", "'/nonexistent/x': No such file" },
        { "-pidfile /nonexistent/x", "'/nonexistent/x': No such file" },
        { "-s", "-gdb tcp::1234: the accelerator 'qtest' has no vCPUs" },
    };
    expect_errors(cases, G_N_ELEMENTS(cases));
}

static void test_ids(void)
{
    static const Case cases[] = {
        { "-drive if=none,id=a,file=" DISK ",format=raw -drive if=none,id=a,file=" DISK
          ",format=raw",
          "'a' exists already" },
        { "-chardev null,id=c -chardev null,id=c", "chardev 'c' already" },
        { "-netdev user,id=n -netdev user,id=n", "netdev 'n' already" },
        { "-netdev user,id=1", "expects an identifier" },
        { "-nic user,id=a/b", "expects an identifier" },
        { "-device virtio-rng-pci,id=a:b", "expects an identifier" },
        { "-drive if=none,driver=null-co,id=a\xff", "expects an identifier" },
        { "-mon chardev=c,id=_m -chardev null,id=c", "expects an identifier" },
        { "-tpmdev emulator,id=-,chardev=c -chardev null,id=c", "expects an identifier" },
        { "-device virtio-rng-pci,id=r -device virtio-rng-pci,id=r", "'r'" },
        { "-device virtio-net-pci,netdev=nix", "no netdev 'nix'" },
        { "-device virtio-blk-pci", "give drive=" },
        { "-device virtio-blk-pci,drive=nix", "no drive or block node 'nix'" },
        { "-drive if=none,id=a,file=" DISK ",format=raw -device virtio-blk-pci,drive=a,iothread=io",
          "no object 'io'" },
        { "-device nix", "no device 'nix'" },
        { "-device virtio-rng-pci,nix=1", "virtio-rng-pci has no property 'nix'" },
        { "-object nix,id=x", "nix" },
        { "-machine q35,hpte=on", "did you mean 'hpet'" },
        { "-machine q35,zzzzzz=on", "(-machine q35,help lists them)" },
        { "-global virtio-rng-pci.max-byte=1", "did you mean 'max-bytes'" },
        { "-blockdev qcow3,node-name=n", "did you mean 'qcow2'" },
        { "-drive if=none,id=a,format=rwa,file=x", "did you mean 'raw'" },
        { "-mon mode=control", "'chardev' is missing" },
        { "-mon chardv=x", "did you mean 'chardev'" },
        { "-device '{\"driver\":\"virtio-rng-pci\"'", "the text ends before its value does" },
        { "-M nix", "'nix'" },
        { "-nixoption", "invalid option" },
    };
    expect_errors(cases, G_N_ELEMENTS(cases));
}

static void test_numbers(void)
{
    static const Case cases[] = {
        { "-m 1X", "expects a size" },
        { "-m -5", "expects a size" },
        { "-m 0", "at least" },
        { "-m 99999999999T", "-m" },
        { "-smp 0", "at least 1" },
        { "-smp 256", "more than machine" },
        { "-smp 4,sockets=3", "do not make up maxcpus" },
    };
    expect_errors(cases, G_N_ELEMENTS(cases));
}

static void test_networks(void)
{
    static const Case cases[] = {
        { "-netdev tap,id=n,ifname=a-name-that-is-too-long,script=no,downscript=no", "too long" },
        { "-netdev user,id=n,hostfwd=tcp::99999-:22", "hostfwd '" },
        { "-netdev nix,id=n", "not a network back end" },
        { "-netdev user", "needs an id" },
    };
    expect_errors(cases, G_N_ELEMENTS(cases));
}

static void test_locked_image(void)
{
    make_disk();
    QTest *qts = qtest_start("-drive if=virtio,format=raw,file=" DISK);
    qtest_assert_refused("-drive if=virtio,format=raw,file=" DISK, "another process has it open");
    qtest_stop(qts);
    qts = qtest_start("-drive if=virtio,format=raw,file=" DISK);
    qtest_stop(qts);
    g_unlink(DISK);
}

static void test_taken_port(void)
{
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), ==, 0);
    g_assert_cmpint(listen(fd, 1), ==, 0);
    g_assert_cmpint(getsockname(fd, (struct sockaddr *)&addr, &len), ==, 0);
    g_autofree char *line = g_strdup_printf("-netdev user,id=n,hostfwd=tcp:127.0.0.1:%u-:22 "
                                            "-device virtio-net-pci,netdev=n",
                                            ntohs(addr.sin_port));
    qtest_assert_refused(line, "Address already in use");
    close(fd);
}

/* What is large but right starts: memory that is not touched, all vCPUs. */
static void test_large_machines(void)
{
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
    g_test_skip("ThreadSanitizer's own address space has no room for 1 TiB");
    return;
#endif
#endif
    QTest *qts = qtest_start("-m 1T -smp 255");
    json_object *info = qtest_qmp_ok(qts, "{'execute':'query-memory-size-summary'}");
    g_assert_cmpint(json_object_get_int64(json_at(info, "base-memory")), ==, 1LL << 40);
    json_object_put(info);
    qtest_stop(qts);
}

/* ---- Hosts without KVM ---- */

/* An empty /dev of the process's own. */
static bool hide_devices(void)
{
    return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("vireo", "/dev", "tmpfs", 0, "size=64k") == 0;
}

static void hide_or_exit(gpointer opaque)
{
    if (!hide_devices()) {
        _exit(99);
    }
}

static void test_no_kvm(void)
{
    char *argv[] = { (char *)g_getenv("VIREO"), "-nodefaults", "-display", "none", NULL };
    g_autofree char *said = NULL;
    int status;
    GError *error = NULL;
    g_spawn_sync(NULL, argv, NULL, G_SPAWN_STDOUT_TO_DEV_NULL, hide_or_exit, NULL, NULL, &said,
                 &status, &error);
    g_assert_no_error(error);
    g_assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 99) {
        g_test_skip("no file system can be mounted here");
        return;
    }
    g_assert_cmpint(WEXITSTATUS(status), ==, 1);
    g_assert_true(g_str_has_prefix(said, "vireo: could not open /dev/kvm: it does not exist"));
    g_assert_cmpstr(strchr(said, '\n'), ==, "\n");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/errors/files-that-are-not-there", test_files);
    g_test_add_func("/errors/ids-and-names", test_ids);
    g_test_add_func("/errors/numbers", test_numbers);
    g_test_add_func("/errors/networks", test_networks);
    g_test_add_func("/errors/an-image-that-another-vireo-has", test_locked_image);
    g_test_add_func("/errors/a-port-that-is-taken", test_taken_port);
    g_test_add_func("/errors/large-machines-start", test_large_machines);
    g_test_add_func("/errors/no-kvm-on-this-host", test_no_kvm);
    return g_test_run();
}
