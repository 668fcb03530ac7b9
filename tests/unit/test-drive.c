/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -drive and -blockdev options, format probing, and image locking against other processes. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "block/block.h"
#include "block/internal.h"

static char *image; /* 1 MiB */

static char *make_image(void)
{
    char *path = g_strdup("test-drive-XXXXXX");
    int fd = g_mkstemp(path);
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, 1 << 20), ==, 0);
    close(fd);
    return path;
}

static Drive *add(const char *format, ...) G_GNUC_PRINTF(1, 2);

static GError *last_error;

static Drive *add(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    g_clear_error(&last_error);
    g_autoptr(Opts) opts = opts_parse(text, NULL, &last_error);
    g_assert_no_error(last_error);
    return drive_add(opts, "virtio", &last_error);
}

#define ASSERT_REFUSED(drive, part)                                                                \
    do {                                                                                           \
        g_assert_null(drive);                                                                      \
        g_assert_nonnull(last_error);                                                              \
        if (!strstr(last_error->message, part)) {                                                  \
            g_error("'%s' lacks '%s'", last_error->message, part);                                 \
        }                                                                                          \
    } while (0)

#define ASSERT_ADDED(drive)                                                                        \
    do {                                                                                           \
        g_assert_no_error(last_error);                                                             \
        g_assert_nonnull(drive);                                                                   \
    } while (0)

/* ---- Options ---- */

static void defaults_are_those_of_qemu(void)
{
    Drive *d = add("file=%s,format=raw", image);
    ASSERT_ADDED(d);
    g_assert_cmpstr(d->id, ==, "virtio0");
    g_assert_cmpstr(d->interface, ==, "virtio");
    g_assert_cmpint(d->index, ==, 0);
    g_assert_cmpint(d->rerror, ==, BLOCK_ERROR_REPORT);
    g_assert_cmpint(d->werror, ==, BLOCK_ERROR_ENOSPC);
    g_assert_false(d->writethrough);
    g_assert_false(d->readonly);
    g_assert_false(d->node->cache_direct);
    g_assert_false(d->node->discard_unmap);
    g_assert_cmpstr(block_node_driver(d->node), ==, "raw");
    g_assert_cmpstr(block_node_driver(d->node->file), ==, "file");
    g_assert_cmpstr(block_node_filename(d->node), ==, image);
    drives_close();
    g_assert_null(drive_find("virtio0"));
}

static void cache_modes_set_what_qemu_documents(void)
{
    static const struct {
        const char *mode;
        bool direct, no_flush, writethrough;
    } modes[] = {
        { "writeback", false, false, false }, { "none", true, false, false },
        { "off", true, false, false },        { "writethrough", false, false, true },
        { "directsync", true, false, true },  { "unsafe", false, true, false },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(modes); i++) {
        Drive *d = add("file=%s,format=raw,cache=%s", image, modes[i].mode);
        ASSERT_ADDED(d);
        g_assert_cmpint(d->writethrough, ==, modes[i].writethrough);
        g_assert_cmpint(d->node->file->cache_direct, ==, modes[i].direct);
        g_assert_cmpint(d->node->file->no_flush, ==, modes[i].no_flush);
        drives_close();
    }
    Drive *d =
        add("file=%s,format=raw,cache.direct=on,cache.no-flush=on,cache.writeback=off", image);
    ASSERT_ADDED(d);
    g_assert_true(d->writethrough && d->node->cache_direct && d->node->file->no_flush);
    drives_close();
    ASSERT_REFUSED(add("file=%s,format=raw,cache=fast", image), "cache=fast");
}

static void ids_and_places_are_given_out_as_qemu_does(void)
{
    g_autofree char *second = make_image();
    Drive *a = add("file=%s,format=raw,if=ide", image);
    ASSERT_ADDED(a);
    Drive *b = add("if=ide,media=cdrom,index=2");
    ASSERT_ADDED(b);
    g_assert_cmpstr(a->id, ==, "ide0-hd0");
    g_assert_cmpstr(b->id, ==, "ide1-cd0");
    g_assert_true(b->is_cdrom && b->readonly);
    g_assert_null(b->node);
    g_assert_cmpint(b->bus, ==, 1);
    g_assert_cmpint(b->unit, ==, 0);
    Drive *c = add("file=%s,format=raw,if=ide", second);
    ASSERT_ADDED(c);
    g_assert_cmpstr(c->id, ==, "ide0-hd1");
    ASSERT_REFUSED(add("file=%s,format=raw,if=ide,index=0", second), "already");
    ASSERT_REFUSED(add("file=%s,format=raw,if=ide,unit=2", second), "unit=2");
    ASSERT_REFUSED(add("file=%s,format=raw,if=ide,index=1,bus=0", second), "index=");
    ASSERT_REFUSED(add("file=%s,format=raw,if=none,id=ide0-hd1", second), "exists already");
    ASSERT_REFUSED(add("file=%s,format=raw,if=none,id=1st", second), "expects an identifier");
    drives_close();
    unlink(second);
}

static void node_options_reach_their_nodes(void)
{
    Drive *d = add("file=%s,format=raw,discard=unmap,detect-zeroes=unmap,node-name=top,"
                   "file.node-name=below,file.locking=off,aio=threads,offset=64k,size=128k,"
                   "readonly=on,werror=stop,rerror=ignore",
                   image);
    ASSERT_ADDED(d);
    BlockNode *top = block_node_find("top"), *below = block_node_find("below");
    g_assert_true(d->node == top && top->file == below);
    g_assert_true(top->discard_unmap && below->discard_unmap && top->readonly);
    g_assert_cmpint(top->detect_zeroes, ==, DETECT_ZEROES_UNMAP);
    g_assert_cmpint(block_node_length(top), ==, 128 * 1024);
    g_assert_cmpint(d->werror, ==, BLOCK_ERROR_STOP);
    g_assert_cmpint(d->rerror, ==, BLOCK_ERROR_IGNORE);
    drives_close();
    g_assert_null(block_node_find("below"));
}

static void options_of_the_device_are_refused(void)
{
    ASSERT_REFUSED(add("file=%s,format=raw,serial=abc", image),
                   "-device DRIVER,drive=ID,serial=abc");
    ASSERT_REFUSED(add("file=%s,format=raw,if=none,addr=5", image), "drive=ID,addr=5");
}

static void other_ways_to_name_the_file(void)
{
    static const char *const forms[] = {
        "file=file:@,format=raw",
        "file.filename=@,format=raw",
        "file.driver=file,file.filename=@,format=raw",
        "driver=raw,file.driver=file,file.filename=@",
        "file=json:{\"driver\":\"file\",,\"filename\":\"@\"},format=raw",
        "driver=file,filename=@",
    };
    for (size_t i = 0; i < G_N_ELEMENTS(forms); i++) {
        g_auto(GStrv) parts = g_strsplit(forms[i], "@", 0);
        g_autofree char *text = g_strjoinv(image, parts);
        Drive *d = add("%s", text);
        ASSERT_ADDED(d);
        g_assert_cmpstr(block_node_filename(d->node), ==, image);
        g_assert_cmpint(block_node_length(d->node), ==, 1 << 20);
        drives_close();
    }
}

static void faults_in_the_json_of_a_name_are_told(void)
{
    ASSERT_REFUSED(add("file=json:{\"driver\":\"file\",,\"filename\":\"%s\",,},format=raw", image),
                   "JSON: '}' does not belong here");
    ASSERT_REFUSED(add("file=json:{\"driver\":\"file\",,\"filename\":\"%s\"}x,format=raw", image),
                   "JSON: there is more behind the value");
    ASSERT_REFUSED(add("file=json:{\"driver\":\"file\",,\"filename\":\"%s\",,\"filename\":\"b\"},"
                       "format=raw",
                       image),
                   "JSON: the name 'filename' comes twice");
    ASSERT_REFUSED(add("file=json:,format=raw"), "JSON: the text is empty");
    ASSERT_REFUSED(add("file=json:[],format=raw"), "a JSON object is expected");
    ASSERT_REFUSED(add("file=json:driver=file,,filename=%s,format=raw", image),
                   "JSON: 'driver' is no value");
}

static void drive_stands_on_a_named_node(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = g_strdup_printf(
        "{\"driver\":\"file\",\"filename\":\"%s\",\"node-name\":\"proto\",\"cache\":{\"direct\":"
        "false}}",
        image);
    g_autoptr(Opts) opts = opts_parse(text, NULL, &error);
    BlockNode *node = block_node_open(opts, &error);
    g_assert_no_error(error);
    Drive *d = add("file=proto,format=raw,if=none");
    ASSERT_ADDED(d);
    g_assert_true(d->node->file == node);
    drives_close();
    g_assert_true(block_node_delete("proto", &error));
}

static void a_snapshot_leaves_the_image_alone(void)
{
    g_autofree char *before = NULL;
    g_autofree char *after = NULL;
    char read[4096], written[4096];
    gsize length, length_after;
    g_assert_true(g_file_get_contents(image, &before, &length, NULL));
    Drive *drive = add("file=%s,format=raw,if=none,id=s0,snapshot=on", image);
    g_assert_nonnull(drive);
    g_assert_cmpstr(block_node_driver(drive->node), ==, "qcow2");
    g_assert_false(block_node_readonly(drive->node));
    memset(written, 0x5a, sizeof(written));
    g_assert_cmpint(block_pwrite(drive->node, 8192, written, sizeof(written)), ==, 0);
    g_assert_cmpint(block_pread(drive->node, 8192, read, sizeof(read)), ==, 0);
    g_assert_cmpmem(read, sizeof(read), written, sizeof(written));
    g_assert_true(drive_remove("s0", NULL));
    g_assert_true(g_file_get_contents(image, &after, &length_after, NULL));
    g_assert_cmpmem(before, length, after, length_after);
}

static void bad_options_say_what_is_wrong(void)
{
    ASSERT_REFUSED(add("file=/nonexistent/x.img,format=raw"), "/nonexistent/x.img");
    ASSERT_REFUSED(add("file=%s,format=raw,caceh=none", image), "'cache'");
    ASSERT_REFUSED(add("file=%s,format=raw,aio=native", image), "cache.direct=on");
    ASSERT_REFUSED(add("file=%s,format=raw,aio=fast", image), "aio");
    ASSERT_REFUSED(add("file=%s,format=qcow9", image), "qcow9");
    ASSERT_REFUSED(add("file=%s,format=raw,if=virtoi", image), "virtio");
    ASSERT_REFUSED(add("file=%s,format=raw,copy-on-read=perhaps", image), "copy-on-read");
    ASSERT_REFUSED(add("file=%s,format=raw,throttling.iops-total=5,iops_rd=6", image),
                   "exclude each other");
    ASSERT_REFUSED(add("file=%s,format=raw,throttling.nonsense=5", image), "nonsense");
    ASSERT_REFUSED(add("file=%s,format=raw,bps_rd_max=5", image), "bps-read-max");
    ASSERT_REFUSED(add("file=%s,format=raw,rerror=enospc", image), "rerror");
    ASSERT_REFUSED(add("file=%s,format=raw,detect-zeroes=unmap", image), "discard=unmap");
    ASSERT_REFUSED(add("file=%s,format=raw,offset=2M", image), "offset");
    ASSERT_REFUSED(add("file=%s,format=raw,size=1000", image), "512");
    ASSERT_REFUSED(add("file=ssh://host/x,format=raw"), "'ssh:'");
    ASSERT_REFUSED(add("file=.,format=raw"), "'.'");
    ASSERT_REFUSED(add("file=/dev/null,format=raw"), "no plain file");
    ASSERT_REFUSED(add("driver=host_device,filename=%s", image), "no block device");
    ASSERT_REFUSED(add("file=%s,format=raw,force-share=on", image), "force-share");
    ASSERT_REFUSED(add("file=%s,format=raw,media=cdrom,readonly=off", image), "cdrom");
    ASSERT_REFUSED(add("file=%s,format=raw,node-name=1bad", image), "1bad");
    /* nothing stays behind */
    json_object *nodes = block_query_nodes(false);
    g_assert_cmpint(json_object_array_length(nodes), ==, 0);
    json_object_put(nodes);
}

static void fifo_does_not_block_the_start(void)
{
    g_assert_cmpint(mkfifo("test-drive-fifo", 0600), ==, 0);
    ASSERT_REFUSED(add("file=test-drive-fifo,format=raw,readonly=on"), "no plain file");
    unlink("test-drive-fifo");
}

/* ---- Probing ---- */

static void write_head(const void *data, size_t length)
{
    char zero[PROBE_BYTES] = { 0 };
    int fd = open(image, O_WRONLY | O_CLOEXEC);
    g_assert_cmpint(pwrite(fd, zero, sizeof(zero), 0), ==, sizeof(zero));
    g_assert_cmpint(pwrite(fd, data, length, 0), ==, length);
    close(fd);
}

static void image_without_format_is_raw_and_guarded(void)
{
    write_head("\xeb\x63\x90", 3);
    Drive *d = add("file=%s", image);
    ASSERT_ADDED(d);
    g_assert_true(d->node->probed);
    drives_close();
    d = add("file=%s,readonly=on", image);
    ASSERT_ADDED(d);
    g_assert_false(d->node->probed);
    drives_close();
    d = add("file=%s,format=raw", image);
    ASSERT_ADDED(d);
    g_assert_false(d->node->probed);
    drives_close();
}

static void other_formats_are_recognized_never_guessed_raw(void)
{
    static const struct {
        const char *format, *bytes;
        size_t length;
    } heads[] = {
        { "qcow2", "QFI\xfb\0\0\0\3", 8 },
        { "vmdk", "KDMV\1", 5 },
        { "vmdk", "\n# x\n# Disk DescriptorFile\nversion=1\n", 36 },
        { "luks", "LUKS\xba\xbe\0\1", 8 },
        { "vhdx", "vhdxfile", 8 },
        { "vpc", "conectix", 8 },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(heads); i++) {
        write_head(heads[i].bytes, heads[i].length);
        ASSERT_REFUSED(add("file=%s", image), heads[i].format);
        Drive *d = add("file=%s,format=raw", image); /* the user's word counts */
        ASSERT_ADDED(d);
        drives_close();
    }
    write_head("", 0);
}

/* ---- Locking ---- */

static BlockBackend *attach(const char *id, bool readonly, bool share_rw)
{
    g_clear_error(&last_error);
    return block_backend_attach(id, id, readonly, share_rw, &last_error);
}

/* In another process: whether the image can be attached. */
static bool other_process_gets_it(const char *options, bool readonly, bool share_rw)
{
    pid_t pid = fork();
    g_assert_cmpint(pid, >=, 0);
    if (pid == 0) {
        g_autofree char *text =
            g_strdup_printf("file=%s,format=raw,if=none,id=other%s", image, options);
        g_autoptr(Opts) opts = opts_parse(text, NULL, NULL);
        bool ok = drive_add(opts, "virtio", NULL) &&
                  block_backend_attach("other", "other", readonly, share_rw, NULL);
        _exit(ok ? 0 : 1);
    }
    int status;
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_true(WIFEXITED(status));
    return WEXITSTATUS(status) == 0;
}

static void image_in_use_is_refused_to_other_processes(void)
{
    Drive *d = add("file=%s,format=raw,if=none,id=mine", image);
    ASSERT_ADDED(d);
    g_assert_true(other_process_gets_it("", false, false));
    BlockBackend *backend = attach("mine", false, false);
    g_assert_nonnull(backend);
    g_assert_false(other_process_gets_it("", false, false));
    g_assert_false(other_process_gets_it("", true, false));
    g_assert_false(other_process_gets_it("", false, true));
    g_assert_true(other_process_gets_it(",readonly=on,force-share=on", true, false));
    g_assert_true(other_process_gets_it(",file.locking=off", false, false));
    block_backend_detach(backend);
    g_assert_true(other_process_gets_it("", false, false));
    drives_close();
}

static void readers_share_and_sharing_writers_too(void)
{
    Drive *d = add("file=%s,format=raw,if=none,id=mine", image);
    ASSERT_ADDED(d);
    BlockBackend *backend = attach("mine", true, false);
    g_assert_nonnull(backend);
    g_assert_true(other_process_gets_it("", true, false));
    g_assert_false(other_process_gets_it("", false, false));
    block_backend_detach(backend);
    backend = attach("mine", false, true);
    g_assert_true(other_process_gets_it("", false, true));
    g_assert_false(other_process_gets_it("", false, false));
    block_backend_detach(backend);
    drives_close();
}

static void two_devices_do_not_share_a_node_by_accident(void)
{
    Drive *d = add("file=%s,format=raw,if=none,id=mine,node-name=top", image);
    ASSERT_ADDED(d);
    BlockBackend *backend = attach("mine", false, false);
    g_assert_nonnull(backend);
    g_assert_null(attach("mine", false, false));
    g_assert_null(attach("top", false, false));
    g_assert_nonnull(strstr(last_error->message, "in use"));
    g_assert_null(attach("nothing", false, false));
    block_backend_detach(backend);
    backend = attach("top", false, true);
    BlockBackend *second = attach("mine", false, true);
    g_assert_nonnull(backend);
    g_assert_nonnull(second);
    block_backend_detach(second);
    block_backend_detach(backend);
    drives_close();
}

static int qemu_io(const char *options)
{
    g_autofree char *path = g_find_program_in_path("qemu-io");
    g_autofree char *command =
        g_strdup_printf("qemu-io -f raw %s -c 'read 0 512' %s >/dev/null 2>&1", options, image);
    return path ? system(command) : -1;
}

/* It opens the image and holds it until its input ends. */
static pid_t start_holder(int input)
{
    pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);
        dup2(input, 0);
        dup2(null, 1);
        execlp("qemu-io", "qemu-io", "-f", "raw", image, NULL);
        _exit(127);
    }
    return pid;
}

static void qemu_and_vireo_refuse_each_others_image(void)
{
    Drive *d = add("file=%s,format=raw,if=none,id=mine", image);
    ASSERT_ADDED(d);
    if (qemu_io("") == -1) {
        g_test_skip("qemu-io is not installed");
        drives_close();
        return;
    }
    g_assert_cmpint(qemu_io(""), ==, 0);
    BlockBackend *backend = attach("mine", false, false);
    g_assert_nonnull(backend);
    g_assert_cmpint(qemu_io(""), !=, 0);
    g_assert_cmpint(qemu_io("-r"), ==, 0); /* a mere reader, as beside a running QEMU */
    g_assert_cmpint(qemu_io("-r -U"), ==, 0);
    block_backend_detach(backend);
    backend = attach("mine", true, false);
    g_assert_cmpint(qemu_io("-r"), ==, 0);
    g_assert_cmpint(qemu_io(""), !=, 0);
    block_backend_detach(backend);
    /* and the other way round: qemu-io holds it while it sleeps */
    int in[2];
    g_assert_cmpint(pipe2(in, O_CLOEXEC), ==, 0);
    pid_t pid = start_holder(in[0]);
    bool refused = false;
    for (int i = 0; i < 500 && !refused; i++) { /* until it has opened the image */
        backend = attach("mine", false, false);
        refused = !backend;
        if (backend) {
            block_backend_detach(backend);
            g_usleep(10000);
        }
        if (waitpid(pid, NULL, WNOHANG) == pid) { /* it came while the image was ours */
            pid = start_holder(in[0]);
        }
    }
    g_assert_true(refused);
    g_assert_nonnull(strstr(last_error->message, "another process has it open"));
    close(in[1]);
    close(in[0]);
    waitpid(pid, NULL, 0);
    backend = attach("mine", false, false);
    g_assert_nonnull(backend);
    block_backend_detach(backend);
    drives_close();
}

#define ADD(name) g_test_add_func("/drive/" #name, name)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    event_loop_main();
    image = make_image();
    ADD(defaults_are_those_of_qemu);
    ADD(cache_modes_set_what_qemu_documents);
    ADD(ids_and_places_are_given_out_as_qemu_does);
    ADD(node_options_reach_their_nodes);
    ADD(options_of_the_device_are_refused);
    ADD(other_ways_to_name_the_file);
    ADD(faults_in_the_json_of_a_name_are_told);
    ADD(drive_stands_on_a_named_node);
    ADD(a_snapshot_leaves_the_image_alone);
    ADD(bad_options_say_what_is_wrong);
    ADD(fifo_does_not_block_the_start);
    ADD(image_without_format_is_raw_and_guarded);
    ADD(other_formats_are_recognized_never_guessed_raw);
    ADD(image_in_use_is_refused_to_other_processes);
    ADD(readers_share_and_sharing_writers_too);
    ADD(two_devices_do_not_share_a_node_by_accident);
    ADD(qemu_and_vireo_refuse_each_others_image);
    int ret = g_test_run();
    unlink(image);
    return ret;
}
